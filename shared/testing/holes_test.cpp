// The holes of simpler readings (docs/model.md, shared/merge/README.md) that take more than one node: each the smallest
// history that such a reading gets wrong. Those that show on one key are in shared/merge/holes_test.cpp.
#include <gtest/gtest.h>

#include "shared/testing/family.hpp"
#include "shared/testing/loose_nodes.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

using Edges = std::vector<std::pair<std::size_t, std::size_t>>;

// `code` is the key, `u` is UNIQUE.
void create(MemoryStore& store) {
  Table table;
  table.wire_name = "rows";
  table.columns = {{"code", ColumnType::text, "text", true, false},
                   {"a", ColumnType::text, "text", false, false},
                   {"u", ColumnType::text, "text", false, false}};
  table.key = {0};
  table.uniques = {{"rows_u", {2}}};
  store.create_table(table);
  table.wire_name = "twice";
  table.columns = {{"code", ColumnType::text, "text", true, false},
                   {"u", ColumnType::text, "text", false, false},
                   {"w", ColumnType::text, "text", false, false}};
  table.uniques = {{"twice_u", {1}}, {"twice_w", {2}}};
  store.create_table(table);
  create_family(store);
}

Value text(const char* text) { return text ? Value::of_text(text) : Value::of_null(); }
Row row(const char* code, const char* a, const char* u = nullptr) { return {text(code), text(a), text(u)}; }
Row key(const char* code) { return {text(code)}; }

class Lab : public LooseNodes {
 public:
  explicit Lab(std::size_t count, std::uint64_t seed = 0) : LooseNodes(count, create, true, seed) {}
  std::string rows(std::size_t i) { return LooseNodes::rows(i, "rows"); }
  bool listed(const std::string& value) {
    for (std::size_t i = 0; i < size(); i++)
      for (const ConflictRow& conflict : store(i).conflicts())
        if (conflict.loser.find("\"" + value + "\"") != std::string::npos) return true;
    return false;
  }
};

// A chain A - C - B. B edits a row while it is cut off, A deletes it, and A's only neighbour has confirmed that long
// ago: not yet settled, for B is a member. Then B finds another way.
TEST(Holes, H1_ANeighbourIsNotEverybody) {
  Lab lab(3);
  lab.link(0, 1), lab.link(1, 2);
  lab.insert(0, "rows", row("k", "old"));
  lab.exchange({{0, 1}, {1, 2}});
  lab.update(2, "rows", row("k", "edited at B"));
  lab.settle(2);
  lab.pass(1000);
  lab.remove(0, "rows", key("k"));
  lab.exchange({{0, 1}});
  lab.exchange({{0, 2}});
  lab.exchange_all();
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(lab.rows(i), "") << i;
  EXPECT_TRUE(lab.listed("edited at B"));
}

// A transaction has its version long before it shows: nothing above it is announced as being complete.
TEST(Holes, H2_TheWatermarkWaitsForWhatIsNotVisible) {
  Lab lab(2);
  lab.store(0).begin_local();
  lab.store(0).insert("rows", row("k", "prepared"));
  std::uint64_t prepared = lab.store(0).prepare_local();
  lab.pass(1000);
  lab.insert(1, "rows", row("other", "1"));
  lab.exchange_all();
  lab.store(0).commit_prepared(prepared);
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "k=prepared,- other=1,-") << i;
}

// B and C announce how far they are, then B edits a row of which it does not know that A deleted it, and C has that
// edit in a document for A that is late. All watermarks that A has are past the delete, but nobody has confirmed it.
TEST(Holes, H3_ReceivedWatermarksAreNotEnough) {
  Lab lab(3);
  lab.insert(0, "rows", row("k", "old"));
  lab.exchange_all();
  lab.pass(1000);
  lab.remove(0, "rows", key("k"));
  lab.settle(0);
  lab.pass(1000);
  lab.ship(1, 0), lab.ship(2, 0);
  lab.pass(1000);
  lab.update(1, "rows", row("k", "had not seen the delete"));
  lab.ship(1, 2);
  LooseNodes::Document late = lab.make(2, 0);
  lab.settle(0);
  lab.forget(0);
  lab.deliver(late, 0);
  EXPECT_EQ(lab.rows(0), "");
  lab.exchange_all();
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(lab.rows(i), "") << i;
  EXPECT_TRUE(lab.listed("had not seen the delete"));
}

