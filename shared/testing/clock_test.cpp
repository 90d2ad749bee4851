// What a wrong clock leaves behind when it has been set right, in virtual time. How a node then goes on as another
// incarnation: identity_test.cpp.
#include <gtest/gtest.h>

#include <optional>

#include "shared/model/hex.hpp"
#include "shared/testing/family.hpp"
#include "shared/testing/lab.hpp"
#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: two nodes took nothing of each other any more. Mechanism: one clock had been ahead, both had gone on from
// there and became new incarnations in one moment. The first that a new incarnation said of itself was that it had
// announced nothing, so the other one's documents spoke of nothing that it had received, and were older than what was
// forgotten; and it was so on both sides. Mend: what was announced before, as far as it stays, is announced by the new
// one as well (Core::renew).
TEST(ClockTest, TwoThatAreSetRightInOneMomentHearEachOther) {
  LooseNodes nodes(2, create_items);
  auto insert = [&](std::size_t i, const char* id) {
    nodes.insert(i, "item", {Value::of_text(id), Value::of_text("1")});
  };
  nodes.link(0, 1);
  insert(0, "before");
  nodes.exchange_all();
  ASSERT_GT(nodes.core(0).state.prune_horizon, 0u);
  std::vector<LooseNodes::Document> first;
  for (std::size_t i : {0, 1}) {
    Core& core = nodes.core(i);
    Renewal renewal;
    renewal.before = core.state.self, renewal.after = core.state.self + 1000;
    renewal.corrected = true;
    renewal.horizon = core.state.prune_horizon;
    renewal.fork = renewal.floor = core.newest_of_others(renewal.horizon);
    core.renew(renewal, core.identity, 0);
    DocumentOrder all;
    for (auto& [origin, position] : core.state.applied) all.from[origin] = {};
    core.store.begin(TransactionKind::read);
    first.push_back({make_document(core, all).body, i});
    core.store.commit();
  }
  for (std::size_t i : {0, 1}) EXPECT_EQ(nodes.deliver(first[i], 1 - i), Taken::applied);
  insert(0, "after");
  insert(1, "after, too");
  for (std::size_t i : {0, 1}) EXPECT_EQ(nodes.deliver(nodes.make(i, 1 - i), 1 - i), Taken::applied);
}

