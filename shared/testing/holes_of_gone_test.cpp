// What one that is gone for good had referred to, or written, where two rows are under one number (docs/model.md, H12):
// its heir takes that along. Whole nodes that leave: heirs_test.cpp.
#include <gtest/gtest.h>

#include "shared/testing/family.hpp"
#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

void expect_on(LooseNodes& lab, std::initializer_list<std::size_t> who_stay, const char* parents,
               const char* children) {
  for (std::size_t i : who_stay) {
    EXPECT_EQ(lab.rows(i, "parent"), parents) << i;
    EXPECT_EQ(lab.rows(i, "child"), children) << i;
    EXPECT_FALSE(lab.core(i).window.unsettled()) << i;
  }
}

// Applier::life_seen. The third inserts a row under the number at which another one waits, of which it does not hear
// any more that it has moved; it refers to its own, ships that, and is gone.
TEST(Holes, H12b_WhatTheGoneOneHadInsertedIsWhatItMeant) {
  constexpr std::size_t heir = 0, oldest = 1, gone = 2;
  LooseNodes lab(3, create_family);
  lab.insert(oldest, "parent", parent(1, "oldest"));
  lab.pass(10);
  lab.insert(heir, "parent", parent(1, "waits"));
  lab.ship(oldest, gone), lab.ship(heir, gone), lab.ship(oldest, heir);
  lab.settle(heir);
  ASSERT_EQ(lab.rows(heir, "parent"), "1=oldest 2=waits");
  lab.pass(10);
  lab.write(gone, [](MemoryStore& store) {
    store.remove("parent", Row{Value::of_integer(1)});
    store.insert("parent", parent(1, "inserted"));
    store.insert("child", child("c", 1));
  });
  lab.deliver(lab.make_unsettled(gone, lab.applied(oldest)), oldest);
  for (std::size_t i : {heir, oldest}) lab.take_out(i, gone);
  lab.ship(oldest, heir);
  lab.look_for_the_gone(heir);
  lab.exchange({{heir, oldest}});
  expect_on(lab, {heir, oldest}, "1=inserted 2=waits", "c=1");
}

// Symptom: a reference named another row than its writer meant, who was gone for good. Mechanism: its heir had a row of
// its own under that number, which gave way to an older one that the heir heard of only then; what referred to it there
// counted as meaning it, also what the gone one had written to the older one. Mend: of what the gone one wrote, only
// that which had seen no other row under the number (Applier::remember_meant).
TEST(Holes, H12b_WhatTheGoneOneReferredToIsNotWhatGivesWayHere) {
  constexpr std::size_t heir = 0, oldest = 1, gone = 2;
  LooseNodes lab(3, create_family);
  lab.insert(oldest, "parent", parent(1, "older"));
  lab.ship(oldest, gone);
  lab.pass(10);
  lab.insert(heir, "parent", parent(1, "younger"));
  lab.pass(10);
  lab.insert(gone, "child", child("c", 1));
  lab.deliver(lab.make_since(gone, lab.applied(heir), lab.origin(gone)), heir);
  ASSERT_EQ(lab.rows(heir, "child"), "c=1");
  for (std::size_t i : {heir, oldest}) lab.take_out(i, gone);
  lab.exchange({{heir, oldest}});
  expect_on(lab, {heir, oldest}, "1=older 2=younger", "c=1");
}

// Symptom: a reference named another row than its writer meant, who was gone for good. Mechanism: its heir had moved
// the row that it meant before it heard of the reference, from somebody else, and looks at references only when
// somebody is gone. Mend: and when they come (Applier::note_left_by_others).
TEST(Holes, H12b_WhatTheGoneOneReferredToMayComeAfterItsHeirHasMovedIt) {
  constexpr std::size_t heir = 0, oldest = 1, gone = 2;
  LooseNodes lab(3, create_family);
  lab.insert(oldest, "parent", parent(1, "older"));
  lab.pass(10);
  lab.insert(gone, "parent", parent(1, "younger"));
  lab.ship(gone, heir);
  lab.pass(10);
  lab.insert(gone, "child", child("c", 1));
  lab.ship(gone, oldest);
  for (std::size_t i : {heir, oldest}) lab.take_out(i, gone);
  lab.deliver(lab.make_since(oldest, lab.applied(heir), lab.origin(oldest)), heir);
  lab.settle(heir);
  ASSERT_EQ(lab.rows(heir, "parent"), "1=older 2=younger");
  ASSERT_EQ(lab.rows(heir, "child"), "");
  lab.exchange({{heir, oldest}});
  for (std::size_t i : {heir, oldest}) EXPECT_EQ(lab.rows(i, "child"), "c=2") << i;
}

