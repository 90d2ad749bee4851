// Holes of simpler readings of rows that wait beside the table, for a UNIQUE value or a number (docs/model.md, H6).
// More of them: holes_test.cpp.
#include <gtest/gtest.h>

#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: a server's changes were refused for ever, for values were left out that nobody had. Mechanism: a row that
// had waited for a UNIQUE value got it back, though another one had been inserted under its number meanwhile; that had
// not been looked at yet, and what it held was gone. Mend: Applier::candidates leaves such a number until it has been.
TEST(Holes, H6_AWaitingRowLeavesWhatWasInsertedOverItAlone) {
  LooseNodes lab(2, [](MemoryStore& store) {
    Table table;
    table.wire_name = "numbered";
    table.columns = {{"id", ColumnType::integer, "integer", true, false},
                     {"u", ColumnType::text, "text", false, false}};
    table.key = {0};
    table.uniques = {{"numbered_u", {1}}};
    table.integer_key = true;
    table.on_key_collision = KeyCollision::hold;
    store.create_table(table);
  });
  auto numbered = [](std::int64_t id, const char* u) { return Row{Value::of_integer(id), Value::of_text(u)}; };
  lab.insert(1, "numbered", numbered(100, "taken"));
  lab.pass(10);
  lab.insert(0, "numbered", numbered(9, "taken"));
  lab.exchange_all();
  ASSERT_EQ(lab.rows(1, "numbered"), "100=taken");
  MemoryStore& store = lab.store(1);
  store.begin_local();
  store.insert("numbered", numbered(9, "inserted over it"));
  store.remove("numbered", Row{Value::of_integer(100)});
  store.commit_local();
  lab.core(1).cut_alone(true);  // as when a transaction of here comes between, in the middle of something else
  Applier(lab.core(1)).reconcile({});
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) {
    EXPECT_EQ(lab.rows(i, "numbered"), "9=taken") << i;
    std::vector<SideRow> waiting = lab.store(i).load_side();
    ASSERT_EQ(waiting.size(), 1u) << i;
    EXPECT_NE(waiting[0].payload.find("inserted over it"), std::string::npos) << waiting[0].payload;
  }
}

// `u` and `w` are UNIQUE.
void create_marked(MemoryStore& store) {
  Table table;
  table.wire_name = "marked";
  table.columns = {{"code", ColumnType::text, "text", true, false},
                   {"u", ColumnType::text, "text", false, false},
                   {"w", ColumnType::text, "text", false, false}};
  table.key = {0};
  table.uniques = {{"marked_u", {1}}, {"marked_w", {2}}};
  store.create_table(table);
}

Row marked(const char* code, const char* u, const char* w) {
  return {Value::of_text(code), u ? Value::of_text(u) : Value::of_null(), Value::of_text(w)};
}

// Symptom: of two rows that wanted one value each node showed another one. Mechanism: one of them waited, for it had
// got a value of another index last; the claim of the row that showed settled; then the first one gave that other value
// up, and had the older claim again. Mend: what counts is the claim that a row that waits has by the contested value
// alone (Applier::add_contested).
TEST(Holes, H6_WhoWaitsMayGetAnOlderClaimAgain) {
  LooseNodes lab(2, create_marked);
  lab.insert(0, "marked", marked("older", nullptr, "green"));
  lab.pass(10);
  lab.insert(1, "marked", marked("younger", nullptr, "green"));
  for (int round = 0; round < 4; round++) lab.pass(10), lab.ship(0, 1), lab.ship(1, 0);
  ASSERT_EQ(lab.rows(1, "marked"), "older=-,green");
  lab.update(0, "marked", marked("older", "x", "green"));
  lab.deliver(lab.make_unsettled(0, lab.applied(1)), 1);
  ASSERT_EQ(lab.rows(1, "marked"), "younger=-,green");
  lab.forget(1);
  lab.pass(10);
  lab.update(0, "marked", marked("older", nullptr, "green"));  // before anything was hidden here
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i, "marked"), "older=-,green") << i;
  lab.remove(0, "marked", {Value::of_text("older")});
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) {
    EXPECT_EQ(lab.rows(i, "marked"), "younger=-,green") << i;
    EXPECT_EQ(lab.core(i).window.size(), 0u) << i << " has forgotten what is settled";
  }
}

// Symptom: what was written to a row after a restart was lost without a trace. Mechanism: the row had waited, and was
// shown while somebody inserted another one under its key and deleted that, which was read from the log only then. When
// the row left the side table it was written to the history once more, without the time since which it shows; or that
// was forgotten before what crossed it. Read again, the delete was the row's. Mend: the time goes with it
// (PackedWriter::life), and who was shown is written again as who came is (Core::keep_begin).
void expect_what_was_shown_to_live(bool one_transaction, bool forgotten) {
  LooseNodes lab(2, create_marked);
  lab.insert(0, "marked", marked("other", nullptr, "green"));
  lab.pass(10);
  lab.insert(1, "marked", marked("waits", nullptr, "green"));
  lab.exchange_all();
  ASSERT_EQ(lab.rows(1, "marked"), "other=-,green");
  lab.core(1).write_alone();
  lab.remove(0, "marked", {Value::of_text("other")});
  LooseNodes::Document document = lab.make(0, 1);
  lab.pass(10);
  MemoryStore& store = lab.store(1);
  store.begin_local();
  store.insert("marked", marked("waits", nullptr, "blue"));
  if (!one_transaction) store.commit_local(), store.begin_local();
  store.remove("marked", Row{Value::of_text("waits")});
  store.commit_local();
  ASSERT_EQ(lab.deliver(document, 1), Taken::applied);
  ASSERT_EQ(lab.rows(1, "marked"), "waits=-,green");
  lab.ship(1, 0);
  lab.ship(0, 1);
  if (forgotten) lab.forget(1);
  lab.core(1).write_alone();
  lab.restart(1);
  lab.update(1, "marked", marked("waits", "written after it", "green"));
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i, "marked"), "waits=written after it,green") << i;
}

TEST(Holes, H6_WhatWasShownIsNotDeletedByWhatIsReadAgain) {
  for (bool one_transaction : {true, false})
    for (bool forgotten : {true, false}) {
      SCOPED_TRACE(std::to_string(one_transaction) + std::to_string(forgotten));
      expect_what_was_shown_to_live(one_transaction, forgotten);
    }
}

}  // namespace
}  // namespace rowmesh::testing