// Symptom: a server that had everything was said to need a copy, and got nothing any more. Mechanism: a clock had been
// set right, so its node was another incarnation; what the earlier one had shipped to some only came to the rest under
// the positions of those who had it. Those of the earlier one were forgotten, and whether the server had received all
// that was in them was judged by what it had received under them, which is no more than it was. Mend: it is judged by
// what it has received of the incarnation that followed (Node::Impl::reaches).
TEST(ClockTest, WhoGotItUnderOtherPositionsNeedsNoCopy) {
  constexpr std::uint64_t two_minutes_ms = 120'000;  // its documents are refused, its requests are not
  Lab lab;
  start_three(lab);
  bool deaf = false;
  Between at_c(lab, 2, [&](const HttpRequest& head) { return deaf && head.headers.at("x-rowmesh-node") == uuid_b; });
  lab.insert(1, "before");
  lab.run_for(10'500);  // so that it greets some seconds after its clock is right
  deaf = true;
  lab.insert(1, "comes to one of them");
  while (lab.rows(0) < 2) lab.run_for(1);
  lab.set_clock(1, two_minutes_ms);
  lab.insert(1, "written ahead");
  lab.run_for(1000);
  lab.set_clock(1, 0);
  deaf = false;
  while (lab.node(1).store->identity().origin == Origin{0xb}) lab.run_for(1);
  deaf = true;
  lab.run_for(4000);
  ASSERT_EQ(lab.rows(2), 3u);
  ASSERT_EQ(lab.status(0).unsettled, 0u) << "it has forgotten it";
  deaf = false;
  lab.run_for(20'000);
  lab.insert(0, "after");
  lab.run_for(5000);
  EXPECT_EQ(lab.rows(2), 4u);
  EXPECT_EQ(lab.status(0).servers[1].state, "streaming") << lab.status(0).servers[1].last_error;
}

// Symptom: what was written ahead of the time kept its versions after the clock had been set right, and was forgotten
// by nobody until then. Mechanism: the clock of the versions went back before the new incarnation was committed, and
// when that failed nothing was ahead any more. Mend: it goes back afterwards (Core::renew).
TEST(ClockTest, ANewIncarnationThatCannotBeWrittenIsTriedAgain) {
  Lab lab;
  run_two(lab);
  lab.set_clock(0, day_ms);
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  SeededRandom random(1);
  lab.node(0).store->on_point = [&](Point point) {
    if (point == Point::before_commit && random.chance(600))
      throw Error(ErrorKind::transient, "40001", "could not serialize access");
  };
  lab.run_for(10'000);
  lab.node(0).store->on_point = {};
  lab.run_for(60'000);
  EXPECT_NE(lab.node(0).store->identity().origin, Origin{0xa});
  EXPECT_EQ(lab.rows(1), 2u);
  for (std::size_t i : {0, 1}) {
    EXPECT_LT(lab.ahead_ms(i), 1000) << i;
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
  }
}

// Core::take_back_horizon.
TEST(ClockTest, WhatWasForgottenAloneHoldsNothingUp) {
  for (bool crashes : {false, true}) {
    Lab lab;
    lab.add(uuid_a, 0xa);
    lab.start(0);
    lab.set_clock(0, day_ms);
    lab.insert(0, "written alone", 1);
    lab.run_for(5000);
    ASSERT_EQ(lab.status(0).unsettled, 0u);
    lab.add(uuid_b, 0xb);
    lab.start(1);
    lab.insert(1, "written alone, too");
    lab.run_for(5000);
    lab.link(0, 1);
    lab.link(1, 0);
    lab.insert(0, "written ahead");
    lab.run_for(5000);
    lab.set_clock(0, 0);
    lab.insert(1, "after it was added");
    lab.run_for(30'000);
    EXPECT_LT(lab.ahead_ms(0), 1000) << crashes;
    if (crashes) lab.crash(0), lab.start(0);
    lab.insert(0, "after");
    lab.insert(1, "after, too");
    lab.run_for(20'000);
    EXPECT_EQ(lab.rows(0), 5u) << crashes;
    EXPECT_EQ(lab.rows(1), 5u) << crashes;
    for (std::size_t i : {0, 1}) {
      EXPECT_EQ(lab.status(i).unsettled, 0u) << crashes << i;
      EXPECT_EQ(lab.status(i).servers[0].state, "streaming") << crashes << i << lab.status(i).servers[0].last_error;
    }
  }
}

// Core::take_renewal: a record of what was forgotten may still be in the history, with one that is not.
TEST(ClockTest, WhatWasForgottenAloneStaysForgottenAfterACrash) {
  LooseNodes nodes(1, create_items);
  nodes.store(0).prune_interval_ms = ~std::uint64_t{0};
  nodes.skew(0, day_ms);
  nodes.insert(0, "item", {Value::of_text("forgotten"), Value::of_text("1")});
  nodes.settle(0);
  nodes.pass(10);
  nodes.core(0).horizon_limit = nodes.store(0).clock().now();
  nodes.insert(0, "item", {Value::of_text("kept"), Value::of_text("1")});
  nodes.settle(0);
  nodes.core(0).flush();
  nodes.forget(0);
  nodes.core(0).flush();
  auto birth = [&](const char* id) {
    Row key = {Value::of_text(id)};
    Entry* entry = nodes.core(0).window.find(nodes.store(0).table("item").id, encode_key(key));
    return entry ? entry->state.lives.at(0).birth : Version{};
  };
  ASSERT_TRUE(birth("forgotten").settled());
  nodes.skew(0, 0);
  Core& core = nodes.core(0);
  Renewal renewal;
  renewal.before = core.state.self, renewal.after = core.state.self + 1000;
  renewal.corrected = true;
  renewal.horizon = renewal.fork = renewal.floor = core.horizon_with_others();
  core.renew(renewal, core.identity, 0);
  Version kept = birth("kept");
  EXPECT_LE(hlc_to_ms(kept.hlc), nodes.now_ms());
  nodes.restart(0);
  EXPECT_TRUE(birth("forgotten").settled());
  EXPECT_EQ(birth("kept"), kept);
}

// So a copy takes more than one piece.
void add_two_with_two_tables(Lab& lab) {
  Table more;
  more.wire_name = "more";
  more.columns = {{"id", ColumnType::text, "text", true, false}};
  more.key = {0};
  lab.add(uuid_a, 0xa).create_table(more);
  lab.add(uuid_b, 0xb).create_table(more);
  lab.link(0, 1);
  lab.link(1, 0);
}

// Node::Impl::perhaps_taken, of what came with a copy that is not done yet; also where a crash lost that it was given.
TEST(ClockTest, WhatAPieceOfACopyBroughtIsNotGivenAnew) {
  constexpr std::uint64_t listened_to_ms = 50'000;
  for (bool crashes : {false, true}) {
    Lab lab;
    add_two_with_two_tables(lab);
    lab.start(0);
    lab.start(1);
    lab.run_for(5000);
    bool one_piece = true;
    Between at_b(lab, 1, [&](const HttpRequest& head) { return one_piece && head.path == "/rowmesh/v1/changes"; });
    auto dropped = [&](const HttpRequest& head) {
      return one_piece && head.path == "/rowmesh/v1/rows" && head.query.find(bytes_to_hex("more")) != std::string::npos;
    };
    std::optional<Between> at_a(std::in_place, lab, 0, dropped);
    lab.set_clock(0, listened_to_ms);
    lab.insert(0, "written ahead");
    lab.run_for(1000);
    lab.node(1).store->request("copy", R"({"server":"to 0","direction":"pull","on_existing":"newer"})");
    while (lab.rows(1) < 1) lab.run_for(1);
    if (crashes) lab.crash(0), lab.start(0), at_a.emplace(lab, 0, dropped);
    lab.set_clock(0, 0);
    lab.run_for(2000);
    one_piece = false;
    lab.run_for(60'000);
    for (std::size_t i : {0, 1}) {
      EXPECT_EQ(lab.rows(i), 1u) << i;
      EXPECT_EQ(lab.status(i).side_rows, 0u) << i << ": two lives of one row";
      EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
    }
  }
}

// Node::Impl::would_be_refused: a piece was taken when the clock was right, the next one is asked for when it is ahead;
// or it is set back then, and what is there looks as if it had come from too far ahead.
TEST(ClockTest, WhatAPieceBroughtBeforeTheClockWasWrongIsNotGivenAnew) {
  constexpr std::int64_t not_listened_to_ms = 180'000;
  for (bool ahead : {true, false}) {
    Lab lab;
    add_two_with_two_tables(lab);
    lab.insert(0, "written");
    lab.start(0);
    lab.start(1);
    bool copies = true;
    Between at_b(lab, 1, [&](const HttpRequest& head) { return copies && head.path == "/rowmesh/v1/changes"; });
    bool one_piece = true;
    Between at_a(lab, 0, [&](const HttpRequest& head) {
      return one_piece && head.query.find(bytes_to_hex("more")) != std::string::npos;
    });
    lab.node(1).store->request("copy", R"({"server":"to 0","direction":"pull","on_existing":"newer"})");
    while (lab.rows(1) < 1) lab.run_for(1);
    if (ahead) {
      lab.set_clock(0, not_listened_to_ms);
      lab.insert(0, "written ahead");
      one_piece = false;
      lab.run_for(20'000);
    }
    lab.set_clock(0, ahead ? 0 : -not_listened_to_ms);
    lab.run_for(20'000);
    lab.set_clock(0, 0);
    one_piece = copies = false;
    lab.run_for(240'000);
    for (std::size_t i : {0, 1}) {
      EXPECT_EQ(lab.rows(i), ahead ? 2u : 1u) << i;
      EXPECT_EQ(lab.status(i).side_rows, 0u) << i << ": two lives of one row, ahead: " << ahead;
    }
  }
}

// Node::Impl::judge_clock_unasked: who takes a copy asks for no changes.
TEST(ClockTest, ANewServerThatComesToItsSourceGetsItsCopyWhenTheClockIsRight) {
  constexpr std::int64_t not_listened_to_ms = 250'000;
  Lab lab;
  lab.add(uuid_a, 0xa);
  lab.add(uuid_b, 0xb);
  lab.link(0, 1, true);
  lab.link(1, 0);
  lab.insert(0, "written");
  lab.start(0);
  lab.start(1);
  Between at_a(lab, 0, [](const HttpRequest& head) { return head.path == "/rowmesh/v1/changes"; });
  lab.run_for(5000);
  ASSERT_EQ(lab.rows(1), 0u);
  lab.set_clock(0, not_listened_to_ms);
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.node(1).store->request("copy", R"({"server":"to 0","direction":"pull","on_existing":"newer"})");
  lab.run_for(10'000);
  lab.set_clock(0, 0);
  lab.run_for(20'000);
  EXPECT_EQ(lab.rows(1), 2u);
}

// Symptom: a row that was written between the two calls of add_server never came to the second server, once a clock had
// been set right as well. Mechanism: the second one, alone until then, had taken all up to its own time of day for
// settled. What came late of a server was told from what had been forgotten as long as that one was the same
// incarnation; of one that another had followed all was taken for forgotten, though nothing of it had come yet. Mend:
// that holds once it has come (Applier::note_late_origins).
TEST(ClockTest, WhatAClosedIncarnationWroteSinceAServerWasAddedArrives) {
  constexpr std::uint64_t two_minutes_ms = 120'000;  // its documents are refused, its requests are not
  Lab lab;
  for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
  lab.link(1, 0);
  lab.link(1, 2);
  lab.link(2, 1);
  for (std::size_t i : {0, 1, 2}) lab.start(i);
  lab.run_for(1000);
  lab.insert(1, "since it was added");
  lab.run_for(2000);
  ASSERT_EQ(lab.rows(2), 1u) << "so that it stays the earlier incarnation's";
  lab.set_clock(1, two_minutes_ms);
  lab.insert(1, "written ahead");
  lab.insert(0, "written alone");
  lab.run_for(5000);
  ASSERT_EQ(lab.status(0).unsettled, 0u);
  lab.link(0, 1);
  lab.run_for(5000);
  lab.set_clock(1, 0);
  lab.run_for(30'000);
  EXPECT_NE(lab.node(1).store->identity().origin, Origin{0xb});
  EXPECT_EQ(lab.rows(0), 3u);
  for (std::size_t i : {0, 1, 2}) EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
}

// Symptom: after a clock had been set right a row was there twice. Mechanism: a server that asks for its changes had
// got it with an answer, and what it has was known only from when it had greeted. Mend: nobody knows what it has until
// it asks again (Node::Impl::later).
TEST(ClockTest, WhatAnAnswerBroughtIsNotGivenAnew) {
  constexpr std::uint64_t listened_to_ms = 50'000;
  Lab lab;
  run_two(lab, true);
  lab.add(uuid_c, 0xc);
  lab.link(0, 2);
  lab.link(2, 0);
  lab.start(2);
  lab.run_for(5000);
  bool silent = false;
  Between at_a(lab, 0, [&](const HttpRequest& head) { return silent && head.headers.at("x-rowmesh-node") == uuid_b; });
  Between at_c(lab, 2, [&](const HttpRequest& head) { return silent && head.path == "/rowmesh/v1/changes"; });
  lab.set_clock(0, listened_to_ms);
  lab.run_for(1000);  // its question was answered when so much time seemed to have passed, and it has asked again
  silent = true;
  lab.insert(0, "written ahead");
  while (lab.rows(1) < 2) lab.run_for(1);
  lab.set_clock(0, 0);
  lab.run_for(10'000);
  silent = false;
  lab.run_for(60'000);
  for (std::size_t i : {0, 1, 2}) {
    EXPECT_EQ(lab.rows(i), i == 2 ? 1u : 2u) << i;
    EXPECT_EQ(lab.status(i).side_rows, 0u) << i << ": two lives of one row";
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
  }
}

// Where several ask, some have just got an answer at any time. What was refused, for it was made too far ahead, holds
// nothing up.
TEST(ClockTest, AnAnswerThatWasRefusedHoldsNothingUp) {
  constexpr std::uint64_t minutes_ms = 250'000;  // its documents are refused, its requests are not
  Lab lab;
  run_two(lab, true);
  lab.add(uuid_c, 0xc);
  lab.link(0, 2, true);
  lab.link(2, 0);
  lab.start(2);
  lab.run_for(5000);
  lab.set_clock(0, minutes_ms);
  lab.run_for(1000);
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(40'000);
  EXPECT_LT(lab.ahead_ms(0), 1000);
  EXPECT_EQ(lab.rows(1), 2u);
  EXPECT_EQ(lab.rows(2), 1u);
}

// Symptom: a log entry and some history records stayed for as long as a clock had been ahead. Mechanism: what had been
// written by it was newer than the time of day, and heartbeats were counted from the newest watermark, so there were
// none until that time had come. Mend: they are counted from when it was announced (Core::announced_ms).
TEST(ClockTest, WhatIsAheadOfTheTimeIsForgottenAllTheSame) {
  constexpr std::uint64_t listened_to_ms = 50'000;
  Lab lab;
  run_two(lab);
  lab.set_clock(0, listened_to_ms);
  lab.insert(0, "written ahead");
  lab.run_for(1000);
  ASSERT_EQ(lab.rows(1), 2u);
  lab.set_clock(0, 0);
  lab.insert(1, "by who has heard of it");
  lab.run_for(10'000);
  ASSERT_GT(lab.ahead_ms(1), 20'000) << "its clock goes on from what it has heard";
  for (std::size_t i : {0, 1}) {
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
    EXPECT_EQ(lab.node(i).store->log_size(), 0u) << i;
  }
}

// Symptom: a row was there twice. Mechanism: the server that had taken it was removed, and the clock was set right; of
// what only that one had nobody was asked any more. Mend: what a server once said to have stays taken.
TEST(ClockTest, WhatARemovedServerHasIsNotGivenAnew) {
  constexpr std::uint64_t listened_to_ms = 50'000;
  Lab lab;
  run_three(lab);
  bool deaf = true;
  Between at_c(lab, 2, [&](const HttpRequest& head) { return deaf && head.path == "/rowmesh/v1/changes"; });
  lab.set_clock(0, listened_to_ms);
  lab.insert(0, "written ahead");
  while (lab.rows(1) < 1) lab.run_for(1);
  lab.run_for(1000);
  auto remove = [&](std::size_t at, const char* name) {
    for (auto& server : lab.node(at).store->servers())
      if (server.name == name) return lab.node(at).store->remove_server(server.id);
  };
  remove(0, "to 1");
  remove(1, "to 0");
  lab.run_for(1000);
  lab.set_clock(0, 0);
  lab.run_for(10'000);
  deaf = false;
  lab.run_for(60'000);
  for (std::size_t i : {0, 1, 2}) {
    EXPECT_EQ(lab.rows(i), 1u) << i;
    EXPECT_EQ(lab.status(i).side_rows, 0u) << i << ": two lives of one row";
    EXPECT_EQ(lab.status(i).unsettled, 0u) << i;
  }
}

}  // namespace
}  // namespace rowmesh::testing
