// What goes wrong here for good is said where people look.
#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: with its history table broken a node shipped nothing, and its status and health said that all was well.
// Mechanism: the next step of the same tick went well, and took back what had been said of the one that failed. Mend:
// each step takes back only its own trouble.
TEST(Trouble, WhatFailsForGoodIsInTheStatusUntilItWorks) {
  NodePair nodes;
  nodes.link(0, 1);
  nodes.start();
  nodes.run_for(3000);
  bool broken = true;
  nodes.stores[0]->on_point = [&](Point point) {
    if (broken && point == Point::before_commit)
      throw Error(ErrorKind::corrupt, "XX002", "the history's index is broken");
  };
  nodes.write(0, "a", "1");
  nodes.run_for(2000);
  EXPECT_NE(nodes.nodes[0]->status().blocked.find("the history's index is broken"), std::string::npos);
  EXPECT_EQ(nodes.nodes[1]->status().blocked, "");
  broken = false;
  nodes.run_for(3000);
  EXPECT_EQ(nodes.nodes[0]->status().blocked, "");
  EXPECT_EQ(nodes.rows(1), 1u);
}

}  // namespace
}  // namespace rowmesh::testing