// Core::notes_wait. Who made the younger row is gone, and its heir moves it only after everybody has confirmed all.
TEST(Holes, H12b_ANoteIsKeptUntilAnHeirHasMovedTheRow) {
  constexpr std::size_t heir = 0, oldest = 1, writer = 2, gone = 3;
  LooseNodes lab(4, create_family);
  lab.core(writer).most_rows = 1000;
  lab.insert(oldest, "parent", parent(1, "older"));
  lab.pass(10);
  lab.insert(gone, "parent", parent(1, "younger"));
  lab.ship(gone, writer);
  lab.pass(10);
  lab.insert(writer, "child", child("c", 1));
  lab.ship(oldest, writer);
  lab.exchange({{heir, oldest}, {heir, writer}, {oldest, writer}});
  // As a node hears of it from others, before it looks at what it has to do then (Node::Impl::judge_members).
  for (std::size_t i : {heir, oldest, writer}) lab.take_out(i, gone);
  lab.pass(10);
  for (std::size_t i : {heir, oldest}) lab.deliver(lab.make_unsettled(i, lab.applied(writer)), writer);
  lab.settle(writer);
  lab.forget(writer);
  ASSERT_EQ(lab.rows(heir, "parent"), "1=older");
  Core& core = lab.core(heir);
  core.unreconciled.insert(core.window.find(lab.store(heir).table("parent").id, encode_key(Row{Value::of_integer(1)})));
  lab.settle(heir);
  ASSERT_EQ(lab.rows(heir, "parent"), "1=older 2=younger");
  lab.exchange({{heir, oldest}, {heir, writer}, {oldest, writer}});
  for (std::size_t i : {heir, oldest, writer}) {
    EXPECT_EQ(lab.rows(i, "child"), "c=2") << i;
    EXPECT_FALSE(lab.core(i).window.unsettled()) << i;
  }
}

// A row refers to the younger of two rows under one number, and its writer hears of the older one only then; it is gone
// before either of them hears that the younger one has moved.
class GoneTooSoon : public LooseNodes {
 public:
  static constexpr std::size_t heir = 0, oldest = 1, mover = 2, gone = 3;
  GoneTooSoon() : LooseNodes(4, create_family) {
    insert(oldest, "parent", parent(1, "older"));
    pass(10);
    insert(mover, "parent", parent(1, "younger"));
    ship(mover, gone);
    pass(10);
    insert(gone, "child", child("c", 1));
    pass(10);
  }
  void hears() {
    ship(oldest, gone);
    settle(gone);
  }
  void leaves() {
    for (std::size_t i : {heir, oldest, mover}) take_out(i, gone);
    look_for_the_gone(heir);
    exchange({{heir, oldest}, {heir, mover}, {oldest, mover}});
    expect_on(*this, {heir, oldest, mover}, "1=older 2=younger", "c=2");
  }
};

// Applier::hear_meanings.
TEST(Holes, H12b_TheGoneOneHadSaidWhatItMeant) {
  GoneTooSoon lab;
  lab.hears();
  lab.ship(lab.gone, lab.heir);
  lab.leaves();
}

// Somebody else hands it on, after a restart.
TEST(Holes, H12b_WhatTheGoneOneHadSaidIsHandedOn) {
  GoneTooSoon lab;
  lab.hears();
  lab.ship(lab.gone, lab.oldest);
  lab.restart(lab.oldest);
  lab.ship(lab.oldest, lab.heir);
  lab.leaves();
}

