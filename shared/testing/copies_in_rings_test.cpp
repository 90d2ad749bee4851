// Several copies at once, among servers that copy from each other in a ring too, in virtual time.
#include <gtest/gtest.h>

#include "shared/sync/copy_waits.hpp"
#include "shared/testing/family.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

constexpr std::uint64_t long_enough_ms = 40000;

class SeveralCopies : public ::testing::Test {
 protected:
  // Each has rows of before they met.
  void meet(std::size_t count) {
    nodes = std::make_unique<NodePair>(count);
    nodes->start();
    for (std::size_t at = 0; at < count; at++) nodes->write(at, "of " + std::to_string(at), "x");
    nodes->run_for(5000);
    for (std::size_t one = 0; one < count; one++)
      for (std::size_t other = 0; other < one; other++) nodes->link(one, other);
    nodes->run_for(5000);
    for (std::size_t at = 0; at < count; at++) ASSERT_EQ(nodes->rows(at), 1u);
  }
  void copy(std::size_t to, std::size_t from, const std::string& mode = "newer") {
    nodes->stores[to]->request(
        "copy", R"({"server":"node)" + std::to_string(from) + R"(","direction":"pull","on_existing":")" + mode + "\"}");
  }
  void expect_all_have(std::size_t rows) {
    for (std::size_t at = 0; at < nodes->stores.size(); at++) {
      EXPECT_EQ(nodes->rows(at), rows) << at << " has " << nodes->text_of_rows(at);
      EXPECT_TRUE(nodes->stores[at]->requests().empty()) << at << " waits: " << nodes->status(at).last_error;
    }
  }
  std::unique_ptr<NodePair> nodes;
};

// Symptom: a row was on two of three servers, for ever. Mechanism: the second copy took the table for empty, since what
// the first had brought was known still, and so it compared nothing. Mend: what came as settled is a row of before.
TEST_F(SeveralCopies, TheSecondShipsWhatTheFirstHasJustBrought) {
  meet(3);
  copy(0, 2), copy(0, 1);
  nodes->run_for(long_enough_ms);
  for (std::size_t at : {0, 1}) EXPECT_EQ(nodes->text_of_rows(at), "of 0 x, of 1 x, of 2 x, ") << at;
}

using CopiesInRings = SeveralCopies;

// Symptom: three servers that were asked to copy from each other in a ring waited for ever. Mechanism: who takes a copy
// gives none. Mend: they tell each other for whom they wait, and one of a ring gives all the same.
TEST_F(CopiesInRings, OneOfThreeGivesAllTheSame) {
  meet(3);
  copy(0, 1), copy(1, 2), copy(2, 0);
  nodes->run_for(long_enough_ms);
  expect_all_have(3);
}

TEST_F(CopiesInRings, OneOfFiveGivesAllTheSame) {
  meet(5);
  for (std::size_t at = 0; at < 5; at++) copy(at, (at + 1) % 5);
  nodes->run_for(long_enough_ms);
  expect_all_have(5);
}

// Two of them have another copy to take, so they give each other none either.
TEST_F(CopiesInRings, EachOfThreeCopiesFromBothOthers) {
  meet(3);
  for (std::size_t at = 0; at < 3; at++) copy(at, (at + 1) % 3), copy(at, (at + 2) % 3);
  nodes->run_for(long_enough_ms);
  expect_all_have(3);
}

TEST_F(CopiesInRings, EachOfFourCopiesFromAllOthers) {
  meet(4);
  for (std::size_t at = 0; at < 4; at++)
    for (std::size_t i = 1; i < 4; i++) copy(at, (at + i) % 4);
  nodes->run_for(long_enough_ms);
  expect_all_have(4);
}

// Gives the first piece of a copy, and no other before it is told to.
class GivesOnePiece : public WithoutDocuments {
 public:
  GivesOnePiece(NodePair& all, std::size_t here, std::size_t to) : WithoutDocuments(all, here, to, "") {}
  HttpResponse handle(const HttpRequest& request) override {
    HttpResponse answer = WithoutDocuments::handle(request);
    if (request.path == "/rowmesh/v1/rows" && answer.status == 200 && !goes_on) path = request.path;
    return answer;
  }
  void go_on() { goes_on = true, path.clear(); }
  bool goes_on = false;
};

// Symptom: so did they where one had taken pieces already. Mechanism: it did not ask the next one before it had the
// rest, so it did not know whether it waited for that one, too. Mend: it begins the copy anew afterwards.
TEST_F(CopiesInRings, TwoHaveTakenPiecesWhenTheyAreAskedForMore) {
  meet(3);
  GivesOnePiece one(*nodes, 0, 1), other(*nodes, 1, 0);
  nodes->network.attach(0, &one), nodes->network.attach(1, &other);
  copy(0, 1), copy(1, 0);
  nodes->run_for(3000);
  ASSERT_FALSE(one.path.empty() || other.path.empty());
  copy(0, 2), copy(1, 2);
  nodes->run_for(3000);
  one.go_on(), other.go_on();
  nodes->run_for(long_enough_ms);
  expect_all_have(3);
}