// Whoever made it knew less than what has been forgotten here: as a restored node does.
TEST(Holes, H3_AStaleDocumentIsRefused) {
  Lab lab(2);
  lab.insert(1, "rows", row("k", "old"));
  LooseNodes::Document document = lab.make(1, 0);
  lab.core(0).state.prune_horizon = ms_to_hlc(lab.now_ms() + 1000);
  EXPECT_EQ(lab.deliver(document, 0), Taken::stale);
  EXPECT_EQ(lab.rows(0), "");
}

// r1 and r2 have one value, and D saw both; C saw r1 only after it had another value. Nobody may differ: the row that
// lost is hidden, and back when the value is free.
TEST(Holes, H6_TheLoserOfAUniqueValueComesBack) {
  Lab lab(4);
  lab.insert(0, "rows", row("r1", "1", "X"));
  lab.pass(10);
  lab.insert(1, "rows", row("r2", "2", "X"));
  lab.ship(0, 3), lab.ship(1, 3);
  EXPECT_EQ(lab.rows(3), "r1=1,X");
  lab.pass(10);
  lab.update(0, "rows", row("r1", "1", "Z"));
  lab.ship(0, 2), lab.ship(1, 2);
  EXPECT_EQ(lab.rows(2), "r1=1,Z r2=2,X");
  lab.ship(0, 3);
  EXPECT_EQ(lab.rows(3), "r1=1,Z r2=2,X");
  lab.exchange_all();
  for (std::size_t i = 0; i < 4; i++) EXPECT_EQ(lab.rows(i), "r1=1,Z r2=2,X") << i;
}

// What is hidden never settles: its claim would be as old as any, and whoever decides anew would decide otherwise.
TEST(Holes, H6_AHiddenRowKeepsItsClaim) {
  Lab lab(2);
  lab.insert(0, "rows", row("z", "first", "X"));
  lab.pass(10);
  lab.insert(1, "rows", row("a", "second", "X"));
  lab.settle(1);
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "z=first,X") << i;
  lab.insert(1, "rows", row("m", "decide anew", "Y"));
  lab.settle(1);
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "m=decide anew,Y z=first,X") << i;
}

// "waits" is hidden by "first" over w; "later" takes the value of u that "waits" wants as well, and shows. When "first"
// goes, "waits" comes before "later", as everywhere: the claim of "later" must not have settled, on one node and not
// yet on another.
class Contested : public Lab {
 public:
  Contested() : Lab(2) {
    insert(0, "twice", row("first", nullptr, "red"));
    pass(10);
    insert(1, "twice", row("waits", "blue", "red"));
    exchange_all(4);
    pass(10);
    insert(0, "twice", row("later", "blue", "blue"));
  }
  void expect_one_state() {
    ASSERT_EQ(LooseNodes::rows(1, "twice"), "first=-,red later=blue,blue");
    remove(0, "twice", key("first"));
    settle(0);
    exchange_all();
    for (std::size_t i = 0; i < 2; i++) ASSERT_EQ(LooseNodes::rows(i, "twice"), "waits=blue,red") << i;
    insert(0, "twice", row("done", "green", nullptr));
    remove(0, "twice", key("waits"));
    exchange_all();
    for (std::size_t i = 0; i < 2; i++) {
      EXPECT_EQ(LooseNodes::rows(i, "twice"), "done=green,- later=blue,blue") << i;
      EXPECT_EQ(core(i).window.size(), 0u) << i << " has forgotten what is settled";
    }
  }
};

// Symptom: two nodes showed different rows for ever. Mechanism: the claim of a shown row settled while an older row
// waited over another UNIQUE column; nodes that had forgotten it decided otherwise. Mend: Life::contested.
TEST(Holes, H6_AClaimThatAWaitingRowContestsDoesNotSettle) {
  Contested lab;
  for (int round = 0; round < 4; round++) {
    lab.pass(10);
    lab.ship(0, 1), lab.ship(1, 0);
    lab.forget(0);  // and the other one a little later
  }
  lab.expect_one_state();
}

TEST(Holes, H6_AContestedClaimOutlivesARestart) {
  Contested lab;
  lab.exchange_all();
  lab.restart(1);
  lab.expect_one_state();
}

