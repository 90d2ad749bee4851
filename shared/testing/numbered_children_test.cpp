// Rows with numbers that refer to rows with numbers: the numbers of both collide, or those of one table that refers to
// itself. What a reference means goes along with either (docs/model.md, "Two rows under one integer key").
#include <gtest/gtest.h>

#include "shared/testing/family.hpp"
#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

Row numbered(std::int64_t id, std::int64_t parent, const char* a) {
  return {Value::of_integer(id), Value::of_integer(parent), Value::of_text(a)};
}

// `order`: which table is made first, for tables are looked at in that order.
void create_numbered(MemoryStore& store, bool child_first) {
  Table parent;
  parent.wire_name = "parent";
  parent.columns = {{"id", ColumnType::integer, "integer", true, false},
                    {"boss", ColumnType::integer, "integer", false, false},
                    {"a", ColumnType::text, "text", false, false}};
  parent.key = {0};
  parent.integer_key = true;
  Table child = parent;
  child.wire_name = "child";
  child.columns[1].name = "parent";
  if (child_first) store.create_table(child);
  TableId id = store.create_table(parent).id;
  store.alter_table("parent", [&](Table& table) { table.references = {{1, id}}; });
  if (!child_first) store.create_table(child);
  store.alter_table("child", [&](Table& table) { table.references = {{1, id}}; });
}

// `line.parent` names a parent, and is part of the key.
void create_lines(MemoryStore& store) {
  create_family(store);
  Table line;
  line.wire_name = "line";
  line.columns = {{"parent", ColumnType::integer, "integer", true, false},
                  {"number", ColumnType::integer, "integer", true, false},
                  {"a", ColumnType::text, "text", false, false}};
  line.key = {0, 1};
  line.references = {{0, store.table("parent").id}};
  store.create_table(line);
}

class NumberedChildren : public ::testing::TestWithParam<bool> {
 protected:
  void expect(const char* parents, const char* children) {
    lab.exchange_all();
    for (std::size_t i = 0; i < lab.size(); i++) {
      EXPECT_EQ(lab.rows(i, "parent"), parents) << i;
      EXPECT_EQ(lab.rows(i, "child"), children) << i;
    }
  }
  explicit NumberedChildren(MergePolicy policy = MergePolicy::column)
      : lab(3, [policy](MemoryStore& store) {
          create_numbered(store, GetParam());
          store.alter_table("child", [&](Table& table) { table.merge = policy; });
        }) {}
  // The second, which made the younger rows, hears of another's, and moves its own.
  void hears_and_moves(std::size_t other) {
    lab.ship(other, 1);
    lab.settle(1);
    lab.pass(10);
  }
  // The second's child comes to refer to its parent by what the third writes, who knows no other.
  void the_third_gives_a_child_of_the_second_its_parent() {
    lab.insert(0, "parent", numbered(1, 0, "older"));
    lab.insert(0, "child", numbered(1, 7, "of nobody"));
    lab.pass(10);
    lab.insert(1, "child", numbered(1, 7, "of the younger"));
    lab.insert(2, "parent", numbered(1, 0, "younger"));
    lab.ship(1, 2);
    lab.pass(10);
    lab.update(2, "child", numbered(1, 1, "of the younger"));
    lab.ship(2, 1);
  }
  void the_third_refers_to_the_younger() {
    lab.insert(0, "parent", numbered(1, 0, "older"));
    lab.insert(0, "child", numbered(1, 1, "of the older"));
    lab.pass(10);
    lab.insert(1, "parent", numbered(1, 0, "younger"));
    lab.insert(1, "child", numbered(1, 7, "of the younger"));
    lab.ship(1, 2);
    lab.pass(10);
    lab.update(2, "child", numbered(1, 1, "of the younger"));
  }
  LooseNodes lab;
};

INSTANTIATE_TEST_SUITE_P(Tables, NumberedChildren, ::testing::Bool(),
                         [](const auto& chosen) { return chosen.param ? "ChildrenMadeFirst" : "ParentsMadeFirst"; });

TEST_P(NumberedChildren, AChildThatMovesWithItsParentStaysItsChild) {
  for (std::size_t i : {0, 1}) {
    lab.insert(i, "parent", numbered(1, 0, i == 0 ? "older" : "younger"));
    lab.insert(i, "child", numbered(1, 1, i == 0 ? "of the older" : "of the younger"));
    lab.pass(10);
  }
  expect("1=0,older 2=0,younger", "1=1,of the older 2=2,of the younger");
}