// The reference had come before its writer heard of the older row, of which its heir hears from others (Applier::tell).
TEST(Holes, H12b_WhatTheGoneOneMeantIsSaidAlsoWhereTheReferenceWasBefore) {
  GoneTooSoon lab;
  lab.ship(lab.gone, lab.heir);
  auto older = lab.make(lab.oldest, lab.gone);
  lab.deliver(older, lab.heir);
  lab.deliver(older, lab.gone);
  lab.settle(lab.gone);
  lab.ship(lab.gone, lab.heir);
  lab.leaves();
}

// `parent.mark` must be unique; children have numbers, too.
void create_marked(MemoryStore& store) {
  create_family(store);
  store.alter_table("parent", [](Table& table) {
    table.columns.push_back({"mark", ColumnType::text, "text", false, false});
    table.uniques = {{"parent_mark", {2}}};
  });
  store.alter_table("child", [](Table& table) {
    table.columns = {{"id", ColumnType::integer, "integer", true, false},
                     {"parent", ColumnType::integer, "integer", false, false},
                     {"a", ColumnType::text, "text", false, false}};
    table.integer_key = true;
  });
}

Row marked(std::int64_t id, const char* a, const char* mark) {
  return Row{Value::of_integer(id), Value::of_text(a), Value::of_text(mark)};
}
Row child_of(std::int64_t id, std::int64_t parent, const char* a) {
  return Row{Value::of_integer(id), Value::of_integer(parent), Value::of_text(a)};
}

// The row that refers has got another number by then, at its writer.
TEST(Holes, H12b_TheGoneOneHadSaidWhatAChildMeantThatItMoved) {
  constexpr std::size_t heir = 0, oldest = 1, mover = 2, gone = 3;
  LooseNodes lab(4, create_marked);
  lab.insert(oldest, "parent", marked(1, "older", "red"));
  lab.insert(oldest, "child", child_of(1, 1, "of the older"));
  lab.pass(10);
  lab.insert(mover, "parent", marked(1, "younger", "blue"));
  lab.ship(mover, gone);
  lab.pass(10);
  lab.insert(gone, "child", child_of(1, 1, "of the younger"));
  lab.pass(10);
  lab.ship(oldest, gone);
  lab.settle(gone);
  ASSERT_EQ(lab.rows(gone, "child"), "1=1,of the older 2=1,of the younger");
  lab.ship(gone, heir);
  for (std::size_t i : {heir, oldest, mover}) lab.take_out(i, gone);
  lab.look_for_the_gone(heir);
  lab.exchange({{heir, oldest}, {heir, mover}, {oldest, mover}});
  expect_on(lab, {heir, oldest, mover}, "1=older,red 2=younger,blue", "1=1,of the older 2=2,of the younger");
}

// Applier::write_once_more. What it referred to from somebody else's row, which that one has moved since.
TEST(Holes, H12b_AnHeirWritesTheReferencesOfRowsThatMovedOnceMore) {
  constexpr std::size_t heir = 0, oldest = 1, mover = 2, gone = 3;
  LooseNodes lab(4, create_marked);
  lab.insert(oldest, "parent", marked(1, "older", "red"));
  lab.insert(oldest, "child", child_of(1, 1, "of the older"));
  lab.pass(10);
  lab.insert(gone, "parent", marked(1, "younger", "blue"));
  lab.insert(mover, "child", child_of(1, 9, "of the younger"));
  lab.ship(mover, gone);
  lab.pass(10);
  lab.update(gone, "child", child_of(1, 1, "of the younger"));
  lab.ship(gone, mover);
  lab.pass(10);
  lab.ship(oldest, mover);
  lab.settle(mover);
  ASSERT_EQ(lab.rows(mover, "child"), "1=1,of the older 2=1,of the younger");
  lab.ship(mover, heir);
  for (std::size_t i : {heir, oldest, mover}) lab.take_out(i, gone);
  lab.look_for_the_gone(heir);
  lab.exchange({{heir, oldest}, {heir, mover}, {oldest, mover}});
  expect_on(lab, {heir, oldest, mover}, "1=older,red 2=younger,blue", "1=1,of the older 2=2,of the younger");
}