// A chain A - R - D: R refuses a row. Behind it nobody misses it.
TEST(Holes, H7_ARelayHandsOnWhatItRefuses) {
  Lab lab(3);
  lab.store(1).add_check("rows", "no_k", [](RowView row) { return row[0].text != "k"; });
  lab.insert(0, "rows", row("k", "refused in the middle"));
  lab.insert(0, "rows", row("l", "1"));
  lab.exchange({{0, 1}, {1, 2}});
  EXPECT_EQ(lab.rows(1), "l=1,-");
  EXPECT_EQ(lab.rows(2), "k=refused in the middle,- l=1,-");
}

// The other half: what waits in quarantine keeps its versions, so that taking it in later overwrites nothing newer.
TEST(Holes, H7_TakenInLateItOverwritesNothingNewer) {
  Lab lab(2);
  lab.insert(0, "rows", row("k", "1"));
  lab.exchange_all();
  lab.store(1).add_check("rows", "none", [](RowView row) { return row[1].text != "refused"; });
  lab.update(0, "rows", row("k", "refused", "u1"));
  lab.exchange_all(2);
  lab.pass(1000);
  lab.update(1, "rows", row("k", "newer"));
  lab.exchange_all();
  lab.store(1).remove_checks("rows");
  EntrySet waiting = lab.core(1).sides();
  if (!waiting.empty()) Applier(lab.core(1)).reconcile(waiting);
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "k=newer,u1") << i;
}

// Symptom: of a row that two had made and this database refuses, the list of what waits showed only what one of them
// had written; what the other had, and was refused as well, was nowhere to be seen. Mend: it shows the row that was
// refused.
TEST(Holes, H7_WhatWaitsShowsTheRowThatWasRefused) {
  Lab lab(2);
  lab.insert(0, "rows", row("k", "1", "u1"));
  lab.pass(10);
  lab.insert(1, "rows", row("k", "2", "u2"));
  lab.pass(10);
  lab.update(0, "rows", row("k", "refused", "u1"));
  lab.store(1).add_check("rows", "none", [](RowView row) { return row[1].text != "refused"; });
  lab.exchange_all(2);
  std::vector<SideRow> waiting = lab.store(1).load_side();
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].kind, "quarantined");
  EXPECT_NE(waiting[0].payload.find("refused"), std::string::npos) << waiting[0].payload;
  EXPECT_NE(waiting[0].payload.find("u2"), std::string::npos) << waiting[0].payload;
}

// An update gives up a UNIQUE value, and is refused on node 1; another row takes the value.
class GivesWay : public ::testing::Test {
 protected:
  void SetUp() override {
    lab.insert(0, "rows", row("gives", "1", "u1"));
    lab.insert(0, "rows", row("takes", "1", "u2"));
    lab.exchange_all();
    lab.store(1).add_check("rows", "none", [](RowView row) { return row[1].text != "refused"; });
    lab.update(0, "rows", row("gives", "refused"));
  }
  void take_value() {
    lab.update(0, "rows", row("takes", "1", "u1"));
    lab.exchange_all(2);
    EXPECT_EQ(lab.rows(1), "takes=1,u1");
    std::vector<SideRow> waiting = lab.store(1).load_side();
    ASSERT_EQ(waiting.size(), 1u);
    EXPECT_EQ(waiting[0].kind, "quarantined");
    lab.store(1).remove_checks("rows");
    Applier(lab.core(1)).reconcile(lab.core(1).sides());
    lab.exchange_all();
    for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "gives=refused,- takes=1,u1") << i;
  }
  Lab lab{2};
};

// Symptom: a row was missing on one node, also when nothing refused it any more. Mechanism: its update, which gave up a
// UNIQUE value, was refused there; another row took the value in the same document, so the older image was in its way,
// and the row was made one that had lost the value, which is not tried again. Mend: Applier::give_way.
TEST_F(GivesWay, H7_WhatIsRefusedGivesWayToWhoTookItsValue) { take_value(); }

// Symptom: a row that nothing refused was missing where another one's update was refused. Mechanism: it took a UNIQUE
// value which the refused update gave up, and the older image still had. Mend: Applier::give_way.
TEST_F(GivesWay, H7_WhatWasRefusedBeforeGivesWayAsWell) {
  lab.exchange_all(2);
  ASSERT_EQ(lab.rows(1), "gives=1,u1 takes=1,u2");
  take_value();
}

