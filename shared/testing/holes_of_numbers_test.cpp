// The hole of simpler readings that two rows under one number are (docs/model.md, H12): who moves whom, and what goes
// along.
#include <gtest/gtest.h>

#include "shared/testing/family.hpp"
#include "shared/testing/loose_nodes.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// Two rows under one number, of which B made the younger. C has it under the old number, writes to it, and hears of the
// move only later.
class Younger : public LooseNodes {
 public:
  Younger() : LooseNodes(3, create_family) {
    insert(0, "parent", parent(1, "older"));
    pass(10);
    insert(1, "parent", parent(1, "younger"));
    ship(1, 2);
    pass(10);
  }
  void expect(const char* parents, const char* children) {
    settle(2);
    exchange_all();
    for (std::size_t i = 0; i < size(); i++) {
      EXPECT_EQ(rows(i, "parent"), parents) << i;
      EXPECT_EQ(rows(i, "child"), children) << i;
    }
  }
};

// Two rows under one number, of which B has moved the younger to number 2. C has it under the old number and has not
// heard of the move; D has.
class HalfHeard : public LooseNodes {
 public:
  HalfHeard() : LooseNodes(4, create_family) {
    insert(0, "parent", parent(1, "older"));
    pass(10);
    insert(1, "parent", parent(1, "younger"));
    ship(1, 2);
    ship(0, 1);
    settle(1);
    ship(1, 3);
  }
  // What D itself has written.
  Document of_the_fourth() { return make_since(3, applied(2), origin(3)); }
  void expect(const char* parents, const char* listed_at_the_third) {
    exchange_all();
    for (std::size_t i = 0; i < size(); i++) EXPECT_EQ(rows(i, "parent"), parents) << i;
    std::string listed;
    for (auto& conflict : store(2).conflicts()) listed += conflict.loser;
    EXPECT_NE(listed.find(listed_at_the_third), std::string::npos) << listed;
  }
};

// The loser of a number is moved by its origin. What others wrote to it under the old number goes with it: the edit.
TEST(Holes, H12a_WhoWroteToTheLoserCarriesItOver) {
  Younger lab;
  lab.update(2, "parent", parent(1, "younger, edited"));
  lab.expect("1=older 2=younger, edited", "");
}

// Who deleted it under the old number meant that row: it does not live on under the new one.
TEST(Holes, H12a_ADeleteUnderTheOldNumberIsCarriedOver) {
  Younger lab;
  lab.remove(2, "parent", {Value::of_integer(1)});
  lab.expect("1=older", "");
}

// Symptom: a reference named another row than its writer meant. Mechanism: its row was moved by somebody who had not
// heard of a truncate, so it lived on under its new number, born after that; where the reference had been written the
// truncate came first, and the number went to another row. Mend: who truncated meant that row, as who deletes it does.
TEST(Holes, H12a_ATruncateUnderTheOldNumberIsCarriedOver) {
  Younger lab;
  lab.insert(2, "child", child("c", 1));
  lab.ship(0, 1);
  lab.settle(1);
  ASSERT_EQ(lab.rows(1, "parent"), "1=older 2=younger");
  lab.write(2, [](MemoryStore& store) { store.truncate("parent"); });
  lab.settle(2);
  lab.pass(10);
  lab.insert(2, "parent", parent(1, "newer"));
  lab.expect("1=newer", "c=1");
}

// Whoever truncates had not seen what others wrote to the row, be it its insert.
TEST(Holes, H12a_WhatACarriedTruncateTakesUnseenIsListed) {
  for (bool seen : {false, true}) {
    LooseNodes lab(3, create_family);
    lab.insert(0, "parent", parent(1, "older"));
    lab.pass(10);
    lab.insert(1, "parent", parent(1, "younger"));
    if (seen) lab.ship(1, 2);
    lab.settle(1);
    lab.write(2, [](MemoryStore& store) { store.truncate("parent"); });
    lab.settle(2);
    lab.pass(10);
    lab.ship(0, 1);
    lab.settle(1);
    lab.exchange_all();
    bool listed = false;
    for (std::size_t i = 0; i < lab.size(); i++) {
      EXPECT_EQ(lab.rows(i, "parent"), "") << i;
      for (auto& conflict : lab.store(i).conflicts())
        listed |= conflict.type == "update_truncated" && conflict.loser.find("younger") != std::string::npos;
    }
    EXPECT_EQ(listed, !seen);
  }
}