TEST_P(NumberedChildren, AChildThatMovedBeforeItsParentStaysItsChild) {
  lab.insert(0, "child", numbered(1, 7, "of nobody"));
  lab.pass(10);
  lab.insert(2, "parent", numbered(1, 0, "older"));
  lab.pass(10);
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 1, "of the younger"));
  hears_and_moves(0);
  lab.ship(2, 1);
  expect("1=0,older 2=0,younger", "1=7,of nobody 2=2,of the younger");
}

// Applier::may_give_way.
TEST_P(NumberedChildren, AChildThatSomebodyElseMovedBeforeItsParentGaveWayStaysItsChild) {
  the_third_gives_a_child_of_the_second_its_parent();
  hears_and_moves(0);
  lab.deliver(lab.make_since(1, lab.applied(2), lab.origin(1)), 2);
  EXPECT_EQ(lab.rows(2, "parent"), "1=0,younger") << "it has not heard of the older one";
  expect("1=0,older 2=0,younger", "1=7,of nobody 2=2,of the younger");
}

// Symptom and mechanism as there; but the child had to move on, and its mover, who had not heard of what was meant,
// wrote the reference once more itself. Mend: it is its writer who does (Applier::carry).
TEST_P(NumberedChildren, AChildThatSomebodyElseMovedTwiceStaysItsChild) {
  the_third_gives_a_child_of_the_second_its_parent();
  lab.insert(2, "child", numbered(2, 7, "another"));
  lab.pass(10);
  hears_and_moves(0);
  hears_and_moves(2);
  expect("1=0,older 2=0,younger", "1=7,of nobody 2=7,another 3=2,of the younger");
}

TEST_P(NumberedChildren, AChildThatMovesAfterItsParentStaysItsChild) {
  lab.insert(0, "parent", numbered(1, 0, "older"));
  lab.pass(10);
  lab.insert(2, "child", numbered(1, 7, "of nobody"));
  lab.pass(10);
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 1, "of the younger"));
  hears_and_moves(0);
  lab.ship(2, 1);
  expect("1=0,older 2=0,younger", "1=7,of nobody 2=2,of the younger");
}

// The third wrote the reference of the younger's child, and hears of both moves at once.
TEST_P(NumberedChildren, WhoWroteTheReferenceOfAChildThatMovesTakesItAlong) {
  the_third_refers_to_the_younger();
  hears_and_moves(0);
  lab.ship(1, 2);
  expect("1=0,older 2=0,younger", "1=1,of the older 2=2,of the younger");
}

// And whoever moves them had heard of that.
TEST_P(NumberedChildren, AReferenceThatTheMoverKnewFollowsItsWritersMeaning) {
  the_third_refers_to_the_younger();
  lab.ship(2, 1);
  lab.pass(10);
  hears_and_moves(0);
  lab.ship(1, 2);
  expect("1=0,older 2=0,younger", "1=1,of the older 2=2,of the younger");
}

// The heir hears that the third is gone from a document that names its child, and not its parent.
TEST_P(NumberedChildren, AnHeirAsksWhatAChildOfTheGoneOneMeansBeforeItMovesIt) {
  lab.insert(1, "parent", numbered(1, 0, "older"));
  lab.insert(1, "child", numbered(1, 1, "of the older"));
  lab.pass(10);
  lab.insert(2, "parent", numbered(1, 0, "younger"));
  lab.insert(2, "child", numbered(1, 1, "of the younger"));
  lab.ship(2, 0);
  lab.ship(1, 0);
  lab.pass(10);
  lab.update(1, "child", numbered(1, 1, "of the older, edited"));
  for (std::size_t i : {0, 1}) lab.take_out(i, 2);
  lab.ship(1, 0);
  lab.core(0).window.for_each(lab.store(0).table("parent").id,
                              [&](Entry& entry) { lab.core(0).unreconciled.insert(&entry); });
  lab.settle(0);
  lab.exchange({{0, 1}, {1, 0}});
  for (std::size_t i : {0, 1}) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=0,older 2=0,younger") << i;
    EXPECT_EQ(lab.rows(i, "child"), "1=1,of the older, edited 2=2,of the younger") << i;
  }
}

