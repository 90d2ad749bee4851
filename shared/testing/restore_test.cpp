// restore(): what lost in a conflict is put back as a change of this node, and travels. In virtual time, over memory
// stores; with real databases: regress/cluster/test_conflicts.py.
#include <gtest/gtest.h>

#include "shared/codec/document.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

class Restore : public ::testing::Test {
 protected:
  void begin() {
    nodes.add_server(0, 1, "one secret");
    nodes.add_server(1, 0, "one secret");
    nodes.start();
    nodes.run_for(8000);
  }
  void update(std::size_t at, const std::string& key, const std::string& value) {
    Row id = {Value::of_text(key)}, row = {Value::of_text(key), Value::of_text(value)};
    local(at, [&](MemoryStore& store) { store.update("items", id, row); });
  }
  void remove(std::size_t at, const std::string& key) {
    Row id = {Value::of_text(key)};
    local(at, [&](MemoryStore& store) { store.remove("items", id); });
  }
  void local(std::size_t at, const std::function<void(MemoryStore&)>& work) {
    nodes.stores[at]->begin_local();
    work(*nodes.stores[at]);
    nodes.stores[at]->commit_local();
  }
  std::string rows(std::size_t at) {
    std::string text;
    for (auto& [key, row] : nodes.stores[at]->rows("items"))
      text += (text.empty() ? "" : " ") + std::string(row.values[0].text) + "=" + std::string(row.values[1].text);
    return text;
  }
  const ConflictRow& conflict(std::size_t at) { return nodes.stores[at]->conflicts().at(0); }
  void restore(std::size_t at) {
    nodes.stores[at]->request("restore", "1");
    nodes.run_for(8000);
  }
  // Two edits of one value, neither of which had seen the other: the one of node 1 is later.
  void two_edits() {
    nodes.write(0, "a", "old");
    begin();
    nodes.run_for(3000);
    update(0, "a", "north");
    nodes.now_ms += 5;
    update(1, "a", "south");
    nodes.run_for(8000);
    ASSERT_EQ(rows(0), "a=south");
    ASSERT_EQ(conflict(0).loser, R"({"v":"north"})");
  }

  NodePair nodes;
};

TEST_F(Restore, AnEditThatLostIsOnAllNodesAgain) {
  two_edits();
  restore(0);
  EXPECT_EQ(rows(0), "a=north");
  EXPECT_EQ(rows(1), "a=north");
  EXPECT_EQ(conflict(0).restored, R"(restored; it replaced {"v":"south"})");
  for (std::size_t at : {0u, 1u})
    EXPECT_EQ(nodes.stores[at]->conflicts().size(), 1u) << "what it replaced had been seen: no conflict";
  EXPECT_TRUE(nodes.stores[0]->requests().empty());
}

TEST_F(Restore, WhatWasWrittenSinceIsNamed) {
  two_edits();
  update(1, "a", "later");
  nodes.run_for(4000);
  restore(0);
  EXPECT_EQ(rows(1), "a=north");
  EXPECT_EQ(conflict(0).restored, R"(restored; it replaced {"v":"later"})");
}

TEST_F(Restore, ARowThatWasDeletedComesBack) {
  nodes.write(0, "a", "old");
  begin();
  nodes.run_for(3000);
  update(0, "a", "edited");
  remove(1, "a");
  nodes.run_for(8000);
  ASSERT_EQ(rows(0) + rows(1), "");
  ASSERT_EQ(conflict(0).type, "update_deleted");
  restore(0);
  EXPECT_EQ(rows(0), "a=edited");
  EXPECT_EQ(rows(1), "a=edited");
  EXPECT_EQ(conflict(0).restored, "restored as a new row");
}

TEST_F(Restore, ItIsDoneAfterARestartToo) {
  two_edits();
  nodes.stores[0]->request("restore", "1");
  nodes.nodes[0] = std::make_unique<Node>(NodeServices{
      *nodes.stores[0], nodes.wall, nodes.random, nodes.network.client(0), [](char, const std::string&) {}, [] {}});
  nodes.nodes[0]->start();
  nodes.network.attach(0, nodes.nodes[0].get());
  nodes.run_for(8000);
  EXPECT_EQ(rows(1), "a=north");
}

TEST_F(Restore, ARowThatTheDatabaseRefusesByNowIsLeftAsItIs) {
  two_edits();
  nodes.stores[0]->add_check("items", "no_compass", [](RowView row) { return row[1].text != "north"; });
  restore(0);
  EXPECT_EQ(rows(0), "a=south");
  EXPECT_EQ(rows(1), "a=south");
  EXPECT_NE(conflict(0).restored.find("not restored: this database refuses it"), std::string::npos)
      << conflict(0).restored;
  EXPECT_TRUE(nodes.stores[0]->load_side().empty()) << "nothing may wait in quarantine by it";
}

TEST_F(Restore, AConflictThatIsNotThereIsNoHarm) {
  begin();
  restore(0);
  EXPECT_TRUE(nodes.stores[0]->requests().empty());
}

}  // namespace
}  // namespace rowmesh::testing