// Symptom: a row stood under two numbers, or under none, until the mover's own document came. Mechanism: somebody else
// had changed what is under one of the two, and only that one came. Mend: a document brings both ends of a move.
TEST(Holes, H12a_ARowStandsUnderOneNumberAtAnyTime) {
  for (int changed : {1, 2})
    for (bool restarted : {false, true}) {
      HalfHeard lab;
      if (restarted) lab.restart(3);
      lab.update(3, "parent", parent(changed, "edited"));
      lab.deliver(lab.of_the_fourth(), 2);
      EXPECT_EQ(lab.rows(2, "parent"), changed == 1 ? "1=edited 2=younger" : "1=older 2=edited") << restarted;
    }
}

// Symptom: a value was lost without a trace. Mechanism: a piece of a copy brought the row under its new number before
// the move was heard of, so a person saw it under both, deleted it under the one and wrote to it under the
// other; the delete was carried over, and what a node has written itself was not listed. Mend: it is.
TEST(Holes, H12a_WhatACarriedDeleteTakesFromItsOwnNodeIsListed) {
  HalfHeard lab;
  lab.update(3, "parent", parent(2, "edited"));
  lab.deliver(lab.numbers(lab.of_the_fourth(), 2, 2), 2);
  ASSERT_EQ(lab.rows(2, "parent"), "1=younger 2=edited");
  lab.write(2, [](MemoryStore& store) {
    store.remove("parent", Row{Value::of_integer(1)});
    store.update("parent", Row{Value::of_integer(2)}, parent(2, "kept?"));
  });
  lab.expect("1=older", "kept?");
}

// Symptom: a value was lost without a trace. Mechanism: an edit that was carried over to the new number got a new
// version, so it won over what somebody else had written under that number later. Mend: of the two edits the later
// wins.
TEST(Holes, H12a_WhatIsCarriedDoesNotWinOverLaterEdits) {
  HalfHeard lab;
  lab.update(2, "parent", parent(1, "earlier edit"));
  lab.pass(10);
  lab.update(3, "parent", parent(2, "later edit"));
  lab.deliver(lab.of_the_fourth(), 2);
  lab.expect("1=older 2=later edit", "earlier edit");
}

// Symptom: a value was lost without a trace. Mechanism: the row showed under both numbers, and somebody who saw what
// had been written under the new one wrote to the old one; that won when it was carried over, and was taken for the
// work of one who had seen what it replaced. He had, in another row. Mend: it is listed.
TEST(Holes, H12a_WhatACarriedEditReplacesIsListed) {
  HalfHeard lab;
  lab.update(3, "parent", parent(2, "replaced"));
  lab.deliver(lab.numbers(lab.of_the_fourth(), 2, 2), 2);
  ASSERT_EQ(lab.rows(2, "parent"), "1=younger 2=replaced");
  lab.pass(10);
  lab.update(2, "parent", parent(1, "later edit"));
  lab.expect("1=older 2=later edit", "replaced");
}

// Symptom: of what was written to several rows that moved at once, only one row's came to its new number; a delete did
// not, and the row was there again. Mechanism: the moves were heard of before the rows that they made, which were
// waited for by their birth, and moves of one document have one. Mend: by number and birth.
TEST(Holes, H12a_RowsThatMoveTogetherAreToldApart) {
  LooseNodes lab(4, create_family);
  for (int number : {1, 2, 3}) lab.insert(0, "parent", parent(number, "older"));
  lab.pass(10);
  for (int number : {1, 2, 3}) lab.insert(1, "parent", parent(number, "younger"));
  lab.ship(1, 2);
  lab.pass(10);
  lab.update(2, "parent", parent(1, "edit one"));
  lab.remove(2, "parent", {Value::of_integer(2)});
  lab.update(2, "parent", parent(3, "edit three"));
  lab.ship(0, 1);
  lab.settle(1);
  lab.ship(1, 3);
  for (int number : {1, 2, 3}) lab.update(3, "parent", parent(number, "older, edited"));
  lab.deliver(lab.numbers(lab.make_since(3, lab.applied(2), lab.origin(3)), 1, 3), 2);
  lab.exchange_all();
  for (std::size_t i = 0; i < lab.size(); i++)
    EXPECT_EQ(lab.rows(i, "parent"), "1=older, edited 2=older, edited 3=older, edited 4=edit one 6=edit three") << i;
}