// What waits is given up by hand: the row that is here becomes a new change, or the nodes differ for ever.
TEST(Holes, H7_WhatIsDiscardedIsGivenUpEverywhere) {
  Lab lab(2);
  lab.insert(0, "rows", row("edited", "1"));
  lab.exchange_all();
  lab.store(1).add_check("rows", "none", [](RowView row) { return row[1].text != "refused"; });
  lab.update(0, "rows", row("edited", "refused"));
  lab.insert(0, "rows", row("new", "refused"));
  lab.exchange_all(2);
  ASSERT_EQ(lab.rows(1), "edited=1,-");
  lab.pass(1000);
  EntrySet waiting = lab.core(1).sides();
  ASSERT_EQ(waiting.size(), 2u);
  Applier applier(lab.core(1));
  applier.reconcile({}, [&] {
    for (Entry* entry : waiting) applier.discard(*entry);
  });
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "edited=1,-") << i;
}

// A document ends at the snapshot that read its rows: a transaction between the two would be seen in half.
TEST(Holes, H9_ADocumentEndsAtTheSnapshotThatReadItsRows) {
  NodePair pair;
  pair.add_server(0, 1, "secret");
  pair.add_server(1, 0, "secret");
  pair.start();
  pair.run_for(5000);
  pair.write(0, "k1", "0");
  pair.write(0, "k2", "0");
  pair.run_for(5000);
  int number = 0;
  bool inside = false;
  pair.stores[0]->on_point = [&](Point point) {
    if (point != Point::at_begin || inside || number >= 200) return;
    inside = true;
    std::string value = std::to_string(++number);
    try {
      pair.stores[0]->begin_local();
      for (const char* code : {"k1", "k2"}) {
        Row key = {text(code)}, changed = {text(code), text(value.c_str())};
        if (std::string(code) == "k1" || number % 2 == 0) pair.stores[0]->update("items", key, changed);
      }
      pair.stores[0]->commit_local();
    } catch (const Error&) {
      pair.stores[0]->abort_local();
    }
    inside = false;
  };
  std::set<std::string> seen;
  for (int step = 0; step < 600; step++) {
    pair.run_for(10);
    auto& rows = pair.stores[1]->rows("items");
    std::string shown;
    for (auto& [key, row] : rows) shown += (shown.empty() ? "" : " ") + std::string(row.values[1].text);
    seen.insert(shown);
  }
  // Odd transactions change k1, even ones both: k2 is k1, or the number before.
  for (const std::string& shown : seen) {
    int k1 = std::stoi(shown), k2 = std::stoi(shown.substr(shown.find(' ')));
    EXPECT_EQ(k2, k1 - k1 % 2) << shown;
  }
  EXPECT_GT(seen.size(), 3u);
}

// C hands on what A and B did: B's child goes with A's parent, in one document.
TEST(Holes, H10_ADocumentBringsAllOrigins) {
  Lab lab(4);
  lab.insert(0, "parent", parent(1, "of A"));
  lab.ship(0, 1);
  lab.insert(1, "child", child("c", 1));
  lab.ship(1, 2);
  lab.deliver(lab.make(2, 3), 3);
  EXPECT_EQ(lab.LooseNodes::rows(3, "parent"), "1=of A");
  EXPECT_EQ(lab.LooseNodes::rows(3, "child"), "c=1");
}

// A backup wrote on past the position at which it was taken: its numbers are those of the history that others know.
TEST(Holes, H11_PositionsOfAnotherHistoryAreRefused) {
  Lab before(2), after(2, 7);
  before.insert(0, "rows", row("x", "1"));
  before.ship(0, 1);
  for (const char* code : {"y", "z"}) after.insert(0, "rows", row(code, "1")), after.settle(0);
  LooseNodes::Document other = after.make(0, 1);
  while (after.applied(0)[after.origin(0)].number > before.applied(1)[before.origin(0)].number) {
    before.insert(0, "rows", row(std::to_string(before.applied(0)[before.origin(0)].number).c_str(), "1"));
    before.ship(0, 1);
  }
  Vector reached = before.applied(1);
  ASSERT_EQ(reached[before.origin(0)].number, after.applied(0)[after.origin(0)].number);
  EXPECT_EQ(before.deliver(other, 1), Taken::history);
  EXPECT_EQ(before.deliver(after.make_since(0, after.applied(0)), 1), Taken::history);
}

