// A copy that runs under its original's identity for a while, among servers that leave. In virtual time; with
// everything else breaking as well: rowmesh_sim --with clone.
#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// 0, 1 and 3 have each other; 3 leaves, and 2 is a copy of 0 that runs beside it for a while.
class HistoriesOfFour : public ::testing::Test {
 protected:
  HistoriesOfFour() {
    for (auto [one, other] : {std::pair(0, 1), {0, 3}, {1, 3}}) mesh.link(one, other);
    mesh.start();
    mesh.run_for(5000);
    mesh.write(3, "of who left", "v");
    mesh.run_for(5000);
  }
  void copy() {
    mesh.network.attach(2, nullptr);
    mesh.nodes[2].reset();
    mesh.stores[2]->become_copy_of(*mesh.stores[0], false);
    mesh.start(2);
  }
  void leave(const std::vector<std::size_t>& of) {
    mesh.network.attach(3, nullptr);
    for (std::size_t at : of)
      for (auto& server : mesh.stores[at]->servers())
        if (server.name == "node3") mesh.stores[at]->remove_server(server.id);
  }
  void run_both() {
    mesh.run_for(1000);
    mesh.write(0, "of the original", "v");
    mesh.run_for(10000);
    ASSERT_EQ(mesh.nodes[1]->status().unsettled, 0u);
    mesh.stores[2]->request("new_identity", "copied");
    mesh.run_for(1000);
    mesh.write(2, "of the copy", "v");
    mesh.add_server(1, 2, "01");
    mesh.run_for(20000);
    ASSERT_EQ(mesh.nodes[0]->status().identity, "restored");
    mesh.stores[0]->request("new_identity", "restored");
    mesh.run_for(60000);
    for (std::size_t at : {0, 1, 2}) {
      EXPECT_EQ(mesh.rows(at), 3u) << at;
      EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
    }
  }
  NodePair mesh{4};
};

// Symptom: two that had run under one identity never got on: what the copy shipped was called stale for ever, and the
// original was not told that it needs a new identity. Mechanism: a server had left long before, and was forgotten; but
// while the original's next incarnation is awaited it is not known whom that one has, so nobody counted as removed any
// more, and the copy waited to hear from who had left. Mend: who was found removed stays so until somebody names it
// (NodeState::judge_members).
TEST_F(HistoriesOfFour, WhoHadLeftIsNotAwaitedByACopy) {
  leave({0, 1});
  mesh.run_for(5000);
  copy();
  run_both();
}

// Symptom: as above. Mechanism: that server left when the database had just been copied, so the copy could not find out
// any more. Mend: while it is not known here who is gone, whoever has found that out is believed
// (NodeState::take_members).
TEST_F(HistoriesOfFour, NorWhoLeftJustThen) {
  copy();
  leave({0, 1, 2});
  run_both();
}

// What one of the two did came to server 3 only, or to all but that, and counts as come to all.
class CopiesThatRan : public HistoriesOfFour {
 protected:
  void begin() {
    mesh.write(1, "k", "v");
    mesh.run_for(100);
    copy();
    mesh.run_for(500);
    mesh.cut(2, 1), mesh.cut(2, 3);
  }
  void update(std::size_t at, const char* value) {
    Row row = {Value::of_text("k"), Value::of_text(value)};
    local(at, [&](MemoryStore& store) { store.update("items", Row{Value::of_text("k")}, row); });
  }
  void remove(std::size_t at) {
    local(at, [&](MemoryStore& store) { store.remove("items", Row{Value::of_text("k")}); });
  }
  void local(std::size_t at, const std::function<void(MemoryStore&)>& work) {
    mesh.stores[at]->begin_local();
    work(*mesh.stores[at]);
    mesh.stores[at]->commit_local();
  }
  // For all that it knows the copy may have shipped what it did.
  void settle() {
    mesh.run_for(500);
    mesh.restart(2);
    mesh.write(0, "later", "v");
    mesh.run_for(10000);
  }
  // As if what was done there had not come here, or only here.
  void put_at_3(const char* value) {
    MemoryStore& store = *mesh.stores[3];
    Row row = {Value::of_text("k"), Value::of_text(value)};
    Key key = encode_key(Row{Value::of_text("k")});
    KeyView keys[] = {key};
    std::vector<FoundRow> found;
    std::vector<WriteResult> results;
    store.begin(TransactionKind::write);
    store.find_rows(store.table("items"), keys, found);
    WriteKind kind = found[0].exists ? WriteKind::update : WriteKind::insert;
    RowWrite write{kind, key, found[0].handle, row, nullptr};
    ColumnSet all = ColumnSet::all();
    if (found[0].exists) write.columns = &all;
    store.write_rows(store.table("items"), {2, ColumnType::text}, {&write, 1}, results);
    store.commit();
    ASSERT_EQ(results[0].status, WriteResult::ok);
  }
  void expect_after_a_new_identity(const std::string& rows) {
    mesh.cut(2, 1, false), mesh.cut(2, 3, false);
    mesh.stores[2]->request("new_identity", "copied");
    mesh.run_for(1000);
    mesh.add_server(1, 2, "01");
    mesh.run_for(60000);
    for (std::size_t at : {1u, 2u, 3u}) EXPECT_EQ(mesh.text_of_rows(at), rows + "later v, of who left v, ") << at;
  }
};

// (Applier::end_everywhere)
TEST_F(CopiesThatRan, WhatIsGoneAtTheSourceIsDeletedEverywhere) {
  begin();
  remove(0);
  settle();
  put_at_3("v");
  expect_after_a_new_identity("");
}

// (Applier::name_again)
TEST_F(CopiesThatRan, WhatIsAnotherAtTheSourceIsSoEverywhere) {
  begin();
  update(2, "of the copy");
  settle();
  put_at_3("of the copy");
  expect_after_a_new_identity("k v, ");
}

// (Applier::name_again)
TEST_F(CopiesThatRan, WhatItDeletedAndTheSourceHasIsDeletedEverywhere) {
  mesh.write(1, "k", "w");
  mesh.write(3, "k", "v");
  mesh.run_for(2000);
  ASSERT_FALSE(mesh.stores[1]->load_side().empty()) << "two lives, which all know by their births";
  copy();
  mesh.run_for(500);
  mesh.cut(2, 1), mesh.cut(2, 3);
  remove(2);
  settle();
  expect_after_a_new_identity("");
}

}  // namespace
}  // namespace rowmesh::testing
