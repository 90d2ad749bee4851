// Two moves of one row: by a server that is gone for good, which some had heard of, and by its heir, which had not
// (Applier::join_moved_twice). With everything else breaking as well: rowmesh_sim --with backup, --with leave.
#include <gtest/gtest.h>

#include "shared/testing/family.hpp"
#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

// `gone` gave its younger row the number 2, of which `knows` has heard. The heir has it under number 1, with an older
// one, and gives it the next number.
class MovedTwice : public ::testing::Test {
 protected:
  static constexpr std::size_t heir = 0, gone = 1, knows = 2, third = 3;
  void begin() {
    lab.insert(heir, "parent", parent(1, "older"));
    lab.pass(10);
    lab.insert(gone, "parent", parent(1, "younger"));
    before = lab.make_unsettled(gone, lab.applied(heir));
    lab.ship(heir, gone);
    lab.settle(gone);
    lab.ship(gone, knows);
    ASSERT_EQ(lab.rows(knows, "parent"), "1=older 2=younger");
    for (std::size_t i : {heir, knows, third}) lab.take_out(i, gone);
  }
  void heir_moves_it() {
    lab.pass(10);
    ASSERT_EQ(lab.deliver(before, heir), Taken::applied);
    lab.settle(heir);
  }
  void expect(const char* parents, const char* children = "") {
    lab.exchange({{heir, knows}, {knows, third}, {heir, third}});
    for (std::size_t i : {heir, knows, third}) {
      EXPECT_EQ(lab.rows(i, "parent"), parents) << i;
      EXPECT_EQ(lab.rows(i, "child"), children) << i;
      EXPECT_EQ(lab.side(i), "") << i;
    }
  }
  LooseNodes lab{4, create_family};
  LooseNodes::Document before;
};

TEST_F(MovedTwice, EndsInOneRow) {
  begin();
  lab.insert(heir, "parent", parent(2, "another"));
  heir_moves_it();
  ASSERT_EQ(lab.rows(heir, "parent"), "1=older 2=another 3=younger");
  expect("1=older 2=another 3=younger");
}

TEST_F(MovedTwice, EndsInOneRowWhereBothTookOneNumber) {
  begin();
  heir_moves_it();
  ASSERT_EQ(lab.rows(heir, "parent"), "1=older 2=younger");
  expect("1=older 2=younger");
}

// What was written under the number that it leaves goes along: an edit, a delete, a reference.
TEST_F(MovedTwice, TakesAlongWhatWasWrittenUnderTheOtherNumber) {
  begin();
  lab.insert(heir, "parent", parent(2, "another"));
  heir_moves_it();
  lab.update(knows, "parent", parent(2, "younger, edited"));
  lab.insert(knows, "child", child("c", 2));
  expect("1=older 2=another 3=younger, edited", "c=3");
}

TEST_F(MovedTwice, IsGoneIfItWasDeletedUnderTheOtherNumber) {
  begin();
  lab.insert(heir, "parent", parent(2, "another"));
  heir_moves_it();
  lab.remove(knows, "parent", {Value::of_integer(2)});
  expect("1=older 2=another");
}

// One hears of the one move, writes to the row, and hears of the other.
TEST_F(MovedTwice, EndsInOneRowWhereTheFirstMoveWasHeardOfFirst) {
  begin();
  lab.insert(heir, "parent", parent(2, "another"));
  heir_moves_it();
  lab.ship(knows, third);
  lab.update(third, "parent", parent(2, "edited"));
  lab.settle(third);
  lab.ship(heir, third);
  expect("1=older 2=another 3=edited");
}

TEST_F(MovedTwice, EndsInOneRowWhereTheSecondMoveWasHeardOfFirst) {
  begin();
  lab.insert(heir, "parent", parent(2, "another"));
  heir_moves_it();
  lab.ship(heir, third);
  lab.update(third, "parent", parent(3, "edited"));
  lab.settle(third);
  lab.ship(knows, third);
  expect("1=older 2=another 3=edited");
}

}  // namespace
}  // namespace rowmesh::testing
