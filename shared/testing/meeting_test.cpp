// How two nodes come to know each other, in virtual time.
#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// One side was set up first and has knocked in vain for a while, so that it comes seldom by now. When the other one is
// set up, the two meet at once, and nobody asks hundreds of times meanwhile.
TEST(Meeting, TheSecondOneToBeSetUpIsMetAtOnce) {
  NodePair nodes;
  nodes.add_server(1, 0, "one secret");
  nodes.start();
  nodes.write(0, "a", "old");
  nodes.write(1, "b", "old");
  nodes.run_for(60000);
  ASSERT_EQ(nodes.status(1).state, "blocked");
  std::uint64_t knocked = nodes.status(1).failures;
  EXPECT_LT(knocked, 30u);
  nodes.add_server(0, 1, "one secret");
  nodes.write(0, "c", "new");
  nodes.write(1, "d", "new");
  nodes.run_for(2000);
  EXPECT_EQ(nodes.status(0).state, "streaming") << nodes.status(0).last_error;
  EXPECT_EQ(nodes.status(1).state, "streaming") << nodes.status(1).last_error;
  EXPECT_LT(nodes.status(0).failures, 10u) << nodes.status(0).last_error;
  EXPECT_LT(nodes.status(1).failures, knocked + 10u);
}

}  // namespace
}  // namespace rowmesh::testing
