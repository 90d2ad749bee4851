// A new node that is written to before its copy is done. Everything at once: rowmesh_sim --with join.
#include <gtest/gtest.h>

#include "shared/model/hex.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/core.hpp"
#include "shared/testing/family.hpp"
#include "shared/testing/lab.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// 0 and 1 are linked and have forgotten what they wrote; 2 is new.
class NewNode : public ::testing::Test {
 protected:
  void start() {
    mesh.link(0, 1);
    mesh.start();
    mesh.write(0, "old", "settled");
    mesh.run_for(10000);
    ASSERT_EQ(mesh.nodes[1]->status().unsettled, 0u);
  }
  // And the new one and 0 know each other.
  void start_and_meet() {
    start();
    mesh.add_server(2, 0, "new"), mesh.add_server(0, 2, "new");
    mesh.run_for(5000);
  }
  // 0 and 1 have forgotten everything up to now.
  void go_on() {
    mesh.run_for(5000);
    mesh.write(0, "then", "v");
    mesh.run_for(10000);
    ASSERT_EQ(mesh.nodes[1]->status().unsettled, 0u);
  }
  void copy() { mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull"})"); }
  void ask_for_copy() { mesh.stores[0]->request("copy", R"({"server":"node2","direction":"push"})"); }
  void cut(std::size_t one, std::size_t other, bool is_cut = true) { mesh.cut(one, other, is_cut); }
  void truncate(std::size_t at) {
    mesh.stores[at]->begin_local();
    mesh.stores[at]->truncate("items");
    mesh.stores[at]->commit_local();
  }
  std::string rows(std::size_t at) const { return mesh.text_of_rows(at); }
  void expect_everywhere(const std::string& wanted) {
    for (std::size_t at = 0; at < mesh.stores.size(); at++) {
      EXPECT_EQ(rows(at), wanted) << at;
      NodeStatus status = mesh.nodes[at]->status();
      EXPECT_EQ(status.unsettled, status.side_rows) << at;  // two lives of one key are kept
    }
  }
  bool listed(const std::string& value) const {
    for (auto& store : mesh.stores)
      for (auto& conflict : store->conflicts())
        if (conflict.loser.find(value) != std::string::npos) return true;
    return false;
  }
  NodePair mesh{3};
};

// Core::rebase.
TEST_F(NewNode, APreparedTransactionOfBeforeTheCopyComesToAll) {
  start();
  mesh.add_server(2, 0, "new");
  mesh.stores[2]->begin_local();
  std::vector<Value> row = {Value::of_text("prepared"), Value::of_text("v")};
  mesh.stores[2]->insert("items", row);
  std::uint64_t prepared = mesh.stores[2]->prepare_local();
  go_on();
  mesh.add_server(0, 2, "new");
  copy();
  while (mesh.rows(2) == 0) mesh.run_for(10);
  cut(0, 2);
  mesh.stores[2]->commit_prepared(prepared);
  mesh.run_for(5000);
  cut(0, 2, false);
  mesh.run_for(40000);
  expect_everywhere("old settled, prepared v, then v, ");
}

// Symptom: a reference named another row than its writer meant. Mechanism: its transaction was prepared before the
// copy, and was given a version when the log was read: after the row under that number had come with the copy. Mend:
// what is given anew is older than whatever was applied since (Core::given_anew).
TEST_F(NewNode, APreparedReferenceMeansTheRowOfBeforeTheCopy) {
  for (auto& store : mesh.stores) create_family(*store);
  auto insert = [&](std::size_t at, const char* table, const Row& row) {
    mesh.stores[at]->begin_local();
    mesh.stores[at]->insert(table, row);
  };
  insert(0, "parent", parent(1, "settled")), mesh.stores[0]->commit_local();
  start();
  insert(2, "parent", parent(1, "meant")), mesh.stores[2]->commit_local();
  mesh.add_server(2, 0, "new");
  insert(2, "child", child("c", 1));
  std::uint64_t prepared = mesh.stores[2]->prepare_local();
  go_on();
  mesh.add_server(0, 2, "new");
  copy();
  while (mesh.stores[2]->rows("parent").size() < 2) mesh.run_for(10);
  mesh.stores[2]->commit_prepared(prepared);
  mesh.run_for(40000);
  for (std::size_t at = 0; at < mesh.stores.size(); at++) {
    auto parents = mesh.stores[at]->rows("parent");
    auto& child = mesh.stores[at]->rows("child").begin()->second;
    auto named = parents.find(encode_key({&child.values[1], 1}));
    ASSERT_NE(named, parents.end()) << at;
    EXPECT_EQ(named->second.values[1].text, "meant") << at;
  }
}

