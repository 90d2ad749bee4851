// The mechanisms that everything rests on, each seen from outside at its smallest (docs/guarantees.md, "Taken out, it
// shows"). What belongs to an engine has its test there.
#include <gtest/gtest.h>

#include <functional>

#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

void create(MemoryStore& store) {
  Table table;
  table.wire_name = "rows";
  table.columns = {{"code", ColumnType::text, "text", true, false}, {"a", ColumnType::text, "text", false, false}};
  table.key = {0};
  store.create_table(table);
}

Row row(const char* code, const char* a) { return {Value::of_text(code), Value::of_text(a)}; }

// However an apply is broken off: what a node says that it has applied is there, and the rest comes with the next
// document.
TEST(Mechanisms, ProgressIsWrittenWithTheRows) {
  bool whole = false;
  for (int break_at = 1; !whole; break_at++) {
    ASSERT_LT(break_at, 100);
    LooseNodes nodes(2, create);
    nodes.insert(0, "rows", row("k", "1"));
    LooseNodes::Document document = nodes.make(0, 1);
    int points = 0;
    nodes.store(1).on_point = [&](Point) {
      if (++points == break_at) throw Crash{1};
    };
    try {
      nodes.deliver(document, 1);
      whole = true;
    } catch (const Crash&) {}
    nodes.store(1).on_point = {};
    nodes.restart(1);
    bool has_applied = nodes.applied(1).contains(nodes.origin(0));
    EXPECT_EQ(nodes.rows(1, "rows"), has_applied ? "k=1" : "") << "broken off at point " << break_at;
    nodes.ship(0, 1);
    EXPECT_EQ(nodes.rows(1, "rows"), "k=1") << "broken off at point " << break_at;
  }
}

// While a document with an older edit of row k is under way, `change` happens where it arrives. It must hold.
void expect_it_holds(const std::function<void(LooseNodes&)>& change, const std::string& rows) {
  for (Flavour flavour : {Flavour::single_writer, Flavour::snapshot}) {
    LooseNodes nodes(2, create, true, 0, flavour);
    nodes.insert(0, "rows", row("k", "1"));
    nodes.exchange_all();
    nodes.update(0, "rows", row("k", "older"));
    LooseNodes::Document document = nodes.make(0, 1);
    nodes.pass(1000);
    change(nodes);
    nodes.deliver(document, 1);
    EXPECT_EQ(nodes.rows(1, "rows"), rows);
    nodes.exchange_all();
    for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(nodes.rows(i, "rows"), rows) << i;
  }
}

// A local change that was not read from the log yet is as new as it is: an older one from elsewhere does not take its
// place.
TEST(Mechanisms, TheLogIsReadBeforeAnApply) {
  expect_it_holds([](LooseNodes& nodes) { nodes.update(1, "rows", row("k", "newer")); }, "k=newer");
}

// Nor does an edit of it from elsewhere bring back a row that was deleted a moment ago
// (Applier::look_for_unread_deletes).
TEST(Mechanisms, ADeleteThatWasNotReadYetIsNotUndone) {
  expect_it_holds([](LooseNodes& nodes) { nodes.remove(1, "rows", {Value::of_text("k")}); }, "");
}

// Nor on a server where so much is written at once that an apply begins again and again (Applier::log_names).
TEST(Mechanisms, ADeleteAmongManyWritesIsNotUndone) {
  LooseNodes nodes(2, create, true, 0, Flavour::snapshot);
  nodes.insert(0, "rows", row("busy", "1"));
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  nodes.update(0, "rows", row("k", "2"));
  nodes.ship(0, 1);
  nodes.update(0, "rows", row("busy", "2"));
  nodes.update(0, "rows", row("k", "3"));
  LooseNodes::Document document = nodes.make(0, 1);
  MemoryStore& store = nodes.store(1);
  int times = 0;
  store.on_point = [&](Point point) {
    if (point != Point::before_find || times > 4) return;
    nodes.pass(10);
    store.begin_local();
    if (times++ < 4)
      store.update("rows", Row{Value::of_text("busy")}, row("busy", ("here " + std::to_string(times)).c_str()));
    else
      store.remove("rows", Row{Value::of_text("k")});
    store.commit_local();
  };
  EXPECT_EQ(static_cast<int>(nodes.deliver(document, 1)), static_cast<int>(Taken::applied));
  store.on_point = {};
  EXPECT_EQ(times, 5);
  nodes.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(nodes.rows(i, "rows"), "busy=here 4") << i;
}

