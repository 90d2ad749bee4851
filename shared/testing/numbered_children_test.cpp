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

class NumberedChildren : public ::testing::TestWithParam<bool> {
 protected:
  void expect(const char* parents, const char* children) {
    lab.exchange_all();
    for (std::size_t i = 0; i < lab.size(); i++) {
      EXPECT_EQ(lab.rows(i, "parent"), parents) << i;
      EXPECT_EQ(lab.rows(i, "child"), children) << i;
    }
  }
  LooseNodes lab{3, [](MemoryStore& store) { create_numbered(store, GetParam()); }};
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
  lab.ship(0, 1);
  lab.settle(1);
  lab.pass(10);
  lab.ship(2, 1);
  expect("1=0,older 2=0,younger", "1=7,of nobody 2=2,of the younger");
}

TEST_P(NumberedChildren, AChildThatMovesAfterItsParentStaysItsChild) {
  lab.insert(0, "parent", numbered(1, 0, "older"));
  lab.pass(10);
  lab.insert(2, "child", numbered(1, 7, "of nobody"));
  lab.pass(10);
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 1, "of the younger"));
  lab.ship(0, 1);
  lab.settle(1);
  lab.pass(10);
  lab.ship(2, 1);
  expect("1=0,older 2=0,younger", "1=7,of nobody 2=2,of the younger");
}

// The third wrote the reference of the younger's child, and hears of both moves at once.
TEST_P(NumberedChildren, WhoWroteTheReferenceOfAChildThatMovesTakesItAlong) {
  lab.insert(0, "parent", numbered(1, 0, "older"));
  lab.insert(0, "child", numbered(1, 1, "of the older"));
  lab.pass(10);
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 7, "of the younger"));
  lab.ship(1, 2);
  lab.pass(10);
  lab.update(2, "child", numbered(1, 1, "of the younger"));
  lab.ship(0, 1);
  lab.settle(1);
  lab.pass(10);
  lab.ship(1, 2);
  expect("1=0,older 2=0,younger", "1=1,of the older 2=2,of the younger");
}

// And whoever moves them had heard of that.
TEST_P(NumberedChildren, AReferenceThatTheMoverKnewFollowsItsWritersMeaning) {
  lab.insert(0, "parent", numbered(1, 0, "older"));
  lab.insert(0, "child", numbered(1, 1, "of the older"));
  lab.pass(10);
  lab.insert(1, "parent", numbered(1, 0, "younger"));
  lab.insert(1, "child", numbered(1, 7, "of the younger"));
  lab.ship(1, 2);
  lab.pass(10);
  lab.update(2, "child", numbered(1, 1, "of the younger"));
  lab.ship(2, 1);
  lab.pass(10);
  lab.ship(0, 1);
  lab.settle(1);
  lab.pass(10);
  lab.ship(1, 2);
  expect("1=0,older 2=0,younger", "1=1,of the older 2=2,of the younger");
}

TEST_P(NumberedChildren, ATableThatRefersToItselfKeepsItsTree) {
  for (std::size_t i : {0, 1}) {
    lab.insert(i, "parent", numbered(1, 1, i == 0 ? "older" : "younger"));
    lab.insert(i, "parent", numbered(2, 1, i == 0 ? "below the older" : "below the younger"));
    lab.pass(10);
  }
  expect("1=1,older 2=1,below the older 3=3,younger 4=3,below the younger", "");
}

}  // namespace
}  // namespace rowmesh::testing