// NodeState::forgotten_alone.
TEST_F(NewNode, ARowOfTheCopyThatIsUnsettledAtTheSourceIsSoHere) {
  start();
  cut(0, 1);
  mesh.write(1, "both", "one");
  mesh.run_for(10);
  mesh.write(0, "both", "zero");
  mesh.run_for(2000);
  mesh.write(2, "mine", "v");
  mesh.run_for(5000);
  ASSERT_EQ(mesh.nodes[2]->status().unsettled, 0u);
  mesh.add_server(2, 0, "new"), mesh.add_server(0, 2, "new");
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull","on_existing":"newer"})");
  mesh.run_for(5000);
  cut(0, 1, false);
  mesh.run_for(40000);
  for (auto& node : mesh.nodes) EXPECT_EQ(node->status().side_rows, 1u);
  expect_everywhere("both zero, mine v, old settled, ");
}

// Symptom: what a new node with several servers wrote before its copy replaced settled values, and these were in no
// list. Mechanism: a server that it does not copy from had got it, so it could not be given anew, and counted as
// written to the row that had settled there. Mend: a new node keeps to itself until its copy is done (keeps_to_itself).
TEST_F(NewNode, NobodyGetsAnythingBeforeTheCopy) {
  start();
  mesh.link(0, 2), mesh.link(1, 2);
  mesh.run_for(1000);
  cut(0, 2);
  copy();
  mesh.run_for(1000);
  mesh.write(2, "old", "written before");
  mesh.run_for(5000);
  EXPECT_EQ(rows(1), "old settled, ");
  cut(0, 2, false);
  mesh.run_for(150000);  // longer than the answer to a question for rows is awaited
  expect_everywhere("old written before, ");
  EXPECT_TRUE(listed("settled"));
}

// Symptom: a row stayed on a new node that had crashed before its copy. Mechanism: after its start it did not know what
// its other server had got of it, so nothing was given anew. Mend: it is on its disk that nobody has got anything
// (NodeState::joined).
TEST_F(NewNode, ACrashBeforeTheCopyKeepsNothingOnIt) {
  start();
  mesh.add_server(2, 0, "first"), mesh.add_server(2, 1, "second");
  copy();
  mesh.write(2, "old", "written before");
  mesh.write(2, "only here", "v");
  go_on();
  mesh.add_server(1, 2, "second");
  mesh.run_for(35000);
  ASSERT_EQ(mesh.status(2, 1).state, "streaming");
  cut(1, 2);
  mesh.restart(2);
  mesh.add_server(0, 2, "first");
  mesh.run_for(40000);
  cut(1, 2, false);
  mesh.run_for(40000);
  expect_everywhere("old written before, only here v, then v, ");
  EXPECT_TRUE(listed("settled"));
}

// Node::Impl::keep_what_others_lack.
TEST_F(NewNode, WhatMayHaveBeenTakenBeforeTheCopyIsHandedOn) {
  start();
  mesh.add_server(2, 0, "first"), mesh.add_server(2, 1, "second");
  mesh.write(2, "only here", "v");
  go_on();
  WithoutDocuments first(mesh, 0, 2), second(mesh, 1, 2);
  mesh.network.attach(0, &first), mesh.network.attach(1, &second);
  mesh.add_server(0, 2, "first"), mesh.add_server(1, 2, "second");
  mesh.run_for(35000);
  copy();
  mesh.run_for(40000);
  first.unheard = second.unheard = mesh.nodes.size();
  mesh.run_for(40000);
  expect_everywhere("old settled, only here v, then v, ");
}

