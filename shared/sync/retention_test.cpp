// A server that was away for longer than changes are kept, and comes back. With real databases:
// regress/cluster/test_retention.py.
#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t one = 0, two = 1, dead = 2;

class Retention : public ::testing::Test {
 protected:
  void link(std::size_t left, std::size_t right) {
    std::string secret = "secret " + std::to_string(left) + std::to_string(right);
    mesh.add_server(left, right, secret);
    mesh.add_server(right, left, secret);
  }
  void reach(std::size_t node, bool reachable) {
    for (std::size_t other = 0; other < mesh.stores.size(); other++) {
      if (other == node) continue;
      mesh.network.cut(node, other, !reachable);
      mesh.network.cut(other, node, !reachable);
    }
  }
  std::string state(std::size_t at, const std::string& server) {
    for (auto& row : mesh.nodes[at]->status().servers)
      if (row.name == server) return row.state;
    return "no such server";
  }
  void copy(std::size_t at, const std::string& from) {
    mesh.stores[at]->request("copy", R"({"server":")" + from + R"(","on_existing":"source"})");
    mesh.run_for(20000);
  }
  testing::NodePair mesh{3};
};

// What it had written and sent to nobody is given up: others must not wait for it, nor need a copy of the one that
// gave it up.
TEST_F(Retention, WhoTookItsCopyStreamsAgainWithAll) {
  link(one, two);
  link(one, dead);
  link(two, dead);
  for (std::size_t node : {one, two}) mesh.stores[node]->set("retention", "4");
  mesh.start();
  mesh.run_for(2000);
  mesh.write(one, "first", "v");
  mesh.run_for(5000);
  ASSERT_EQ(mesh.rows(dead), 1u);
  reach(dead, false);
  mesh.write(dead, "never sent", "v");
  mesh.run_for(2000);
  mesh.write(one, "while it was away", "v");
  mesh.run_for(30000);
  ASSERT_EQ(state(one, "node2"), "needs copy");
  ASSERT_EQ(mesh.nodes[one]->status().unsettled, 0u);
  mesh.network.heal();
  mesh.run_for(60000);
  ASSERT_EQ(state(dead, "node0"), "needs copy");
  copy(dead, "node0");
  ASSERT_EQ(mesh.rows(dead), 2u);
  EXPECT_EQ(mesh.stores[dead]->conflicts().size(), 1u);
  EXPECT_EQ(state(one, "node2"), "streaming");
  EXPECT_EQ(state(two, "node2"), "streaming");
  EXPECT_EQ(state(dead, "node0"), "streaming");
  EXPECT_EQ(state(dead, "node1"), "streaming");
  mesh.write(dead, "back", "v");
  mesh.write(two, "welcome", "v");
  mesh.run_for(10000);
  for (std::size_t node : {one, two, dead}) EXPECT_EQ(mesh.rows(node), 4u) << node;
}

// A document that is refused again and again is made anew with growing pauses.
class Refusing : public HttpHandler {
 public:
  explicit Refusing(testing::NodePair& nodes) : pair(nodes) {}
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    return pair.nodes[1]->check(head, body_limit);
  }
  HttpResponse handle(const HttpRequest& request) override {
    if (request.path != "/rowmesh/v1/changes" || !refuses) return pair.nodes[1]->handle(request);
    documents++;
    HttpResponse response;
    response.status = 409;
    response.body = std::make_shared<Body>(R"({"error":"stale","text":"it must be made anew"})");
    return response;
  }
  HttpResponse later(const HttpRequest& request) override { return pair.nodes[1]->later(request); }
  testing::NodePair& pair;
  bool refuses = true;
  std::size_t documents = 0;
};

TEST(Refused, DocumentsComeWithPauses) {
  testing::NodePair pair;
  pair.add_server(0, 1, "secret");
  pair.add_server(1, 0, "secret");
  Refusing refusing(pair);
  pair.handlers[1] = &refusing;
  pair.start();
  pair.run_for(1000);
  pair.write(0, "k", "v");
  pair.run_for(60000);
  EXPECT_GE(refusing.documents, 12u) << "it goes on trying";
  EXPECT_LE(refusing.documents, 40u);
  EXPECT_EQ(pair.status(0).state, "backing off");
  refusing.refuses = false;
  pair.run_for(5000);
  EXPECT_EQ(pair.rows(1), 1u);
  EXPECT_EQ(pair.status(0).state, "streaming");
}

}  // namespace
}  // namespace rowmesh
