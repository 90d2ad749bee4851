// Who has nothing begins with a copy of the first server that has something, by itself (shared/sync/joining.cpp).
// Everything at once: rowmesh_sim --with join,first.
#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// Counts how often a node is asked for a piece of a copy, and by whom.
class CountsPieces : public WithoutDocuments {
 public:
  CountsPieces(NodePair& all, std::size_t here) : WithoutDocuments(all, here, all.stores.size()) {}
  HttpResponse handle(const HttpRequest& request) override {
    if (request.path == "/rowmesh/v1/rows") pieces++;
    return WithoutDocuments::handle(request);
  }
  int pieces = 0;
};

// 0 and 1 have rows and have forgotten that they wrote them; 2 and 3 are new.
class FirstCopy : public ::testing::Test {
 protected:
  void start() {
    mesh.first_copies = true;
    mesh.link(0, 1);
    mesh.start();
    mesh.write(0, "edited", "v"), mesh.write(0, "removed", "v");
    mesh.run_for(10000);
    ASSERT_EQ(mesh.nodes[1]->status().unsettled, 0u);
    mesh.network.attach(0, &counter);
  }
  void change(std::size_t at, const std::string& key, const std::string& value) {
    std::vector<Value> row = {Value::of_text(key), Value::of_text(value)};
    mesh.stores[at]->begin_local();
    mesh.stores[at]->update("items", {row.data(), 1}, row);
    mesh.stores[at]->commit_local();
  }
  void remove(std::size_t at, const std::string& key) {
    Value value = Value::of_text(key);
    mesh.stores[at]->begin_local();
    mesh.stores[at]->remove("items", {&value, 1});
    mesh.stores[at]->commit_local();
  }
  std::string rows(std::size_t at) const { return mesh.text_of_rows(at); }
  void cut(std::size_t one, std::size_t other, bool is_cut = true) { mesh.cut(one, other, is_cut); }
  NodePair mesh{4};
  CountsPieces counter{mesh, 0};
};

TEST_F(FirstCopy, WhoHasNothingTakesWhatAServerHas) {
  start();
  mesh.link(0, 2);
  mesh.run_for(5000);
  EXPECT_EQ(rows(2), "edited v, removed v, ");
  EXPECT_EQ(counter.pieces, 1);
  EXPECT_EQ(mesh.status(2).state, "streaming");
}

// Symptom: a row that had been deleted was on a new server, for ever. Mechanism: one server's edit brought the whole
// row; another one had deleted it before it met the new one, which so heard of no deletion.
TEST_F(FirstCopy, WhatAnEditBringsAndAnotherServerDeletesIsGone) {
  start();
  cut(0, 1);
  remove(1, "removed");
  change(0, "removed", "of 0"), change(0, "edited", "of 0");
  mesh.link(0, 2);
  mesh.run_for(3000);
  EXPECT_EQ(rows(2), "edited of 0, removed of 0, ");
  cut(0, 1, false);
  mesh.run_for(30000);
  mesh.link(1, 2);
  mesh.run_for(30000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "edited of 0, ") << at;
}

// What is written to it from the beginning is shipped after the copy, and to nobody before.
TEST_F(FirstCopy, MayBeWrittenToFromTheBeginning) {
  start();
  mesh.link(1, 2);
  mesh.write(2, "mine", "v");
  cut(1, 2);
  mesh.run_for(3000);
  mesh.link(0, 2);
  mesh.write(2, "edited", "of 2");
  mesh.run_for(60000);
  cut(1, 2, false);
  mesh.run_for(60000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "edited of 2, mine v, removed v, ") << at;
}

// Rows of before are a person's: which of two databases that have some is right only he can say.
TEST_F(FirstCopy, WhoHasRowsOfBeforeTakesNone) {
  mesh.write(2, "old", "of 2");
  start();
  mesh.run_for(10000);
  mesh.link(0, 2);
  mesh.run_for(10000);
  EXPECT_EQ(counter.pieces, 0);
  EXPECT_EQ(rows(2), "old of 2, ");
  EXPECT_EQ(mesh.status(2).state, "streaming");
}