// Who has nothing unsettled announces where it stands all the same while others wait, and its history stays short.
TEST(Mechanisms, HeartbeatsLeaveNoHistory) {
  LooseNodes nodes(2, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  for (int heartbeat = 0; heartbeat < 100; heartbeat++) {
    nodes.pass(1000);
    nodes.core(0).cut_alone(true);
    nodes.core(0).write_alone();
    nodes.forget(0);
  }
  EXPECT_LT(nodes.store(0).history_size(), 40u);
}

// A key that the log names once more when all of it is forgotten, and of which there is no row, is as unknown as before
// (Applier::forget_vanished).
TEST(Mechanisms, AKeyThatIsNamedOnceMoreIsNoRow) {
  LooseNodes nodes(2, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  nodes.remove(0, "rows", {Value::of_text("k")});
  nodes.exchange_all();
  ASSERT_EQ(nodes.core(1).window.size(), 0u);
  MemoryStore& store = nodes.store(1);
  Row key = {Value::of_text("k")};
  store.begin(TransactionKind::write);
  store.note_local(store.table("rows"), LogOp::update, encode_key(key), {});
  store.commit();
  nodes.settle(1);
  nodes.insert(0, "rows", row("k", "2"));
  EXPECT_EQ(nodes.deliver(nodes.make(0, 1), 1), Taken::applied);
  nodes.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(nodes.rows(i, "rows"), "k=2") << i;
}

// What is written after a crash is newer than what was announced before it, though the clock is lost and set back
// meanwhile: others have forgotten up to there, and would take the row for one that they buried.
TEST(Mechanisms, NothingIsGivenAVersionThatWasAnnounced) {
  LooseNodes nodes(2, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  nodes.pass(60'000);
  nodes.core(0).cut_alone(true);
  ASSERT_EQ(nodes.deliver(nodes.make(0, 1), 1), Taken::applied);
  Hlc announced = nodes.core(1).state.metas[nodes.origin(0)].watermark;
  nodes.skew(0, -30'000);
  nodes.restart(0);
  EXPECT_GE(nodes.store(0).clock().now(), announced);
  nodes.insert(0, "rows", row("late", "1"));
  nodes.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(nodes.rows(i, "rows"), "k=1 late=1") << i;
}

// Symptom: a row that was deleted after a restart stayed on the other server. Mechanism: a row of the same key had been
// inserted and deleted here just before that row came, and was read from the log only afterwards. The row settled, its
// record was forgotten, and what was left of the history told of the other one alone: its delete was none. Mend: what
// an entry has become is written once more before its begin is forgotten (Core::keep_begin).
TEST(Mechanisms, WhatTheLogCrossedIsKnownAfterARestart) {
  for (bool edited : {false, true}) {
    LooseNodes nodes(2, create);
    nodes.insert(0, "rows", row("k", "1"));
    LooseNodes::Document document = nodes.make(0, 1);
    nodes.pass(1000);
    nodes.insert(1, "rows", row("k", "own"));
    nodes.remove(1, "rows", {Value::of_text("k")});
    ASSERT_EQ(nodes.deliver(document, 1), Taken::applied);
    nodes.ship(1, 0);
    nodes.ship(0, 1);
    nodes.forget(1);
    nodes.core(1).write_alone();
    nodes.restart(1);
    if (edited)
      nodes.update(1, "rows", row("k", "edited"));
    else
      nodes.remove(1, "rows", {Value::of_text("k")});
    nodes.exchange_all();
    for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(nodes.rows(i, "rows"), edited ? "k=edited" : "") << i;
    EXPECT_EQ(nodes.core(1).window.size(), 0u);
  }
}

// A delete ends the life that it had seen, also where somebody edited it later without knowing; and no other life.
TEST(Mechanisms, ADeleteEndsTheLifeThatItHadSeen) {
  LooseNodes nodes(3, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  nodes.remove(0, "rows", {Value::of_text("k")});
  nodes.settle(0);
  nodes.pass(1000);
  nodes.update(1, "rows", row("k", "edited later"));
  nodes.settle(1);
  nodes.ship(1, 2);
  nodes.ship(0, 2);
  ASSERT_EQ(nodes.rows(2, "rows"), "");
  nodes.insert(2, "rows", row("k", "again"));
  nodes.exchange_all();
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(nodes.rows(i, "rows"), "k=again") << i;
}

// A row waited for a UNIQUE value on one node and was shown on the other: a newer version of the same value made the
// claim of the row that had it the younger one, but where the merge changed no value in the table nobody looked at
// claims.
TEST(Mechanisms, AYoungerClaimToTheSameValueGivesItUp) {
  LooseNodes nodes(3, [](MemoryStore& store) {
    Table table;
    table.wire_name = "names";
    table.columns = {{"code", ColumnType::text, "text", true, false},
                     {"a", ColumnType::text, "text", false, false},
                     {"tag", ColumnType::text, "text", false, false}};
    table.key = {0};
    table.uniques = {{"names_tag", {2}}};
    store.create_table(table);
  });
  auto name = [](const char* code, const char* a, Value tag) {
    return Row{Value::of_text(code), Value::of_text(a), tag};
  };
  Value red = Value::of_text("red");
  nodes.insert(0, "names", name("ann", "1", red));
  nodes.pass(1000);
  nodes.insert(1, "names", name("cid", "1", red));
  nodes.exchange_all();
  ASSERT_EQ(nodes.rows(1, "names"), "ann=1,red");
  nodes.write(0, [&](MemoryStore& store) {
    store.update("names", Row{Value::of_text("ann")}, name("ann", "2", Value::of_null()));
    store.update("names", Row{Value::of_text("ann")}, name("ann", "2", red));
  });
  nodes.pass(1000);
  nodes.update(2, "names", name("ann", "3", red));
  nodes.ship(2, 1);
  nodes.settle(1);
  nodes.ship(0, 1);
  EXPECT_EQ(nodes.rows(1, "names"), "cid=1,red");
  nodes.exchange_all();
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(nodes.rows(i, "names"), "cid=1,red") << i;
}

// A delete that comes late, behind a new row of the same key that somebody made in view of it, ends the old row alone.
TEST(Mechanisms, ADeleteThatComesLateEndsNoNewRow) {
  LooseNodes nodes(3, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  nodes.remove(0, "rows", {Value::of_text("k")});
  LooseNodes::Document late = nodes.make(0, 2);
  nodes.ship(0, 1);
  nodes.insert(1, "rows", row("k", "again"));
  nodes.ship(1, 2);
  ASSERT_EQ(nodes.rows(2, "rows"), "k=again");
  nodes.deliver(late, 2);
  EXPECT_EQ(nodes.rows(2, "rows"), "k=again");
  nodes.exchange_all();
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(nodes.rows(i, "rows"), "k=again") << i;
}

TEST(Mechanisms, WhatTwoDeleteIsGoneWithoutAConflict) {
  LooseNodes nodes(3, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.exchange_all();
  for (std::size_t i = 0; i < 2; i++) nodes.remove(i, "rows", {Value::of_text("k")}), nodes.pass(10);
  nodes.exchange_all();
  for (std::size_t i = 0; i < 3; i++) {
    EXPECT_EQ(nodes.rows(i, "rows"), "") << i;
    EXPECT_EQ(nodes.store(i).conflicts().size(), 0u) << i;
    EXPECT_EQ(nodes.core(i).window.size(), 0u) << i;
  }
}

// Between its being read and its being taken out of the table another truncate may come (Applier::list_truncated).
TEST(Mechanisms, WhatATruncateKilledUnseenIsListedByTheNextOne) {
  LooseNodes nodes(2, create);
  MemoryStore& store = nodes.store(0);
  store.begin_local();
  store.insert("rows", row("k", "prepared"));
  std::uint64_t prepared = store.prepare_local();
  nodes.pass(10);
  nodes.write(1, [](MemoryStore& there) { there.truncate("rows"); });
  nodes.exchange_all();
  store.commit_prepared(prepared);
  nodes.pass(10);
  nodes.write(1, [](MemoryStore& there) { there.truncate("rows"); });
  nodes.deliver(nodes.make(1, 0), 0);
  ASSERT_EQ(nodes.rows(0, "rows"), "");
  ASSERT_EQ(store.conflicts().size(), 1u);
  EXPECT_NE(store.conflicts()[0].loser.find("prepared"), std::string::npos);
  nodes.exchange_all();
  EXPECT_EQ(store.conflicts().size() + nodes.store(1).conflicts().size(), 1u);
}

// Core::refresh_side_values.
TEST(Mechanisms, AnEditThatCountsAsAWholeIsOfTheRowThatShowed) {
  LooseNodes nodes(2, [](MemoryStore& store) {
    Table table;
    table.wire_name = "rows";
    table.columns = {{"code", ColumnType::text, "text", true, false},
                     {"a", ColumnType::text, "text", false, false},
                     {"b", ColumnType::text, "text", false, false}};
    table.key = {0};
    table.merge = MergePolicy::row;
    store.create_table(table);
  });
  auto of = [](const char* a, const char* b) { return Row{Value::of_text("k"), Value::of_text(a), Value::of_text(b)}; };
  nodes.insert(0, "rows", of("older", "older"));
  nodes.pass(10);
  nodes.insert(1, "rows", of("younger", "younger"));
  nodes.pass(10);
  nodes.update(0, "rows", of("older", "edited"));
  nodes.exchange_all();
  ASSERT_EQ(nodes.rows(1, "rows"), "k=older,edited");
  nodes.pass(10);
  nodes.update(1, "rows", of("edited there", "edited"));
  nodes.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(nodes.rows(i, "rows"), "k=edited there,edited") << i;
}

// What is applied is nobody's change here: it goes to others as the origin's, and never back.
TEST(Mechanisms, WhatIsAppliedIsNotCaptured) {
  LooseNodes nodes(2, create);
  nodes.insert(0, "rows", row("k", "1"));
  nodes.ship(0, 1);
  ASSERT_EQ(nodes.rows(1, "rows"), "k=1");
  nodes.settle(1);
  for (const Batch& batch : nodes.core(1).window.batches())
    for (auto& [origin, position] : batch.ends) EXPECT_EQ(origin, nodes.origin(0));
}

}  // namespace
}  // namespace rowmesh::testing