// The later edit of a row counts as a whole: the other's edit of `a` makes its reference his, where another row has
// that number. He has seen it, and leaves it as it is.
class WholeRows : public NumberedChildren {
 protected:
  WholeRows() : NumberedChildren(MergePolicy::row) {
    lab.insert(0, "parent", numbered(1, 0, "older"));
    lab.pass(10);
  }
};

INSTANTIATE_TEST_SUITE_P(Tables, WholeRows, ::testing::Bool(),
                         [](const auto& chosen) { return chosen.param ? "ChildrenMadeFirst" : "ParentsMadeFirst"; });

TEST_P(WholeRows, WhoEditsAnotherColumnLeavesTheReferenceItsMeaning) {
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 1, "of the younger"));
  lab.exchange({{1, 2}, {2, 1}});
  lab.ship(1, 0);
  lab.pass(10);
  lab.update(0, "child", numbered(1, 1, "of the younger, edited"));
  expect("1=0,older 2=0,younger", "1=2,of the younger, edited");
}

TEST_P(WholeRows, ItsWritersOwnEditLeavesItItsMeaningToo) {
  lab.insert(2, "parent", numbered(1, 0, "younger"));
  lab.ship(2, 1);
  lab.pass(10);
  lab.insert(1, "child", numbered(1, 1, "of the younger"));
  lab.ship(0, 1);
  lab.pass(10);
  lab.update(1, "child", numbered(1, 1, "of the younger, edited"));
  expect("1=0,older 2=0,younger", "1=2,of the younger, edited");
}

// Core::leave_meaning.
TEST_P(WholeRows, WhoEditsAnotherColumnDoesNotTakeTheReferenceAlong) {
  lab.ship(0, 1);
  lab.insert(1, "child", numbered(1, 1, "of the older"));
  lab.insert(2, "parent", numbered(1, 0, "younger"));
  lab.deliver(lab.make_since(1, lab.applied(2), lab.origin(1)), 2);
  lab.pass(10);
  lab.update(2, "child", numbered(1, 1, "of the older, edited"));
  EXPECT_EQ(lab.rows(2, "parent"), "1=0,younger") << "it has not heard of the older one";
  expect("1=0,older 2=0,younger", "1=1,of the older, edited");
}

// Symptom: a reference named another row than its writer meant. Mechanism: who edited its row had forgotten the birth
// of that, so its writer did not find the row that it knew by its birth (Applier::keep_meant).
TEST_P(WholeRows, WhoEditsARowThatHasSettledThereLeavesTheReferenceItsMeaning) {
  lab.insert(2, "child", numbered(1, 7, "of nobody"));
  for (auto [from, to] : {std::pair{2, 0}, {2, 1}, {0, 1}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {0, 2}}) {
    lab.pass(10);
    lab.ship(static_cast<std::size_t>(from), static_cast<std::size_t>(to));
  }
  lab.forget(0);
  ASSERT_EQ(lab.core(0).window.size(), 0u);
  ASSERT_GT(lab.core(1).window.size(), 0u) << "not settled there";
  lab.insert(0, "parent", numbered(2, 0, "another older"));
  lab.pass(10);
  lab.insert(1, "parent", numbered(2, 0, "younger"));
  lab.update(1, "child", numbered(1, 2, "of the younger"));
  lab.ship(1, 0);
  lab.pass(10);
  lab.update(0, "child", numbered(1, 2, "of the younger, edited"));
  expect("1=0,older 2=0,another older 3=0,younger", "1=3,of the younger, edited");
}

// fold_update.
TEST_P(WholeRows, AReferenceThatIsWrittenBehindAnotherColumnInOneTransactionIsItsWriters) {
  lab.insert(2, "child", numbered(1, 7, "of nobody"));
  lab.ship(2, 1);
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.write(1, [](MemoryStore& store) {
    store.update("child", Row{Value::of_integer(1)}, numbered(1, 7, "of the younger"));
    store.update("child", Row{Value::of_integer(1)}, numbered(1, 1, "of the younger"));
  });
  expect("1=0,older 2=0,younger", "1=2,of the younger");
}

TEST_P(WholeRows, AReferenceThatIsWrittenAnewMeansWhatStandsThere) {
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 7, "of nobody"));
  lab.ship(1, 0);
  lab.pass(10);
  lab.update(0, "child", numbered(1, 1, "of the older"));
  expect("1=0,older 2=0,younger", "1=1,of the older");
}