// Node::Impl::note_rows_of_before.
TEST_F(FirstCopy, WhereBothHaveRowsTheStatusSaysThatTheyWereNotCompared) {
  mesh.write(2, "old", "of 2");
  start();
  mesh.run_for(10000);
  mesh.link(0, 2), mesh.link(0, 3);
  mesh.run_for(10000);
  EXPECT_TRUE(mesh.status(2).progress.starts_with("both had rows")) << mesh.status(2).progress;
  EXPECT_EQ(mesh.status(3).progress, "copied: 2 rows") << "a new one has copied";
  for (auto& server : mesh.nodes[0]->status().servers) EXPECT_EQ(server.progress, "") << "it had met others before";
  mesh.restart(2);
  mesh.run_for(10000);
  EXPECT_TRUE(mesh.status(2).progress.starts_with("both had rows")) << mesh.status(2).progress;
  mesh.stores[2]->request("verify", R"({"server":"node0","on_existing":"verify"})");
  mesh.run_for(60000);
  EXPECT_EQ(mesh.status(2).progress,
            "verified: 2 rows compared, 0 differ, 2 only there, 1 only here; see conflicts for them");
}

TEST_F(FirstCopy, NobodyTakesOneWhoIsNotToOrOfWhoHasNothing) {
  start();
  mesh.link(2, 3);
  mesh.run_for(5000);
  mesh.write(2, "new", "v");
  mesh.run_for(5000);
  EXPECT_EQ(rows(3), "new v, ");
  mesh.first_copies = false;
  mesh.link(0, 3);
  mesh.run_for(10000);
  EXPECT_EQ(counter.pieces, 0);
}

// Symptom: of two new servers one lacked what the third had. Mechanism: they met each other first, and what one of them
// had written made the other one a server like any other. Mend: nothing is taken or shipped before each server was
// asked for a copy, or is not there.
TEST_F(FirstCopy, OfTwoNewOnesThatMeetEachOtherFirstBothTakeOne) {
  start();
  mesh.write(2, "of 2", "v"), mesh.write(3, "of 3", "v");
  mesh.network.weather.latency_ms = 400;
  mesh.link(2, 3), mesh.link(0, 2), mesh.link(0, 3);
  mesh.run_for(60000);
  for (std::size_t at : {0, 1, 2, 3}) EXPECT_EQ(rows(at), "edited v, of 2 v, of 3 v, removed v, ") << at;
}

// Symptom: nobody took what two new servers wrote, for ever. Mechanism: they had met each other before they had
// anything, and then each took over what their source had forgotten, which was newer than what they had heard of each
// other; so the documents of both were stale, and what each would have heard of the other came in them. Mend: what is
// forgotten up to there came with the copy, so a document is not of before it (make_header).
TEST_F(FirstCopy, OfTwoNewOnesThatHadMetBeforeBothAreHeard) {
  start();
  mesh.link(2, 3);
  mesh.run_for(10000);
  mesh.write(0, "later", "v");
  mesh.run_for(10000);
  mesh.link(0, 2), mesh.link(0, 3);
  mesh.run_for(1000);
  mesh.write(2, "of 2", "v"), mesh.write(3, "of 3", "v");
  mesh.run_for(60000);
  for (std::size_t at : {0, 1, 2, 3}) EXPECT_EQ(rows(at), "edited v, later v, of 2 v, of 3 v, removed v, ") << at;
}

// A set-up that asks for what happens anyway does not have it done twice.
TEST_F(FirstCopy, IsTheOneThatAPersonAsksFor) {
  start();
  mesh.lines.clear();
  mesh.link(0, 2);
  auto begins = [](const std::string& line) { return line.starts_with("this database is new"); };
  while (std::none_of(mesh.lines.begin(), mesh.lines.end(), begins)) mesh.run_for(10);
  cut(0, 2);
  mesh.stores[0]->request("copy", R"({"server":"node2","direction":"push"})");
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull","on_existing":"newer"})");
  mesh.run_for(1000);
  cut(0, 2, false);
  mesh.run_for(200000);
  EXPECT_EQ(rows(2), "edited v, removed v, ");
  EXPECT_EQ(std::count(mesh.lines.begin(), mesh.lines.end(), "copy with server 'node0' done: 2 rows"), 1);
  EXPECT_TRUE(mesh.stores[0]->requests().empty() && mesh.stores[2]->requests().empty());
}