// A known gap (docs/guarantees.md): who has pieces of its first copy does not leave it to ask for the others that it is
// to take. It says so, and switching its source off for a while ends that.
TEST_F(CopiesInRings, WhoWaitsInTheMiddleOfItsFirstCopySaysSoAndIsHelped) {
  nodes = std::make_unique<NodePair>(3);
  nodes->first_copies = true;
  for (auto& store : nodes->stores) create_family(*store);
  nodes->start();
  nodes->link(0, 1);
  nodes->write(0, "of 0", "x"), nodes->write(1, "of 1", "x");
  nodes->run_for(long_enough_ms);
  GivesOnePiece source(*nodes, 0, 2);
  nodes->network.attach(0, &source);
  nodes->link(2, 0), nodes->link(2, 1);
  nodes->write(2, "of 2", "x");
  nodes->run_for(5000);
  copy(0, 1), copy(1, 2), copy(2, 1);
  nodes->run_for(3000);
  source.go_on();
  nodes->run_for(long_enough_ms);
  EXPECT_EQ(nodes->status(2).state, "copying");
  EXPECT_EQ(nodes->status(2).last_error, "a copy is being taken in here; copy when it is done");
  auto switch_source = [&](bool on) {
    MemoryStore& fresh = *nodes->stores[2];
    fresh.change_server(fresh.servers().front().id, [on](ServerConfig& server) { server.enabled = on; });
    nodes->run_for(long_enough_ms);
  };
  switch_source(false), switch_source(true);
  expect_all_have(3);
}

// What comes from outside of the ring must be there before one of it gives: nobody in it compares with that one.
TEST_F(CopiesInRings, WhatOneOfThemTakesFromAFourthComesToAll) {
  for (std::size_t with : {0, 1, 2}) {
    meet(5);
    nodes->cut(3, 4);
    copy(3, 4);
    copy(0, 1), copy(1, 2), copy(2, 0), copy(with, 3);
    nodes->run_for(long_enough_ms);
    nodes->cut(3, 4, false);
    nodes->run_for(5 * long_enough_ms);
    for (std::size_t at : {0, 1, 2})
      EXPECT_EQ(nodes->text_of_rows(at), "of 0 x, of 1 x, of 2 x, of 3 x, of 4 x, ") << at << with;
  }
}

CopyWaits waits(std::uint64_t self, const std::map<std::uint64_t, std::set<std::uint64_t>>& all) {
  CopyWaits made;
  made.self = self;
  for (auto& [number, whose] : all) made.all[number] = {1, true, whose};
  return made;
}

TEST(CopyWaits, TheLowestOfARingGivesToAllOfIt) {
  EXPECT_TRUE(waits(1, {{1, {2}}, {2, {3}}, {3, {1}}}).gives_to(3));
  EXPECT_FALSE(waits(2, {{1, {2}}, {2, {3}}, {3, {1}}}).gives_to(1));
  EXPECT_FALSE(waits(1, {{1, {2}}, {2, {3}}, {3, {1}}}).gives_to(4)) << "it waits outside";
}

TEST(CopyWaits, WhoWaitsForSomebodyOutsideIsInNoRing) {
  EXPECT_FALSE(waits(1, {{1, {2}}, {2, {1, 4}}}).gives_to(2)) << "of 4 it is not known that it waits";
  EXPECT_FALSE(waits(1, {{1, {2}}, {2, {1, 4}}, {4, {5}}, {5, {4}}}).gives_to(2)) << "4 and 5 are first";
  EXPECT_TRUE(waits(4, {{4, {5}}, {5, {4}}}).gives_to(5));
}

TEST(CopyWaits, NorWhoMayStillBeGivenOne) {
  CopyWaits some = waits(1, {{1, {2}}, {2, {1}}});
  EXPECT_TRUE(some.gives_to(2));
  some.all[2].all = false;
  EXPECT_FALSE(some.gives_to(2));
}

TEST(CopyWaits, WhoHasNothingGivesLastAndWhoWasPutBackNever) {
  std::uint64_t has = copy_number(GivesInRing::first, ~0ull), is_new = copy_number(GivesInRing::last, 5),
                comes_back = copy_number(GivesInRing::never, 3);
  EXPECT_LT(has, is_new);
  EXPECT_LT(is_new, comes_back);
  EXPECT_TRUE(waits(has, {{has, {is_new}}, {is_new, {has}}}).gives_to(is_new));
  EXPECT_FALSE(
      waits(comes_back, {{comes_back, {comes_back + 2}}, {comes_back + 2, {comes_back}}}).gives_to(comes_back + 2));
}

TEST(CopyWaits, TheLaterWordCounts) {
  CopyWaits known = waits(1, {{2, {3}}}), said = waits(2, {{2, {4}}});
  known.take(said);
  EXPECT_TRUE(known.all[2].whose.contains(3)) << "as often said";
  said.all[2].count = 2;
  known.take(said);
  EXPECT_TRUE(known.all[2].whose.contains(4));
}

TEST(CopyWaits, WhatDoesNotMatterIsNotHandedOnNorIsTooMuch) {
  CopyWaits some = waits(1, {{1, {2}}, {2, {1}}, {7, {8}}});
  some.keep_to_own();
  EXPECT_EQ(some.all.size(), 2u);
  for (std::uint64_t i = 1; i < 1000; i++) some.all[i] = {1, true, {i + 1}};
  some.keep_to_own();
  EXPECT_TRUE(some.all.empty());
}

}  // namespace
}  // namespace rowmesh::testing