TEST_P(NumberedChildren, ATableThatRefersToItselfKeepsItsTree) {
  for (std::size_t i : {0, 1}) {
    lab.insert(i, "parent", numbered(1, 1, i == 0 ? "older" : "younger"));
    lab.insert(i, "parent", numbered(2, 1, i == 0 ? "below the older" : "below the younger"));
    lab.pass(10);
  }
  expect("1=1,older 2=1,below the older 3=3,younger 4=3,below the younger", "");
}

// Lines of two orders under one number: each goes with its own.
TEST(KeyedChildren, LinesGoWithTheirOrder) {
  for (bool apart : {true, false}) {
    LooseNodes lab(3, create_lines);
    for (std::size_t i : {0, 1}) {
      lab.insert(i, "parent", parent(1, i == 0 ? "older" : "younger"));
      lab.insert(i, "line", numbered(1, 1, i == 0 ? "older 1" : "younger 1"));
      if (i == 1) lab.insert(i, "line", numbered(1, 2, "younger 2"));
      lab.pass(10);
    }
    if (apart) lab.ship(1, 2);  // it has one order, and hears of the other and of the move at once
    lab.exchange_all();
    for (std::size_t i = 0; i < lab.size(); i++) {
      EXPECT_EQ(lab.rows(i, "parent"), "1=older 2=younger") << i;
      EXPECT_EQ(lab.rows(i, "line"), "1, 1=older 1 2, 1=younger 1 2, 2=younger 2") << i;
    }
  }
}

// A profile whose number is its person's.
TEST(KeyedChildren, AProfileGoesWithItsPersonWhereRowsUnderOneNumberAreOne) {
  LooseNodes lab(3, [](MemoryStore& store) {
    create_family(store);
    Table profile = store.table("parent");
    profile.wire_name = "profile";
    profile.on_key_collision = KeyCollision::merge;
    profile.references = {{0, profile.id}};
    store.create_table(profile);
  });
  for (std::size_t i : {0, 1}) {
    lab.insert(i, "parent", parent(1, i == 0 ? "older" : "younger"));
    lab.insert(i, "profile", parent(1, i == 0 ? "of the older" : "of the younger"));
    lab.pass(10);
  }
  lab.exchange_all();
  for (std::size_t i = 0; i < lab.size(); i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=older 2=younger") << i;
    EXPECT_EQ(lab.rows(i, "profile"), "1=of the older 2=of the younger") << i;
  }
}

// And those that somebody else added to an order, before he heard that it had moved.
TEST(KeyedChildren, WhoAddedALineTakesItAlong) {
  LooseNodes lab(3, create_lines);
  lab.insert(0, "parent", parent(1, "older"));
  lab.pass(10);
  lab.insert(1, "parent", parent(1, "younger"));
  lab.insert(1, "line", numbered(1, 1, "its own"));
  lab.ship(1, 2);
  lab.pass(10);
  lab.insert(2, "line", numbered(1, 2, "added"));
  lab.exchange_all();
  for (std::size_t i = 0; i < lab.size(); i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=older 2=younger") << i;
    EXPECT_EQ(lab.rows(i, "line"), "2, 1=its own 2, 2=added") << i;
  }
}

// Symptom: a line ended under another order. Mechanism: its order had moved to a number that was taken as well, and
// moved on; the line was made anew under the first of the two, and what it meant was not noted. Mend: it is noted
// there.
TEST(KeyedChildren, ALineFollowsAnOrderThatMovesTwice) {
  LooseNodes lab(4, create_lines);
  lab.insert(0, "parent", parent(1, "oldest"));
  lab.pass(10);
  lab.insert(3, "parent", parent(2, "older"));
  lab.pass(10);
  lab.insert(1, "parent", parent(1, "younger"));
  lab.ship(1, 2);
  lab.pass(10);
  lab.insert(2, "line", numbered(1, 2, "added"));
  lab.ship(3, 2);
  lab.ship(0, 1);
  lab.settle(1);
  lab.pass(10);
  lab.ship(1, 2);
  lab.exchange_all();
  for (std::size_t i = 0; i < lab.size(); i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=oldest 2=older 3=younger") << i;
    EXPECT_EQ(lab.rows(i, "line"), "3, 2=added") << i;
  }
}

}  // namespace
}  // namespace rowmesh::testing
