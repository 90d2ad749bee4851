// A new server is put back to a backup of before it had met anybody: what it wrote then others may have, under other
// versions. In virtual time; with everything else breaking as well: rowmesh_sim --with backup,first.
#include <gtest/gtest.h>

#include "shared/testing/family.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// The servers 0 and 2 are in use; 1 is new, has rows of its own, and gets 0 as its server.
class BeforeItMet : public ::testing::Test {
 protected:
  BeforeItMet() {
    mesh.first_copies = true;
    for (auto& store : mesh.stores) create_family(*store);
    mesh.link(0, 2);
    write(0, parent(9, "theirs"));
  }
  void write(std::size_t at, const Row& row) {
    mesh.stores[at]->begin_local();
    mesh.stores[at]->insert("parent", row);
    mesh.stores[at]->commit_local();
  }
  void restart(std::size_t at, const std::function<void()>& meanwhile) {
    mesh.network.attach(at, nullptr);
    mesh.nodes[at].reset();
    mesh.stores[at]->crash();
    meanwhile();
    mesh.start(at);
  }
  // The rows of 1 have come to 0, where nothing settles, for 2 is away; then it is put back to before that.
  void lose_what_followed(const std::function<void()>& meanwhile = [] {}) {
    mesh.start();
    mesh.run_for(3000);
    for (const Row& row : ours) write(1, row);
    mesh.link(0, 1);
    auto put_back = mesh.stores[1]->backup();
    mesh.cut(0, 2);
    mesh.run_for(5000);
    meanwhile();
    restart(1, put_back);
    mesh.run_for(3000);
    ASSERT_EQ(identity(), "restored");
  }
  void get_a_new_identity() {
    mesh.stores[1]->request("new_identity", "restored");
    mesh.run_for(10000);
  }
  std::string identity() { return mesh.nodes[1]->status().identity; }
  std::string state() { return mesh.nodes[1]->status().servers.at(0).state; }
  std::string parents(std::size_t at) {
    std::map<std::int64_t, std::string> sorted;
    for (auto& [key, row] : mesh.stores[at]->rows("parent")) sorted[row.values[0].integer] = row.values[1].text;
    std::string text;
    for (auto& [id, name] : sorted) text += std::to_string(id) + " " + name + ", ";
    return text;
  }
  void expect_on_all(const std::string& rows) {
    mesh.network.heal();
    mesh.run_for(60000);
    for (std::size_t at : {0u, 1u, 2u}) {
      EXPECT_EQ(parents(at), rows) << at;
      EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
    }
  }
  std::vector<Row> ours = {parent(1, "ours")};
  NodePair mesh{3};
};

// Symptom: a row stood under two numbers. Mechanism: in the life that was lost it had been given anew with the first
// copy, and another number; who was put back knew nobody whom it could have asked, so it went out as a new row. Mend:
// it takes a copy of one that knows that life (Peer::has_lost), and its row is the one that is there
// (Applier::take_birth_of_lost_life).
TEST_F(BeforeItMet, ARowThatGotAnotherNumberSinceStandsOnce) {
  write(0, parent(1, "theirs"));
  lose_what_followed();
  ASSERT_EQ(parents(0), "1 theirs, 9 theirs, 10 ours, ");
  get_a_new_identity();
  EXPECT_EQ(state(), "streaming");
  EXPECT_EQ(parents(1), "1 theirs, 9 theirs, 10 ours, ");
  expect_on_all("1 theirs, 9 theirs, 10 ours, ");
}

TEST_F(BeforeItMet, WhatWasEditedSinceAndWhatIsWrittenNowIsKept) {
  lose_what_followed([&] {
    mesh.stores[1]->begin_local();
    mesh.stores[1]->update("parent", Row{Value::of_integer(1)}, parent(1, "edited"));
    mesh.stores[1]->commit_local();
    mesh.run_for(1000);
  });
  ASSERT_EQ(parents(0), "1 edited, 9 theirs, ");
  write(1, parent(2, "now"));
  get_a_new_identity();
  expect_on_all("1 edited, 2 now, 9 theirs, ");
}

TEST_F(BeforeItMet, WhatWasDeletedSinceStaysSo) {
  lose_what_followed([&] {
    mesh.stores[1]->begin_local();
    mesh.stores[1]->remove("parent", Row{Value::of_integer(1)});
    mesh.stores[1]->commit_local();
    mesh.run_for(1000);
  });
  ASSERT_EQ(parents(0), "9 theirs, ");
  get_a_new_identity();
  expect_on_all("9 theirs, ");
}

TEST_F(BeforeItMet, ItWaitsForTheOneThatHasWhatWasLost) {
  lose_what_followed([&] {
    write(1, parent(2, "lost"));
    mesh.run_for(1000);
  });
  ASSERT_EQ(parents(0), "1 ours, 2 lost, 9 theirs, ");
  mesh.cut(0, 1);
  get_a_new_identity();
  EXPECT_EQ(parents(1), "1 ours, ");
  EXPECT_EQ(state(), "catching up");
  restart(1, [] {});
  mesh.run_for(3000);
  expect_on_all("1 ours, 2 lost, 9 theirs, ");
}

// NodeState::came_back_without.
TEST_F(BeforeItMet, WhereNobodyCanBeAskedItSaysThatItNeedsACopy) {
  ours.clear();
  lose_what_followed([&] {
    write(1, parent(2, "lost"));
    mesh.run_for(1000);
    mesh.network.heal();
    mesh.run_for(40000);
    ASSERT_EQ(mesh.nodes[0]->status().unsettled, 0u) << "it has been forgotten";
  });
  write(1, parent(3, "since"));
  mesh.run_for(3000);
  std::int64_t id = mesh.stores[1]->servers().at(0).id;
  mesh.stores[1]->change_server(id, [](ServerConfig& config) { config.url = ""; });
  get_a_new_identity();
  EXPECT_EQ(state(), "needs copy");
  restart(1, [] {});
  mesh.run_for(10000);
  EXPECT_EQ(state(), "needs copy") << "after a crash as well";
  mesh.stores[1]->change_server(id, [](ServerConfig& config) { config.url = SimulatedNetwork::url(0); });
  mesh.run_for(3000);
  mesh.stores[1]->request("copy", R"({"server":"node0","direction":"pull","on_existing":"source"})");
  expect_on_all("2 lost, 3 since, 9 theirs, ");
  EXPECT_EQ(state(), "streaming");
}

}  // namespace
}  // namespace rowmesh::testing