TEST_F(FirstCopy, ThatEndedEarlyIsTakenAgain) {
  start();
  auto call_column = [&](const char* name) {
    mesh.stores[2]->alter_table("items", [&](Table& table) { table.columns[1].name = name; });
  };
  call_column("w");
  mesh.link(0, 2);
  mesh.run_for(20000);
  EXPECT_EQ(rows(2), "");
  EXPECT_NE(mesh.status(2).last_error + mesh.status(2).progress, "");
  call_column("v");
  mesh.run_for(20000);
  EXPECT_EQ(rows(2), "edited v, removed v, ");
}

// Node::Impl::foreign_entries.
TEST_F(FirstCopy, WhatCameOfAServerThatIsGoneSinceComesToAll) {
  start();
  cut(0, 1), cut(1, 2);
  change(0, "edited", "of 0");
  std::int64_t to_2 = mesh.add_server(0, 2, "secret");
  mesh.stores[0]->change_server(to_2, [](ServerConfig& config) { config.options.batch_rows = 1; });
  std::int64_t to_0 = mesh.add_server(2, 0, "secret");
  mesh.link(1, 2);
  while (rows(2).empty()) mesh.run_for(1);
  mesh.network.attach(0, nullptr);
  mesh.run_for(1000);
  ASSERT_EQ(rows(2), "edited of 0, ");
  mesh.stores[2]->remove_server(to_0);
  mesh.stores[1]->remove_server(mesh.stores[1]->servers().front().id);
  cut(1, 2, false);
  mesh.run_for(200000);
  for (std::size_t at : {1, 2}) EXPECT_EQ(rows(at), "edited of 0, removed v, ") << at;
}

// Core::rebase.
TEST_F(FirstCopy, ATransactionThatWasOpenBeforeHoldsNothingUp) {
  mesh.first_copies = true;
  mesh.write(2, "alone", "v");
  mesh.link(0, 1);
  mesh.start();
  mesh.stores[0]->begin_local();
  std::vector<Value> row = {Value::of_text("open"), Value::of_text("v")};
  mesh.stores[0]->insert("items", row);
  std::uint64_t open = mesh.stores[0]->prepare_local();
  mesh.run_for(10000);
  mesh.link(0, 2);
  mesh.run_for(10000);
  mesh.write(1, "later", "v");
  mesh.run_for(10000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "alone v, later v, ") << at;
  mesh.stores[0]->commit_prepared(open);
  mesh.run_for(10000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "alone v, later v, open v, ") << at;
}

// Symptom: a new server stood still, as if it had been put back to an older state. Mechanism: it had written and
// deleted something and had forgotten both, alone; then its copy took it back to what the others had forgotten, and
// what it called its newest was nowhere any more. Mend: that goes back as well (Node::Impl::give_anew_what_nobody_has).
TEST_F(FirstCopy, WhatWasWrittenAndForgottenAloneIsNotMissed) {
  start();
  mesh.write(2, "gone", "v");
  remove(2, "gone");
  mesh.run_for(10000);
  ASSERT_EQ(mesh.nodes[2]->status().unsettled, 0u);
  mesh.link(0, 2);
  mesh.run_for(10000);
  EXPECT_EQ(mesh.nodes[2]->status().identity, "");
  mesh.write(2, "new", "v");
  mesh.run_for(10000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "edited v, new v, removed v, ") << at;
}