// Applier::life_seen. A row waits for a UNIQUE value, and its node inserts another one over its number; then what
// refers to the first gets another number, and then the second one, and their node is gone.
TEST(Holes, H12b_WhatTheGoneOneHadMovedItselfIsNotWhatItMeant) {
  constexpr std::size_t heir = 0, oldest = 1, gone = 2;
  LooseNodes lab(3, create_marked);
  lab.insert(oldest, "parent", marked(5, "oldest", "red"));
  auto with_the_parent = lab.make(oldest, gone);
  lab.insert(oldest, "child", child_of(1, 5, "of the oldest"));
  lab.pass(10);
  lab.insert(gone, "parent", marked(1, "hidden", "red"));
  lab.insert(gone, "child", child_of(1, 1, "of the hidden"));
  lab.deliver(with_the_parent, gone);
  lab.settle(gone);
  ASSERT_EQ(lab.rows(gone, "parent"), "5=oldest,red");
  lab.pass(10);
  lab.insert(gone, "parent", marked(1, "inserted", "blue"));
  lab.deliver(lab.make(oldest, gone), gone);
  lab.settle(gone);
  ASSERT_EQ(lab.rows(gone, "parent"), "5=oldest,red 6=inserted,blue");
  ASSERT_EQ(lab.rows(gone, "child"), "1=5,of the oldest 2=1,of the hidden");
  lab.ship(gone, heir);
  lab.take_out(heir, gone);
  lab.look_for_the_gone(heir);
  EXPECT_EQ(lab.rows(heir, "child"), "1=5,of the oldest 2=1,of the hidden");
}

// life_at. The row that a reference means gives up its UNIQUE value before the log is read that tells of the reference;
// the row that had moved away from its number gets it.
TEST(Holes, H12b_WhatWaitsOnlySinceThenWasMeant) {
  LooseNodes lab(2, create_marked);
  lab.insert(0, "parent", marked(2, "older", "red"));
  lab.pass(10);
  lab.insert(1, "parent", marked(2, "younger", "red"));
  lab.ship(0, 1), lab.settle(1), lab.ship(1, 0);
  ASSERT_EQ(lab.side(0), "hidden 1 3 ");
  lab.pass(10);
  lab.insert(0, "parent", marked(8, "another", "blue"));
  lab.pass(10);
  lab.insert(1, "parent", marked(8, "other", "green"));
  lab.ship(0, 1), lab.settle(1);
  auto numbers_change = lab.make(1, 0);
  lab.pass(10);
  lab.insert(0, "child", child_of(1, 2, "of the older"));
  for (const char* mark : {"none", "red"}) lab.update(0, "parent", marked(2, "older", mark));
  lab.pass(10);
  lab.deliver(numbers_change, 0);
  lab.settle(0);
  EXPECT_EQ(lab.rows(0, "parent"), "3=younger,red 8=another,blue 9=other,green");
  EXPECT_EQ(lab.rows(0, "child"), "1=2,of the older");
}

// Applier::take_over_deletes. Its heir hears of the delete from somebody else, after the move.
TEST(Holes, H12d_AnHeirDeletesTheMovedRowThatTheGoneOneHadDeleted) {
  constexpr std::size_t heir = 0, oldest = 1, mover = 2, gone = 3;
  LooseNodes lab(4, create_family);
  lab.insert(oldest, "parent", parent(1, "older"));
  lab.pass(10);
  lab.insert(mover, "parent", parent(1, "younger"));
  lab.ship(mover, gone);
  lab.pass(10);
  lab.remove(gone, "parent", {Value::of_integer(1)});
  lab.ship(oldest, mover);
  lab.settle(mover);
  lab.ship(mover, heir);
  lab.ship(gone, oldest);
  for (std::size_t i : {heir, oldest, mover}) lab.take_out(i, gone);
  lab.exchange({{heir, oldest}, {heir, mover}, {oldest, mover}});
  for (std::size_t i : {heir, oldest, mover}) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=older") << i;
    EXPECT_FALSE(lab.core(i).window.unsettled()) << i;
  }
}

}  // namespace
}  // namespace rowmesh::testing