// Core::truncates_of_nothing_else.
TEST_F(NewNode, ATruncateBeforeTheCopyEmptiesNothingElse) {
  start();
  mesh.link(0, 2);
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull"})");
  mesh.write(2, "came and went", "v");
  truncate(2);
  mesh.write(2, "only here", "v");
  mesh.run_for(20000);
  expect_everywhere("old settled, only here v, ");
}

// Symptom: a row had a value of another row. Mechanism: a new server had inserted under a number that the others had;
// of their row, which it had never had, an edit came without a big value that had settled, and what stood in the table
// was taken for it. Mend: a value that was left out is asked for unless the row itself is here (Applier::lacks_values).
TEST_F(NewNode, AValueThatWasLeftOutIsNotTakenFromAnotherRow) {
  Table table;
  table.wire_name = "letters";
  table.columns = {{"id", ColumnType::integer, "bigint", true, false},
                   {"text", ColumnType::text, "text", false, false},
                   {"state", ColumnType::text, "text", false, false}};
  table.key = {0};
  table.integer_key = true;
  for (auto& store : mesh.stores) store->create_table(table);
  std::string text(limits::omitted_value_bytes + 1, 'a'), other(limits::omitted_value_bytes + 1, 'b');
  Row key = {Value::of_integer(1)};
  auto write = [&](std::size_t at, const std::string& body, const char* state, bool is_new) {
    Row row = {key[0], Value::of_text(body), Value::of_text(state)};
    mesh.stores[at]->begin_local();
    is_new ? mesh.stores[at]->insert("letters", row) : mesh.stores[at]->update("letters", key, row);
    mesh.stores[at]->commit_local();
  };
  write(0, text, "new", true);
  start();
  mesh.add_server(2, 0, "new");
  write(2, other, "own", true);
  write(0, text, "sent", false);
  mesh.add_server(0, 2, "new");
  mesh.run_for(10000);
  auto& letters = mesh.stores[2]->rows("letters");
  ASSERT_TRUE(letters.contains(encode_key(key)));
  EXPECT_EQ(letters.at(encode_key(key)).values[1].text.front(), 'a');
}