// A child that its origin had never heard of when it moved the row.
TEST(Holes, H12b_WhoMadeAChildOfTheLoserTakesItAlong) {
  Younger lab;
  lab.insert(2, "child", child("c", 1));
  lab.expect("1=older 2=younger", "c=2");
}

// Symptom: a part that had been given to another row went, on all nodes, to one that it had left. Mechanism: the note
// of which life its reference had meant, made when that life's row gave way, outlived the reference's being changed,
// and the life's move took the reference along. Mend: a note holds for what was written before it was made
// (Meant::holds).
TEST(Holes, H12b_AReferenceThatWasChangedSinceStaysWhereItIs) {
  Younger lab;
  lab.insert(2, "child", child("c", 1));
  lab.insert(2, "parent", parent(5, "other"));
  lab.ship(0, 2);
  ASSERT_EQ(lab.rows(2, "parent"), "1=older 5=other");
  lab.pass(10);
  lab.update(2, "child", child("c", 5));
  lab.expect("1=older 2=younger 5=other", "c=5");
}

// Three rows under one number: two are moved, each by its origin, and to the same new number.
TEST(Holes, H12d_TheNewNumberCollidesAgain) {
  LooseNodes lab(4, create_family);
  for (std::size_t i = 0; i < 3; i++) {
    lab.insert(i, "parent", parent(1, std::to_string(i).c_str()));
    lab.insert(i, "child", child(("of " + std::to_string(i)).c_str(), 1));
    lab.pass(10);
  }
  lab.ship(0, 1), lab.ship(0, 2);
  lab.settle(1), lab.settle(2);
  ASSERT_EQ(lab.rows(1, "parent"), "1=0 2=1");
  ASSERT_EQ(lab.rows(2, "parent"), "1=0 2=2");
  lab.exchange_all();
  for (std::size_t i = 0; i < 4; i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=0 2=1 3=2") << i;
    EXPECT_EQ(lab.rows(i, "child"), "of 0=1 of 1=2 of 2=3") << i;
  }
}

// A number of which a row was just deleted is not free: who has not heard of that may still refer to it.
TEST(Holes, H12d_TheNewNumberIsAboveThoseOfDeadRows) {
  LooseNodes lab(3, create_family);
  lab.insert(1, "parent", parent(2, "deleted"));
  lab.exchange_all();
  lab.insert(2, "child", child("of the deleted", 2));
  lab.settle(2);
  lab.remove(1, "parent", {Value::of_integer(2)});
  lab.insert(0, "parent", parent(1, "older"));
  lab.pass(10);
  lab.insert(1, "parent", parent(1, "younger"));
  lab.exchange_all();
  for (std::size_t i = 0; i < 3; i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=older 3=younger") << i;
    EXPECT_EQ(lab.rows(i, "child"), "of the deleted=2") << i;
  }
}

// Symptom: a child that a prepared transaction had written ended under another parent than it had meant. Mechanism: of
// two rows that had left the number since, the one that moved last was taken for the one that had stood there; but that
// one had been moved away by this node itself, before the child was written. Mend: then it is not the one.
TEST(Holes, H12b_WhatThisNodeHadMovedAwayIsNotMeant) {
  constexpr std::size_t middle = 0, oldest = 1, here = 2;
  LooseNodes lab(3, create_family);
  lab.insert(oldest, "parent", parent(1, "oldest"));
  lab.pass(10);
  lab.insert(middle, "parent", parent(1, "meant"));
  lab.pass(10);
  lab.insert(here, "parent", parent(1, "youngest"));
  auto before_it_moves = lab.make(middle, here);
  lab.ship(oldest, middle);
  lab.settle(middle);
  lab.pass(10);
  lab.deliver(before_it_moves, here);
  lab.settle(here);
  ASSERT_EQ(lab.rows(here, "parent"), "1=meant 2=youngest");
  lab.pass(10);
  lab.store(here).begin_local();
  lab.store(here).insert("child", child("c", 1));
  std::uint64_t prepared = lab.store(here).prepare_local();
  lab.pass(10);
  lab.ship(middle, here);
  lab.store(here).commit_prepared(prepared);
  lab.exchange_all();
  for (std::size_t i = 0; i < lab.size(); i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=oldest 2=meant 3=youngest") << i;
    EXPECT_EQ(lab.rows(i, "child"), "c=2") << i;
  }
}

