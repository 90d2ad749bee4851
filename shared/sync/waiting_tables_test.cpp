// Tables that wait for longer than changes are kept.
#include <algorithm>

#include "shared/sync/node_state.hpp"
#include "shared/testing/node_pair.hpp"
#include "shared/testing/sites.hpp"

namespace rowmesh::testing {
namespace {

class WaitingTables : public Sites {
 protected:
  // Of the notes, on all nodes; and nothing waits, or is kept for anybody.
  void expect_everywhere(const std::string& notes) {
    for (std::size_t i = 0; i < sites_.size(); i++) {
      EXPECT_EQ(rows(i, "notes"), notes) << i;
      EXPECT_EQ(waiting(i), "") << i;
      EXPECT_EQ(sites_[i]->store->status().unsettled, 0u) << i;
    }
  }
};

// A table that waits for longer than changes are kept keeps nobody else's changes any more, and is copied when it fits.
TEST_F(WaitingTables, WhatWaitsTooLongIsGivenUpAndComesByACopy) {
  for (const char* bound : {"retention", "retention_rows"}) {
    SCOPED_TRACE(bound);
    sites_.clear();
    build(3);
    link(0, 1), link(1, 2), link(0, 2);
    for (auto& site : sites_) site->store->set(bound, std::string(bound) == "retention" ? "20" : "4");
    start_all();
    for (const char* code : {"a", "b", "c", "d"}) insert(0, "notes", row(code, "1", ""));
    run(5000);
    for (std::size_t i : {0, 1}) with_extra(i);
    update(0, "notes", row("a", "2", ""));
    remove(1, "notes", "b");
    insert(1, "notes", row("e", "1", ""));
    insert(2, "notes", row("own", "1", ""));
    for (const char* code : {"a", "b", "c", "d", "e"}) insert(1, "other", row(code, "1", ""));
    run(2000);
    EXPECT_EQ(rows(2, "other"), "a=1, b=1, c=1, d=1, e=1,") << "the others flow";
    EXPECT_EQ(rows(2, "notes"), "a=1, b=1, c=1, d=1, own=1,");
    EXPECT_EQ(waiting(2).find("longer than changes are kept"), std::string::npos);
    run(120000);
    for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(sites_[i]->store->status().unsettled, 0u) << i;
    EXPECT_NE(waiting(2).find("longer than changes are kept"), std::string::npos) << waiting(2);
    network_.attach(2, nullptr);
    sites_[2]->node.reset();
    sites_[2]->store->crash();
    start(2);
    remove(0, "notes", "c");
    update(1, "notes", row("d", "3", ""));
    run(20000);
    with_extra(2);
    run(1000);
    insert(0, "notes", row("f", "1", ""));
    run(80000);
    expect_everywhere("a=2, d=3, e=1, f=1, own=1,");
    for (std::size_t i = 0; i < 3; i++) {
      EXPECT_EQ(sites_[i]->store->conflicts().size(), 0u) << i;
      for (auto& server : sites_[i]->store->status().servers) EXPECT_EQ(server.state, "streaming") << i;
    }
  }
}

// Given up is what is written as such: once the others have heard of it they forget what a restart would still wait
// for.
TEST_F(WaitingTables, WhatCannotBeWrittenIsNotGivenUp) {
  build(2);
  link(0, 1);
  for (auto& site : sites_) site->store->set("retention", "20");
  start_all();
  with_extra(0);
  insert(0, "notes", row("a", "1", ""));
  run(19900);
  ASSERT_NE(waiting(1), "");
  auto given_up = [&] {
    return sites_[1]->node->status().waiting.at("notes").find("longer than changes are kept") != std::string::npos;
  };
  auto written = [&] { return NodeState::decode(sites_[1]->store->stored_state()).parked.at("notes").given_up; };
  bool failed = false;
  sites_[1]->store->on_point = [&](Point point) {
    if (point != Point::before_commit || failed || !given_up()) return;
    failed = true;
    throw Error(ErrorKind::transient, "53100", "no space left on device");
  };
  for (int ms = 0; !failed && ms < 60000; ms++) run(1);
  ASSERT_TRUE(failed);
  EXPECT_FALSE(written());
  EXPECT_FALSE(given_up());
  sites_[1]->store->on_point = {};
  run(20000);
  EXPECT_TRUE(written());
  EXPECT_TRUE(given_up());
}

// The same in the middle of a chain: it is copied from a server that waits itself by then, for what the other end
// wrote.
TEST_F(WaitingTables, WhatWaitsTooLongInTheMiddleOfAChain) {
  build(4);
  link(0, 1), link(1, 2), link(2, 3);
  for (auto& site : sites_) site->store->set("retention", "20");
  start_all();
  insert(0, "notes", row("a", "1", ""));
  insert(3, "notes", row("b", "1", ""));
  run(5000);
  with_extra(0);
  update(0, "notes", row("a", "2", ""));
  insert(0, "notes", row("d", "1", ""));
  run(60000);
  ASSERT_NE(waiting(1).find("longer than changes are kept"), std::string::npos) << waiting(1);
  remove(3, "notes", "b");
  insert(3, "notes", row("c", "1", ""));
  run(60000);
  for (std::size_t i : {1, 2, 3}) with_extra(i);
  update(0, "notes", row("a", "3", ""));
  run(120000);
  expect_everywhere("a=3, c=1, d=1,");
}

// What a server had shipped past a table, before it was removed for good, is nowhere: the table does not wait for it
// for ever.
TEST_F(WaitingTables, WhatNobodyHasIsWaitedForOnlySoLong) {
  build(3);
  link(0, 1), link(1, 2), link(0, 2);
  for (auto& site : sites_) site->store->set("retention", "30");
  start_all();
  insert(0, "notes", row("a", "1", ""));
  run(5000);
  with_extra(2);
  insert(2, "notes", row("lost", "1", ""));
  insert(2, "other", row("flows", "1", ""));
  run(3000);
  ASSERT_NE(waiting(0), "");
  network_.attach(2, nullptr);
  sites_[2]->node.reset();
  for (std::size_t i : {0, 1})
    for (auto& server : sites_[i]->store->servers())
      if (server.name == "node2") sites_[i]->store->remove_server(server.id);
  for (std::size_t i : {0, 1}) with_extra(i), sites_[i]->wake_ms = wall_.time_ms;
  update(0, "notes", row("a", "2", ""));
  run(10000);
  EXPECT_EQ(rows(1, "notes"), "a=2,") << "what is there flows";
  EXPECT_NE(waiting(0) + waiting(1), "");
  run(60000);
  for (std::size_t i : {0, 1}) {
    EXPECT_EQ(rows(i, "other"), "flows=1,") << i;
    EXPECT_EQ(waiting(i), "") << i;
    EXPECT_EQ(sites_[i]->store->status().unsettled, 0u) << i;
  }
}

// Nobody has all of a table that waits on all sides: it is kept as long as it takes.
TEST_F(WaitingTables, WhatWaitsOnAllSidesIsNotGivenUp) {
  build(3);
  link(0, 1), link(1, 2), link(0, 2);
  for (auto& site : sites_) site->store->set("retention", "4");
  start_all();
  insert(0, "notes", row("a", "1", ""));
  run(5000);
  rename_title(2, "heading");
  update(0, "notes", row("a", "2", ""));
  insert(1, "notes", row("b", "1", ""));
  insert(2, "notes", row("c", "1", ""));
  run(120000);
  rename_title(2, "title");
  run(60000);
  expect_everywhere("a=2, b=1, c=1,");
}

// Symptom: changes of a table waited on two servers for ever, though it had the same columns on both. Mechanism: it had
// been altered on both while changes of before were on their way, so on each it did not fit, and of a table that does
// not fit nobody sends anything; but what else would show that it does by now? Mend: what was done here is sent again
// (Node::Impl::can_catch_up).
TEST(WaitingOnBothSides, TablesAreTriedAgain) {
  NodePair pair;
  auto name_column = [&](const char* name) {
    for (auto& store : pair.stores) store->alter_table("items", [&](Table& table) { table.columns[1].name = name; });
  };
  pair.link(0, 1);
  pair.start();
  name_column("before");
  pair.run_for(5000);
  pair.write(0, "a", "of 0"), pair.write(1, "b", "of 1");
  for (auto& node : pair.nodes) node->tick();
  name_column("after");
  pair.run_for(60000);
  auto waits = [](const std::string& line) { return line.starts_with("the changes of table 'items' wait"); };
  EXPECT_GE(std::count_if(pair.lines.begin(), pair.lines.end(), waits), 2);
  for (std::size_t at : {0u, 1u}) {
    EXPECT_EQ(pair.text_of_rows(at), "a of 0, b of 1, ") << at;
    EXPECT_TRUE(pair.nodes[at]->status().waiting.empty()) << at;
  }
}

}  // namespace
}  // namespace rowmesh::testing