// Node::Impl::hand_on_again: nobody else has what its source wrote after the copy had begun, and which a piece brought.
TEST_F(FirstCopy, WhatCameAfterItsBeginOfAServerThatIsGoneComesToAll) {
  start();
  mesh.link(1, 2);
  cut(1, 2);
  std::int64_t to_2 = mesh.add_server(0, 2, "secret");
  mesh.stores[0]->change_server(to_2, [](ServerConfig& config) { config.options.batch_rows = 1; });
  WithoutDocuments deaf(mesh, 2, 0);
  mesh.network.attach(2, &deaf);
  std::int64_t to_0 = mesh.add_server(2, 0, "secret");
  while (rows(2).empty()) mesh.run_for(1);
  WithoutDocuments no_pieces(mesh, 0, 2, "/rowmesh/v1/rows");
  mesh.network.attach(0, &no_pieces);
  mesh.run_for(3000);  // 1 gets all up to where the copy began
  cut(0, 1);
  change(0, "removed", "of 0");
  mesh.network.attach(0, mesh.nodes[0].get());
  while (rows(2) != "edited v, removed of 0, ") mesh.run_for(1);
  mesh.run_for(100);
  cut(0, 2);
  mesh.stores[2]->remove_server(to_0);
  mesh.stores[1]->remove_server(mesh.stores[1]->servers().front().id);
  cut(1, 2, false);
  mesh.run_for(20000);
  EXPECT_EQ(rows(1), "edited v, removed of 0, ");
  EXPECT_EQ(mesh.nodes[2]->status().unsettled, 0u);
}

// Node::Impl::look_for_base.
TEST_F(FirstCopy, IsTakenToItsEndAfterACrash) {
  start();
  std::int64_t to_2 = mesh.add_server(0, 2, "secret");
  mesh.stores[0]->change_server(to_2, [](ServerConfig& config) { config.options.batch_rows = 1; });
  mesh.add_server(2, 0, "secret");
  while (rows(2).empty()) mesh.run_for(1);
  mesh.restart(2);
  remove(0, "edited");
  mesh.run_for(200000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "removed v, ") << at;
}

// Symptom: rows of a server that had left were on one of three alone. Mechanism: a new server had begun its first copy
// with one that had forgotten who wrote a row, and took it to its end with one that had not; it took that one's G, so
// the row that was there already and the one that came were two. Mend: only the first piece says what it forgot alone.
TEST_F(FirstCopy, IsTakenToItsEndWithAnotherThatForgetsLater) {
  start();
  mesh.write(0, "a row", "v");
  while (rows(1) != "a row v, edited v, removed v, ") mesh.run_for(1);
  mesh.run_for(300);
  mesh.network.cut(0, 1, true);  // which has confirmed the row, and is not told that all have
  mesh.run_for(5000);
  ASSERT_EQ(mesh.nodes[0]->status().unsettled, 0u);
  ASSERT_EQ(mesh.nodes[1]->status().unsettled, 1u);
  mesh.add_server(2, 0, "secret");
  std::int64_t to_2 = mesh.add_server(0, 2, "secret");
  mesh.stores[0]->change_server(to_2, [](ServerConfig& config) { config.options.batch_rows = 1; });
  while (rows(2) != "a row v, ") mesh.run_for(1);
  cut(0, 2);
  mesh.link(1, 2);
  mesh.restart(2);
  mesh.run_for(20000);
  EXPECT_EQ(mesh.nodes[2]->status().side_rows, 0u);
  mesh.network.heal();
  mesh.run_for(40000);
  remove(1, "a row");
  mesh.run_for(20000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "edited v, removed v, ") << at;
}

// It is killed in the middle of it.
TEST_F(FirstCopy, IsTakenAfterACrash) {
  start();
  mesh.link(0, 2);
  mesh.write(2, "mine", "v");
  while (counter.pieces == 0) mesh.run_for(10);
  mesh.restart(2);
  mesh.run_for(60000);
  for (std::size_t at : {0, 1, 2}) EXPECT_EQ(rows(at), "edited v, mine v, removed v, ") << at;
}

}  // namespace
}  // namespace rowmesh::testing