// Symptom: as above. Mechanism: as above, but the one that moved last was younger and had waited; the other one had
// been inserted here, and was moved by this node after the child was written. Mend: that one had stood there (life_at).
TEST(Holes, H12b_WhatThisNodeInsertedAndMovedLaterIsMeant) {
  constexpr std::size_t oldest = 0, here = 1, younger = 2;
  LooseNodes lab(3, create_family);
  lab.insert(oldest, "parent", parent(1, "oldest"));
  lab.pass(10);
  lab.insert(here, "parent", parent(1, "meant"));
  lab.pass(10);
  lab.insert(younger, "parent", parent(1, "youngest"));
  lab.ship(younger, here);
  lab.pass(10);
  lab.store(here).begin_local();
  lab.store(here).insert("child", child("c", 1));
  std::uint64_t prepared = lab.store(here).prepare_local();
  lab.pass(10);
  lab.ship(oldest, here);
  lab.settle(here);
  lab.ship(here, younger);
  lab.settle(younger);
  lab.pass(10);
  lab.ship(younger, here);
  lab.store(here).commit_prepared(prepared);
  lab.exchange_all();
  for (std::size_t i = 0; i < lab.size(); i++) {
    EXPECT_EQ(lab.rows(i, "parent"), "1=oldest 2=meant 3=youngest") << i;
    EXPECT_EQ(lab.rows(i, "child"), "c=2") << i;
  }
}

// Symptom: a child ended under another parent than its writer had meant. Mechanism: the parent had moved, but its table
// waited here, while what else came let G pass the note of which one the child means. Mend: as long as the table waits
// the note is kept.
TEST(Holes, H12b_ANoteOutlivesTheWaitOfItsTable) {
  constexpr std::size_t older = 0, here = 1, mover = 2;
  NodePair chain(3);
  for (auto& store : chain.stores) create_family(*store);
  auto insert = [&](std::size_t at, const char* table, const Row& row) {
    chain.stores[at]->begin_local();
    chain.stores[at]->insert(table, row);
    chain.stores[at]->commit_local();
  };
  auto name_column = [&](const char* name) {
    chain.stores[here]->alter_table("parent", [&](Table& table) { table.columns[1].name = name; });
  };
  chain.link(here, mover);
  chain.link(here, older);
  WithoutDocuments deaf_to_the_older(chain, here, older), deaf_to_the_mover(chain, here, mover),
      deaf_to_here(chain, mover, here);
  chain.start();
  chain.run_for(8000);
  chain.network.attach(here, &deaf_to_the_older);
  insert(older, "parent", parent(1, "older"));
  chain.run_for(100);
  insert(mover, "parent", parent(1, "meant"));
  chain.run_for(3000);
  ASSERT_EQ(chain.stores[here]->rows("parent").size(), 1u);
  insert(here, "child", child("c", 1));
  chain.run_for(1000);
  chain.network.attach(mover, &deaf_to_here);
  chain.network.attach(here, chain.nodes[here].get());
  chain.run_for(60000);
  chain.network.attach(here, &deaf_to_the_mover);
  chain.network.attach(mover, chain.nodes[mover].get());
  chain.run_for(40000);
  name_column("renamed");
  chain.network.attach(here, chain.nodes[here].get());
  chain.run_for(60000);
  name_column("a");
  chain.run_for(40000);
  for (auto& store : chain.stores) {
    EXPECT_EQ(store->rows("parent").size(), 2u);
    ASSERT_EQ(store->rows("child").size(), 1u);
    EXPECT_EQ(store->rows("child").begin()->second.values[1].integer, 2);
  }
}

}  // namespace
}  // namespace rowmesh::testing