// Symptom: a row that waited for its turn was gone for good. Mechanism: another one was inserted under its key and
// removed before the log was read, by somebody who had not seen the one that waited. Mend: bury_shown.
TEST(Holes, H6_WhatIsInsertedAndRemovedTakesNoWaitingRowWithIt) {
  Lab lab(2);
  lab.insert(1, "rows", row("other", "1", "u"));
  lab.pass(10);
  lab.insert(0, "rows", row("waits", "1", "u"));
  lab.exchange_all();
  ASSERT_EQ(lab.rows(1), "other=1,u");
  lab.insert(1, "rows", row("waits", "mine"));
  lab.remove(1, "rows", key("waits"));
  lab.exchange_all();
  lab.pass(10);
  lab.remove(1, "rows", key("other"));
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "waits=1,u") << i;
}

// A clock far ahead is refused, and what is refused is not adopted.
TEST(Holes, H13_AClockThatIsRefusedIsNotAdopted) {
  Lab lab(2);
  lab.skew(0, 3'600'000);
  lab.insert(0, "rows", row("k", "an hour ahead"));
  EXPECT_EQ(lab.deliver(lab.make(0, 1), 1), Taken::clock);
  EXPECT_EQ(lab.rows(1), "");
  EXPECT_LT(hlc_to_ms(lab.store(1).clock().now()), lab.now_ms() + 60'000);
}

// A put brings the row as it stands with all versions that have not settled, also of columns that others changed: what
// the receiver shows is what the sender showed.
TEST(Holes, H16a_APutIsAWholeState) {
  Lab lab(3);
  lab.insert(0, "rows", row("k", "1"));
  lab.exchange_all();
  lab.update(0, "rows", row("k", "changed at A"));
  lab.ship(0, 1);
  lab.pass(10);
  lab.update(1, "rows", row("k", "changed at A", "changed at B"));
  lab.settle(1);
  lab.deliver(lab.make_since(1, lab.applied(2), lab.origin(1)), 2);
  EXPECT_EQ(lab.rows(2), lab.rows(1));
}

// Each column goes with the version of its own: not with that of the newest column, which would beat what others wrote
// in between.
TEST(Holes, H16b_AColumnBearsItsOwnVersion) {
  Lab lab(3);
  lab.insert(0, "rows", row("k", "1"));
  lab.exchange_all();
  lab.update(0, "rows", row("k", "first"));
  lab.settle(0);
  lab.pass(10);
  lab.update(1, "rows", row("k", "second"));
  lab.settle(1);
  lab.pass(10);
  lab.update(0, "rows", row("k", "first", "later"));
  lab.settle(0);
  lab.exchange_all();
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(lab.rows(i), "k=second,later") << i;
}

// Nobody sees that a key is taken by a hidden row: an insert over it is a second life of the key. Nothing vanishes
// unlisted.
TEST(Holes, H16e_AnInsertOverAHiddenRow) {
  Lab lab(2);
  lab.insert(0, "rows", row("r1", "1", "X"));
  lab.pass(10);
  lab.insert(1, "rows", row("r2", "hidden", "X"));
  lab.settle(1);
  lab.exchange_all(2);
  EXPECT_EQ(lab.rows(0), "r1=1,X");
  lab.pass(10);
  lab.insert(0, "rows", row("r2", "over it", "Y"));
  lab.settle(0);
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) EXPECT_EQ(lab.rows(i), "r1=1,X r2=over it,Y") << i;
  EXPECT_TRUE(lab.listed("hidden"));
}

// A document that begins behind what the receiver has would leave a hole.
TEST(Holes, H16g_AGapIsRefused) {
  Lab lab(2);
  lab.insert(0, "rows", row("k", "1"));
  lab.settle(0);
  Vector after_k = lab.applied(0);
  lab.insert(0, "rows", row("l", "1"));
  EXPECT_EQ(lab.deliver(lab.make_since(0, after_k), 1), Taken::gap);
  lab.ship(0, 1);
  EXPECT_EQ(lab.rows(1), "k=1,- l=1,-");
}

}  // namespace
}  // namespace rowmesh::testing