// Node::Impl::put_off.
TEST(NewNodeClock, ItsCopyWaitsForAClockThatIsAhead) {
  Lab lab;
  run_two(lab);
  lab.add(uuid_c, 0xc);
  lab.link(0, 2), lab.link(2, 0);
  lab.start(2);
  lab.run_for(2000);
  lab.set_clock(0, 150'000);
  MemoryStore& fresh = *lab.node(2).store;
  fresh.request("copy", R"({"server":"to 0","direction":"pull"})");
  lab.run_for(8000);
  EXPECT_EQ(fresh.requests().size(), 1u);
  EXPECT_EQ(lab.rows(2), 0u);
  lab.set_clock(0, 0);
  lab.run_for(60'000);
  EXPECT_EQ(fresh.requests().size(), 0u);
  EXPECT_EQ(lab.rows(2), 1u);
}

// Symptom: a value was lost without a trace when a server was added. Mechanism: the clock of the server that it was
// copied from was ahead, and between two pieces of the copy the new one took that for a wrong time of its own: what it
// had taken for settled with the first piece counted as forgotten alone and went back, so the copy ended; and what was
// written from then on was older than what the others had forgotten, and counted there as the row that they had. Mend:
// nothing goes back below the clock of the source (NodeState::source_clock).
TEST(NewNodeClock, WhatItsSourceHasForgottenIsNoWrongTime) {
  constexpr std::uint64_t listened_to_ms = 55'000;
  Lab lab;
  run_two(lab);
  Table more;
  more.wire_name = "more";
  more.columns = {{"id", ColumnType::text, "text", true, false}, {"v", ColumnType::integer, "integer", false, false}};
  more.key = {0};
  lab.add(uuid_c, 0xc);
  for (std::size_t i : {0, 1, 2}) lab.node(i).store->create_table(more);
  for (std::size_t i : {0, 1}) lab.link(i, 2), lab.link(2, i);
  auto write = [&](std::size_t i, std::int64_t v) {
    MemoryStore& store = *lab.node(i).store;
    Value values[] = {Value::of_text("its key"), Value::of_integer(v)};
    store.begin_local(), store.insert("more", values), store.commit_local();
    lab.node(i).wake_ms = 0;
  };
  lab.set_clock(0, listened_to_ms);
  write(0, 4711);
  lab.run_for(5000);
  lab.set_clock(0, 0);
  bool one_piece = true;
  Between at_a(lab, 0, [&](const HttpRequest& head) {
    return one_piece && head.path == "/rowmesh/v1/rows" && head.query.find(bytes_to_hex("more")) != std::string::npos;
  });
  MemoryStore& fresh = *lab.node(2).store;
  fresh.request("copy", R"({"server":"to 0","direction":"pull"})");
  lab.start(2);
  while (lab.rows(2) == 0) lab.run_for(1);
  lab.run_for(5000);
  write(2, 1000);
  one_piece = false;
  lab.run_for(60'000);
  std::string losers;
  for (std::size_t i : {0, 1, 2}) {
    for (auto& conflict : lab.node(i).store->conflicts()) losers += conflict.loser;
    for (auto& [key, row] : lab.node(i).store->rows("more")) EXPECT_EQ(row.values[1].integer, 1000) << i;
    EXPECT_EQ(lab.rows(i), 1u) << i;
  }
  EXPECT_NE(losers.find("4711"), std::string::npos) << "what it replaced is listed";
}

// Core::rebase, end_what_was_truncated.
TEST(GivenAnew, WhatSomebodyElseTruncatedStaysDead) {
  NodePair pair{1};
  MemoryStore& store = *pair.stores[0];
  Core core(
      NodeServices{store, pair.wall, pair.random, pair.network.client(0), [](char, const std::string&) {}, [] {}});
  core.load_history();
  pair.write(0, "k", "v");
  core.cut_alone();
  Key key = encode_key(Row{Value::of_text("k")});
  TableId table = store.table("items").id;
  ASSERT_NE(core.window.find(table, key), nullptr);
  Version truncated{store.clock().now() + 1, 7};
  core.state.truncates[table] = truncated;
  core.rebase(truncated.hlc);
  const RowState& state = core.window.find(table, key)->state;
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_GT(state.lives[0].birth, truncated);
  EXPECT_TRUE(state.lives[0].dead(core.state.truncated(table)));
}

// (copying_answers.cpp, Node::Impl::take_up_asked_copies)
TEST_F(NewNode, ACopyThatItWasAskedToTakeIsTakenAfterACrash) {
  start_and_meet();
  WithoutDocuments without_rows(mesh, 0, 2, "/rowmesh/v1/rows");
  mesh.network.attach(0, &without_rows);
  ask_for_copy();
  mesh.run_for(10000);
  ASSERT_TRUE(mesh.stores[0]->requests().empty()) << "it has been told that its rows are wanted";
  ASSERT_EQ(mesh.rows(2), 0u);
  mesh.restart(2);
  mesh.network.attach(0, mesh.nodes[0].get());
  mesh.run_for(60000);
  ASSERT_EQ(rows(2), "old settled, ");
  mesh.stores[2]->begin_local();
  mesh.stores[2]->remove("items", std::vector<Value>{Value::of_text("old")});
  mesh.stores[2]->commit_local();
  mesh.restart(2);
  mesh.run_for(60000);
  EXPECT_EQ(rows(2), "") << "and once only";
}

// Symptom: a server's state grew with each copy that it was asked to take while it could not. Mechanism: the same wish
// was noted as often as it came. Mend: once.
TEST_F(NewNode, TheSameCopyIsNotedOnce) {
  start_and_meet();
  WithoutDocuments without_rows(mesh, 0, 2, "/rowmesh/v1/rows");
  mesh.network.attach(0, &without_rows);
  for (int i = 0; i < 5; i++) {
    ask_for_copy();
    mesh.run_for(5000);
  }
  ASSERT_TRUE(mesh.stores[0]->requests().empty());
  EXPECT_EQ(NodeState::decode(mesh.stores[2]->stored_state()).asked_copies.size(), 1u);
}

// (copying.cpp, Node::Impl::go_on_copying)
TEST_F(NewNode, IsAskedToTakeACopyUntilItAnswers) {
  start_and_meet();
  mesh.network.cut(0, 2, true);
  ask_for_copy();
  mesh.run_for(130000);  // longer than it waits for an answer
  mesh.network.cut(0, 2, false);
  mesh.run_for(60000);
  EXPECT_EQ(rows(2), "old settled, ");
}

// (match.cpp, match_settled)
TEST_F(NewNode, WhatItHeardToBeRemovedDoesNotComeBackWithACopyOfWhoHasNotHeardOfThat) {
  start();
  mesh.link(0, 2), mesh.link(1, 2);
  mesh.run_for(5000);
  go_on();
  ASSERT_EQ(rows(2), "then v, ");
  WithoutDocuments apart(mesh, 0, 1);
  mesh.network.attach(0, &apart);
  mesh.stores[1]->begin_local();
  mesh.stores[1]->remove("items", std::vector<Value>{Value::of_text("old")});
  mesh.stores[1]->commit_local();
  mesh.run_for(5000);
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull","on_existing":"newer"})");
  mesh.run_for(20000);
  mesh.network.attach(0, mesh.nodes[0].get());
  mesh.run_for(40000);
  expect_everywhere("then v, ");
}

// Applier::name_own_life.
TEST(NewNodeWithNumbers, ItsSettledRowIsNotTakenForTheOneThatHadItsNumberBefore) {
  NodePair pair;
  for (auto& store : pair.stores) create_family(*store);
  auto insert = [&](std::size_t at, const char* a) {
    pair.stores[at]->begin_local();
    pair.stores[at]->insert("parent", parent(1, a));
    pair.stores[at]->commit_local();
  };
  pair.start();
  insert(0, "before");
  pair.run_for(10000);
  pair.link(0, 1);
  insert(1, "new");
  pair.run_for(10000);
  ASSERT_EQ(pair.nodes[1]->status().unsettled, 0u);
  ASSERT_EQ(pair.stores[1]->rows("parent").size(), 1u) << "it has not heard of the other one";
  pair.stores[1]->request("copy", R"({"server":"node0","direction":"pull"})");
  pair.run_for(20000);
  for (auto& store : pair.stores) {
    std::string rows;
    for (auto& [key, row] : store->rows("parent")) rows += key_to_text(key) + std::string(row.values[1].text) + " ";
    EXPECT_EQ(rows, "1before 2new ");
  }
}

// (requests.cpp, Node::Impl::in_transaction). Node 2 comes between 0 and 1, which part then; one of its commits
// fails once the first rows are there.
class NewNodeOfWhichACommitFails : public NewNode, public ::testing::WithParamInterface<int> {
 protected:
  void part(std::size_t at, std::size_t other) {
    for (const ServerConfig& server : mesh.stores[at]->servers())
      if (server.url == SimulatedNetwork::url(other)) return mesh.stores[at]->remove_server(server.id);
  }
};

TEST_P(NewNodeOfWhichACommitFails, WhatItCopiedIsHandedOn) {
  start();
  cut(0, 1);
  mesh.write(0, "fresh", "v");
  mesh.run_for(5000);
  int commits = 0;
  mesh.stores[2]->on_point = [&](Point point) {
    if (point == Point::before_commit && mesh.rows(2) > 0 && commits++ == GetParam())
      throw Error(ErrorKind::transient, "40001", "could not serialize access");
  };
  mesh.link(0, 2), mesh.link(1, 2);
  copy();
  mesh.run_for(30000);
  ASSERT_EQ(rows(2), "fresh v, old settled, ");
  ASSERT_GT(commits, GetParam());
  part(0, 1), part(1, 0);
  mesh.run_for(60000);
  expect_everywhere("fresh v, old settled, ");
}
INSTANTIATE_TEST_SUITE_P(First, NewNodeOfWhichACommitFails, ::testing::Range(0, 5));

}  // namespace
}  // namespace rowmesh::testing
