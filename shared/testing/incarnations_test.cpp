// What others make of a node whose clock was set right, in virtual time, and when it needs no new incarnation at all.
#include <gtest/gtest.h>

#include <optional>

#include "shared/http/auth.hpp"
#include "shared/model/hex.hpp"
#include "shared/testing/lab.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: a server got nothing any more, and a row differed, after a clock had been set right. Mechanism: a crash had
// lost the record of a position that was shipped, and the same row was under a later one then. That was forgotten when
// the node became another incarnation, and whether the server had received it was judged by what it had received of
// that one: nothing yet. Mend: who has received all of the earlier one up to G lacks nothing of it either
// (Node::Impl::reaches).
TEST(ClockTest, WhoHasAllOfTheEarlierIncarnationNeedsNoCopy) {
  constexpr std::uint64_t two_minutes_ms = 120'000;  // its documents are refused, its requests are not
  Lab lab;
  run_two(lab);
  lose_a_record(lab);
  lab.set_clock(0, two_minutes_ms);
  lab.start(0);
  lab.run_for(5000);
  ASSERT_EQ(lab.status(0).unsettled, 0u) << "it is forgotten under its second position";
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(20'000);
  EXPECT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  EXPECT_EQ(lab.status(0).servers[0].state, "streaming") << lab.status(0).servers[0].last_error;
  EXPECT_EQ(lab.rows(1), 4u);
}

// Node::Impl::judge_clock: what would go back by moments only.
TEST(ClockTest, WhatIsAheadOnAllSidesMakesNoNewIncarnation) {
  constexpr std::uint64_t listened_to_ms = 45'000;
  for (std::uint64_t after_ms = 0; after_ms < 6000; after_ms += 500) {
    Lab lab;
    run_two(lab);
    lab.set_clock(0, listened_to_ms);
    lab.insert(0, "written ahead");
    lab.run_for(10'000);
    ASSERT_EQ(lab.status(0).unsettled, 0u);
    lab.insert(1, "after it");
    lab.run_for(after_ms);
    lab.set_clock(0, 0);
    lab.run_for(40'000);
    EXPECT_EQ(lab.node(0).store->identity().origin, Origin{0xa}) << after_ms;
  }
}

// Symptom: documents went on travelling for ever after a server had left. Mechanism: its clock had been set right
// before, and of its earlier incarnation everything counted as coming late until what followed had come as far as G;
// but that had left, and what comes late is kept anew with each document. Mend: who has left is awaited in none of its
// incarnations (Applier::note_late_origins).
TEST(ClockTest, WhoLeavesAfterItsClockWasSetRightIsAwaitedByNobody) {
  Lab lab;
  run_three(lab);
  lab.set_clock(0, day_ms);
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(20'000);
  ASSERT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  lab.crash(0);
  for (std::size_t i : {1, 2})
    for (auto& server : lab.node(i).store->servers())
      if (server.name == "to 0") lab.node(i).store->remove_server(server.id);
  lab.run_for(5000);
  lab.insert(1, "after");
  lab.run_for(20'000);
  for (std::size_t i : {1, 2}) {
    EXPECT_EQ(lab.rows(i), 2u) << i;
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
    std::uint64_t sent = lab.documents_sent(i);
    lab.run_for(10'000);
    EXPECT_EQ(lab.documents_sent(i), sent) << i;
  }
}

// Symptom: documents went on travelling after a clock had been set right. Mechanism: a copy waited until a moment of
// the wrong time, and who takes a copy confirms nothing. Mend: it looks again at once
// (Node::Impl::after_clock_went_back).
TEST(ClockTest, ACopyThatWaitsDoesNotWaitForTheWrongTime) {
  Lab lab;
  run_two(lab);
  lab.run_for(5000);
  ASSERT_EQ(lab.status(1).unsettled, 0u);
  bool deaf = true;
  Between at_b(lab, 1, [&](const HttpRequest& head) { return deaf && head.path == "/rowmesh/v1/changes"; });
  lab.insert(0, "on its way");
  lab.run_for(1000);
  lab.node(1).store->request("copy", R"({"server":"to 0","direction":"pull","on_existing":"newer"})");
  lab.node(1).wake_ms = 0;
  lab.run_for(1000);
  ASSERT_EQ(lab.status(1).servers[0].state, "copying") << lab.status(1).servers[0].last_error;
  lab.set_clock(1, day_ms);
  lab.run_for(1000);
  lab.set_clock(1, 0);
  deaf = false;
  lab.run_for(20'000);
  EXPECT_EQ(lab.status(1).servers[0].state, "streaming") << lab.status(1).servers[0].last_error;
  for (std::size_t i : {0, 1}) EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
}

// Symptom: a row stood under two numbers after a clock had been set right. Mechanism: a server had got it just before
// its writer crashed, and that crash lost that it had ever been met; so the row was given anew before that one could
// say what it has. Mend: who gets anything is known as met on the disk (Core::note_joined).
TEST(ClockTest, WhoGotARowAtOnceIsAskedWhatItHas) {
  for (std::uint64_t after_ms = 0; after_ms < 100; after_ms += 10) {
    Lab lab;
    for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
    lab.link(0, 2), lab.link(2, 0);
    for (std::size_t i : {0, 1, 2}) lab.start(i);
    lab.run_for(5000);
    bool deaf = true;
    auto of_b = [&](const HttpRequest& head) {
      return deaf && head.path == "/rowmesh/v1/changes" && head.headers.at("x-rowmesh-node") == uuid_b;
    };
    std::optional<Between> at_a(std::in_place, lab, 0, of_b);
    for (std::uint64_t ms = 0; lab.rows(1) == 0; ms++) {
      if (ms == after_ms) lab.link(0, 1), lab.link(1, 0);
      if (ms % 20 == 0) lab.insert(0, "after " + std::to_string(ms));
      lab.run_for(1);
    }
    lab.crash(0);
    Between at_b(lab, 1, [&](const HttpRequest&) { return deaf; });
    lab.set_clock(0, day_ms);
    lab.start(0);
    at_a.emplace(lab, 0, of_b);
    lab.insert(0, "written ahead");
    lab.run_for(1000);
    lab.set_clock(0, 0);
    lab.run_for(3000);
    deaf = false;
    lab.run_for(60'000);
    for (std::size_t i : {0, 1, 2})
      EXPECT_EQ(lab.status(i).unsettled, 0u) << i << ": two lives of one row, " << after_ms;
  }
}

// Symptom: a row was there twice. Mechanism: a server had taken it, but its answer was lost, and it was removed;
// another one got the row from there, with an edit, and not from its writer. When the writer's clock was set right it
// asked that one, which told how far it had heard of the writer itself. Mend: what a server that is removed may have
// counts as taken (Node::Impl::note_removed). So does it where a crash lost what the server had said.
TEST(ClockTest, WhatARemovedServerMayHaveIsNotGivenAnew) {
  constexpr std::uint64_t listened_to_ms = 50'000;
  for (bool crashes : {false, true}) {
    Lab lab;
    run_three(lab);
    bool deaf = true, taken = false;
    auto of_a = [](const HttpRequest& head) { return head.headers.at("x-rowmesh-node") == uuid_a; };
    auto of_b = [](const HttpRequest& head) { return head.headers.at("x-rowmesh-node") == uuid_b; };
    auto changes = [](const HttpRequest& head) { return head.path == "/rowmesh/v1/changes"; };
    auto deaf_to = [&](const HttpRequest& head) { return deaf && (of_b(head) || changes(head)); };
    std::optional<Between> at_a(std::in_place, lab, 0, deaf_to);
    Between at_b(
        lab, 1, [&](const HttpRequest& head) { return deaf && taken && of_a(head); },
        [&](const HttpRequest& request) { return deaf && of_a(request) && (taken = lab.rows(1) > 0); });
    Between at_c(lab, 2, [&](const HttpRequest& head) { return deaf && of_a(head) && changes(head); });
    lab.set_clock(0, listened_to_ms);
    lab.insert(0, "written ahead");
    while (lab.rows(1) < 1) lab.run_for(1);
    MemoryStore& edits = *lab.node(1).store;
    Value key[] = {Value::of_text("written ahead")}, row[] = {Value::of_text("written ahead"), Value::of_integer(2)};
    edits.begin_local();
    edits.update("item", key, row);
    edits.commit_local();
    lab.node(1).wake_ms = 0;
    while (lab.rows(2) < 1) lab.run_for(1);
    auto remove = [&](std::size_t at, const char* name) {
      for (auto& server : lab.node(at).store->servers())
        if (server.name == name) return lab.node(at).store->remove_server(server.id);
    };
    if (crashes) lab.crash(0);
    remove(0, "to 1");
    remove(1, "to 0");
    if (crashes) lab.start(0), at_a.emplace(lab, 0, deaf_to);
    lab.run_for(200);
    lab.set_clock(0, 0);
    lab.run_for(10'000);
    deaf = false;
    lab.run_for(60'000);
    for (std::size_t i : {0, 1, 2}) {
      EXPECT_EQ(lab.rows(i), 1u) << i << crashes;
      EXPECT_EQ(lab.status(i).side_rows, 0u) << i << crashes << ": two lives of one row";
      EXPECT_EQ(lab.status(i).unsettled, 0u) << i << crashes;
    }
  }
}

// (Node::Impl::note_former)
TEST(Incarnations, AGreetingOfTheOneBeforeThatIsLateEndsNothing) {
  NodePair pair;
  Origin before = pair.stores[1]->identity().origin;
  pair.start();
  pair.stores[1]->request("new_identity", "restored");
  pair.run_for(3000);
  ASSERT_NE(pair.stores[1]->identity().origin, before);
  WithoutDocuments deaf(pair, 0, 1);  // they would tell, too
  pair.network.attach(0, &deaf);
  pair.link(0, 1);
  pair.run_for(1000);
  HttpRequest late;
  late.method = "GET";
  late.path = "/rowmesh/v1/hello";
  late.query = "origin=" + to_hex(before) + "&instance=1";
  sign_request(late, NodePair::uuid(1), pair.stores[0]->servers()[0].secret, pair.now_ms, 4711);
  std::uint64_t body_limit = 0;
  ASSERT_EQ(pair.nodes[0]->check(late, body_limit).status, 0);
  ASSERT_EQ(pair.nodes[0]->handle(late).status, 200);
  pair.network.attach(0, pair.nodes[0].get());
  pair.run_for(20000);
  EXPECT_EQ(pair.nodes[1]->status().identity, "");
  pair.write(1, "since", "v");
  pair.run_for(1000);
  EXPECT_EQ(pair.rows(0), 1u);
}

// (Node::Impl::go_on_copying)
TEST(Incarnations, ACopyThatDoesNotBeginAtOnceEndsNoRow) {
  for (int failing = 0; failing < 12; failing++) {
    NodePair pair;
    pair.link(0, 1);
    pair.start();
    pair.write(0, "row", "v");
    pair.run_for(20000);
    ASSERT_EQ(pair.rows(1), 1u);
    int begun = 0;
    pair.stores[1]->request("new_identity", "restored");
    pair.stores[1]->on_point = [&](Point point) {
      if (point == Point::at_begin && begun++ == failing)
        throw Error(ErrorKind::transient, "40001", "could not serialize access");
    };
    pair.run_for(30000);
    EXPECT_EQ(pair.rows(1), 1u) << failing;
  }
}

}  // namespace
}  // namespace rowmesh::testing
