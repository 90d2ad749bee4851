// Three nodes that are linked and unlinked.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {

class Membership : public ::testing::Test {
 protected:
  void link_all() {
    for (std::size_t at = 0; at < 3; at++)
      for (std::size_t to = 0; to < 3; to++)
        if (at != to) mesh.add_server(at, to, "secret " + std::to_string(at + to));
  }
  void unlink(std::size_t at, std::size_t from) {
    for (auto& server : mesh.stores[at]->servers())
      if (server.name == "node" + std::to_string(from)) return mesh.stores[at]->remove_server(server.id);
  }
  std::uint64_t unsettled(std::size_t at) { return mesh.nodes[at]->status().unsettled; }
  NodePair mesh{3};
};

}  // namespace rowmesh::testing
