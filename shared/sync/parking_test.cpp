// Tables that do not fit, and values that were left out: a few nodes over memory stores, without faults.
#include <gtest/gtest.h>

#include "shared/testing/sites.hpp"

namespace rowmesh::testing {
namespace {

const std::string big(5000, 'x');

void put_uncaptured(MemoryStore& store, const char* table, const Row& values) {
  const Table& described = store.table(table);
  const Table* locked = &described;
  store.begin(TransactionKind::write, {&locked, 1});
  Key key = encode_key(std::span(values).first(described.key.size()));
  RowWrite write{WriteKind::insert, key, 0, values, nullptr};
  std::vector<WriteResult> results;
  std::vector<ColumnType> types(described.columns.size(), ColumnType::text);
  store.write_rows(described, types, {&write, 1}, results);
  store.commit();
}

// A row that is here from before and was never copied: its big value has settled, so it is left out when another column
// changes. The receiver, which has no such row, must get it whole, once, and forget nothing of the document.
TEST_F(Sites, ABigValueThatWasLeftOutIsAskedFor) {
  build(2);
  put_uncaptured(*sites_[0]->store, "notes", row("a", "old", big));
  put_uncaptured(*sites_[0]->store, "notes", row("b", "old", big));
  link(0, 1);
  start_all();
  EXPECT_EQ(rows(1, "notes"), "");
  in_local(0, [&](MemoryStore& store) {
    Row a = row("a", "new", big), other = row("c", "with it", "");
    store.update("notes", std::span(a).first(1), a);
    store.insert("other", other);
  });
  run(3000);
  EXPECT_EQ(rows(1, "notes"), "a=new," + big);
  EXPECT_EQ(rows(1, "other"), "c=with it,");
  EXPECT_EQ(sites_[0]->node->status().servers[0].state, "streaming");
  EXPECT_TRUE(sites_[1]->store->conflicts().empty());
}

TEST_F(Sites, ABigValueThatWasLeftOutIsAskedForByAServerThatNobodyReaches) {
  build(2);
  put_uncaptured(*sites_[1]->store, "notes", row("a", "old", big));
  link(0, 1, true);
  start_all();
  update(1, "notes", row("a", "new", big));
  run(30000);
  EXPECT_EQ(rows(0, "notes"), "a=new," + big);
}

TEST_F(Sites, ARenamedColumnParksItsTableOnly) {
  build(2);
  link(0, 1);
  start_all();
  insert(0, "notes", row("a", "1", ""));
  run(2000);
  rename_title(0, "heading");
  update(0, "notes", row("a", "2", ""));
  insert(0, "notes", row("b", "1", ""));
  insert(0, "other", row("o", "1", ""));
  insert(1, "notes", row("c", "1", ""));
  run(5000);
  EXPECT_EQ(rows(1, "notes"), "a=1, c=1,");
  EXPECT_EQ(rows(1, "other"), "o=1,");
  EXPECT_EQ(rows(0, "notes"), "a=2, b=1,");
  EXPECT_EQ(
      waiting(1),
      "notes: table 'notes' has no column 'heading' here, but on the other server: add it here, or drop it there");
  EXPECT_NE(sites_[0]->store->status().servers[0].last_error.find("heading"), std::string::npos);
  remove(0, "notes", "a");
  run(2000);
  rename_title(1, "heading");
  run(15000);
  EXPECT_EQ(rows(0, "notes"), "b=1, c=1,");
  EXPECT_EQ(rows(1, "notes"), "b=1, c=1,");
  EXPECT_EQ(waiting(0) + waiting(1), "");
  EXPECT_EQ(sites_[0]->store->status().servers[0].last_error, "");
}

// Nothing is forgotten while a table waits, be it for hours and over a restart.
TEST_F(Sites, WhatWaitsIsNotForgotten) {
  build(3);
  link(0, 1), link(1, 2), link(0, 2);
  start_all();
  insert(0, "notes", row("a", "1", ""));
  run(5000);
  rename_title(2, "heading");
  remove(0, "notes", "a");
  insert(1, "notes", row("b", "1", ""));
  run(60000);
  EXPECT_EQ(rows(2, "notes"), "a=1,");
  network_.attach(2, nullptr);
  sites_[2]->node.reset();
  sites_[2]->store->crash();
  start(2);
  run(60000);
  rename_title(2, "title");
  run(20000);
  EXPECT_EQ(rows(2, "notes"), "b=1,");
  EXPECT_EQ(waiting(2), "");
}

// In a chain: who is behind a server that cannot take a table gets its changes when that one can.
TEST_F(Sites, ATableThatWaitsInTheMiddleOfAChain) {
  build(3);
  link(0, 1), link(1, 2);
  start_all();
  insert(0, "notes", row("a", "1", ""));
  run(5000);
  rename_title(1, "heading");
  update(0, "notes", row("a", "2", ""));
  insert(0, "notes", row("b", "1", ""));
  insert(0, "other", row("o", "1", ""));
  insert(2, "notes", row("c", "1", ""));
  run(10000);
  EXPECT_EQ(rows(1, "notes"), "a=1,");
  EXPECT_EQ(rows(2, "notes"), "a=1, c=1,");
  EXPECT_EQ(rows(2, "other"), "o=1,");
  EXPECT_EQ(waiting(2).substr(0, 6), "notes:");
  rename_title(1, "title");
  run(30000);
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(rows(i, "notes"), "a=2, b=1, c=1,") << i;
  EXPECT_EQ(waiting(0) + waiting(1) + waiting(2), "");
}

// Symptom: after a new node had come, two servers differed in a table that had waited, and said that its changes were
// here. Mechanism: the new node had copied from the one where it waited, and counted the positions of that one as its
// own, as if it had all up to them. Mend: what waits at the source waits at its new member.
TEST_F(Sites, ACopyFromWhereATableWaitsHasNotAllOfIt) {
  build(3);
  link(0, 1);
  start_all();
  rename_title(0, "heading");
  insert(1, "notes", row("a", "1", ""));
  insert(1, "other", row("o", "1", ""));
  run(5000);
  network_.cut(0, 1, true), network_.cut(1, 0, true);
  rename_title(0, "title");
  auto wait = [&](std::uint64_t ms) {
    for (auto& site : sites_) site->wake_ms = wall_.time_ms;
    run(ms);
  };
  link(2, 0);
  sites_[2]->store->request("copy", R"({"server":"node0","direction":"pull"})");
  wait(5000);
  link(2, 1);
  wait(30000);
  EXPECT_EQ(rows(2, "other"), "o=1,");
  EXPECT_EQ(rows(2, "notes"), "a=1,");
  network_.heal();
  run(60000);
  for (std::size_t i = 0; i < 3; i++) EXPECT_EQ(rows(i, "notes"), "a=1,") << i;
  EXPECT_EQ(waiting(0) + waiting(1) + waiting(2), "");
}

TEST_F(Sites, ATableThatWaitsWhereNobodyReaches) {
  build(2);
  link(0, 1, true);
  start_all();
  rename_title(0, "heading");
  insert(1, "notes", row("a", "1", ""));
  insert(1, "other", row("o", "1", ""));
  run(30000);
  EXPECT_EQ(rows(0, "notes"), "");
  EXPECT_EQ(rows(0, "other"), "o=1,");
  rename_title(0, "title");
  run(40000);
  EXPECT_EQ(rows(0, "notes"), "a=1,");
}

// A column that only one side has: what does not know it must not decide about it.
TEST_F(Sites, AColumnThatOnlyOneSideHasKeepsItsValues) {
  build(2);
  sites_[1]->store->alter_table("notes", [](Table& table) { table.columns.resize(2); });
  link(0, 1);
  start_all();
  insert(1, "notes", {Value::of_text("a"), Value::of_text("1")});
  run(3000);
  EXPECT_EQ(rows(0, "notes"), "a=1,");
  update(0, "notes", row("a", "1", "mine"));
  run(3000);
  EXPECT_EQ(waiting(1).substr(0, 6), "notes:");
  update(1, "notes", {Value::of_text("a"), Value::of_text("2")});
  run(3000);
  EXPECT_EQ(rows(0, "notes"), "a=2,mine");
}

TEST_F(Sites, TypesWithoutCommonValuesParkTheTable) {
  build(2);
  sites_[0]->store->alter_table("notes", [](Table& table) { table.columns[2].type = ColumnType::integer; });
  sites_[1]->store->alter_table("notes", [](Table& table) { table.columns[2].type = ColumnType::bytes; });
  link(0, 1);
  start_all();
  insert(0, "notes", {Value::of_text("a"), Value::of_text("1"), Value::of_null()});
  run(3000);
  EXPECT_EQ(rows(1, "notes"), "");
  EXPECT_NE(waiting(1).find("bytes here and integer"), std::string::npos);
}

void only_notes(ServerConfig& server) {
  server.all_tables = false;
  server.tables = {"notes"};
}

// A chain whose middle gets one table only: it hands nothing on, and holds up nobody's forgetting.
TEST_F(Sites, H8_AServerWithSomeTablesHandsNothingOn) {
  build(3);
  link(0, 1, false, only_notes), link(1, 2);
  start_all();
  insert(0, "notes", row("a", "1", ""));
  insert(0, "other", row("o", "1", ""));
  insert(1, "notes", row("b", "1", ""));
  insert(1, "other", row("p", "1", ""));
  insert(2, "notes", row("c", "1", ""));
  run(20000);
  EXPECT_EQ(rows(1, "notes"), "a=1, b=1, c=1,");
  EXPECT_EQ(rows(1, "other"), "p=1,");
  EXPECT_EQ(rows(0, "notes"), "a=1, b=1,");
  EXPECT_EQ(rows(0, "other"), "o=1,");  // of the excluded table nothing is taken from it either
  EXPECT_EQ(rows(2, "notes"), "b=1, c=1,");
  EXPECT_EQ(rows(2, "other"), "p=1,");
  EXPECT_EQ(sites_[0]->node->status().unsettled, 0u);
  EXPECT_EQ(sites_[1]->node->status().unsettled, 0u);
}

// Nothing was ever forgotten again, anywhere: a table that did not fit on the hub for a while went on waiting on a
// server that does not get it from there, and so confirmed nothing, since the header named it to that server as well.
// And rows that waited were lost: that server told the hub that it brought all of them.
TEST_F(Sites, AServerWithSomeTablesDoesNotWaitForTheOthers) {
  build(3);
  link(0, 1, false, only_notes), link(0, 2);
  start_all();
  rename_title(0, "heading", "other");
  insert(2, "other", row("o", "1", ""));
  insert(2, "notes", row("a", "1", ""));
  run(5000);
  EXPECT_EQ(rows(0, "other"), "");
  EXPECT_EQ(rows(1, "notes"), "a=1,");
  EXPECT_EQ(waiting(1), "");
  rename_title(0, "title", "other");
  run(20000);
  EXPECT_EQ(rows(0, "other"), "o=1,");
  for (auto& site : sites_) EXPECT_EQ(site->node->status().unsettled, 0u);
}

TEST_F(Sites, MoreTablesForAServerComeByACopy) {
  build(2);
  link(0, 1, false, only_notes);
  start_all();
  insert(0, "other", row("o", "1", ""));
  run(3000);
  EXPECT_EQ(rows(1, "other"), "");
  sites_[0]->store->change_server(1, [](ServerConfig& server) { server.tables.insert("other"); });
  sites_[0]->wake_ms = wall_.time_ms;
  run(20000);
  EXPECT_EQ(rows(1, "other"), "o=1,");
}

// Symptom: rows stood still for ever on a server that gets some tables, after it had been put back. Mechanism: it came
// back by a copy of all tables, and of those that it does not get no change ever came after that. Mend: a server says
// which of its tables it exchanges, and only these are copied. (And what the others forgot gives way in all of these,
// whichever come first.)
TEST_F(Sites, AServerWithSomeTablesComesBackWithThese) {
  build(2);
  link(0, 1, false, [](ServerConfig& server) {
    server.all_tables = false;
    server.tables = {"other"};
  });
  start_all();
  insert(0, "notes", row("a", "1", ""));
  insert(0, "other", row("o", "1", ""));
  run(8000);
  auto put_back = sites_[1]->store->backup();
  insert(1, "other", row("lost", "1", ""));
  remove(0, "other", "o");
  run(8000);
  network_.attach(1, nullptr);
  sites_[1]->node.reset();
  put_back();
  start(1);
  run(8000);
  ASSERT_EQ(sites_[1]->node->status().identity, "restored");
  sites_[1]->store->request("new_identity", "restored");
  run(30000);
  EXPECT_EQ(rows(1, "other"), "lost=1,");
  EXPECT_EQ(rows(1, "notes"), "");
}

// It comes back by the copy of one that has all tables (Node::Impl::sources_to_come_back).
TEST_F(Sites, NobodyComesBackByAServerWithSomeTables) {
  build(3);
  link(0, 1, false, only_notes), link(0, 2);
  start_all();
  auto put_back = sites_[0]->store->backup();
  insert(2, "other", row("o", "1", ""));
  insert(0, "notes", row("lost", "1", ""));
  run(20000);
  network_.attach(0, nullptr);
  sites_[0]->node.reset();
  put_back();
  start(0);
  run(8000);
  ASSERT_EQ(sites_[0]->node->status().identity, "restored");
  sites_[0]->store->request("new_identity", "restored");
  run(30000);
  EXPECT_EQ(rows(0, "notes"), "lost=1,");
  EXPECT_EQ(rows(0, "other"), "o=1,");
}

// Nobody takes its changes, so nobody waits to hear from it; what it lacks is kept for it all the same.
TEST_F(Sites, AServerToWhichWeOnlyShipHoldsUpNobody) {
  build(3);
  link(0, 1);
  link(0, 2, false, [](ServerConfig& server) { server.direction = Direction::push; });
  sites_[2]->store->change_server(1, [](ServerConfig& server) { server.direction = Direction::pull; });
  start_all();
  insert(0, "notes", row("a", "1", ""));
  insert(1, "notes", row("b", "1", ""));
  run(20000);
  EXPECT_EQ(rows(2, "notes"), "a=1, b=1,");
  EXPECT_EQ(sites_[0]->node->status().unsettled, 0u);
  EXPECT_EQ(sites_[1]->node->status().unsettled, 0u);
  network_.attach(2, nullptr);
  remove(0, "notes", "a");
  insert(1, "notes", row("c", "1", ""));
  run(60000);
  network_.attach(2, sites_[2]->node.get());
  run(60000);
  EXPECT_EQ(rows(2, "notes"), "b=1, c=1,");
  EXPECT_EQ(sites_[0]->node->status().unsettled, 0u);
}

// Rows that differ for good are counted and listed; a row whose change is on its way is none of them.
TEST_F(Sites, VerifyFindsWhatDiffersAndRepairMendsIt) {
  build(2);
  link(0, 1);
  start_all();
  for (std::size_t i : {0, 1}) put_uncaptured(*sites_[i]->store, "notes", row("same", "1", "1"));
  put_uncaptured(*sites_[0]->store, "notes", row("a", "here", "1"));
  put_uncaptured(*sites_[1]->store, "notes", row("a", "there", "1"));
  put_uncaptured(*sites_[0]->store, "notes", row("b", "only here", ""));
  put_uncaptured(*sites_[1]->store, "notes", row("c", "only there", ""));
  sites_[0]->store->request("verify", R"({"server": "node1", "on_existing": "verify"})");
  for (int i = 0; i < 40; i++) {
    update(i % 2, "notes", row("same", std::to_string(i), "1"));
    run(50);
  }
  run(20000);
  EXPECT_EQ(sites_[0]->store->status().servers[0].progress.substr(0, 77),
            "verified: 3 rows compared, 1 differ, 1 only there, 1 only here; see conflicts");
  ASSERT_EQ(sites_[0]->store->conflicts().size(), 3u);
  EXPECT_TRUE(sites_[0]->store->requests().empty());
  EXPECT_NE(rows(0, "notes"), rows(1, "notes"));
  sites_[0]->store->request("repair", R"({"server": "node1", "on_existing": "repair", "direction": "pull"})");
  run(20000);
  EXPECT_EQ(rows(0, "notes"), "a=there,1 c=only there, same=39,1");
  EXPECT_EQ(rows(1, "notes"), "a=there,1 c=only there, same=39,1");
  put_uncaptured(*sites_[0]->store, "notes", row("d", "wins", ""));
  put_uncaptured(*sites_[1]->store, "notes", row("e", "goes", ""));
  run(20000);
  sites_[0]->store->request("repair", R"({"server": "node1", "on_existing": "repair", "direction": "push"})");
  run(20000);
  EXPECT_EQ(rows(0, "notes"), rows(1, "notes"));
  EXPECT_EQ(rows(0, "notes").find("d=wins"), rows(0, "notes").find("d="));
  EXPECT_EQ(rows(0, "notes").find("e=goes"), std::string::npos);
}

}  // namespace
}  // namespace rowmesh::testing
