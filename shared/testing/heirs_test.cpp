// What one that is gone for good left under a number of two, and what it referred to: its heir sees to that.
#include <gtest/gtest.h>

#include "shared/sync/node_state.hpp"
#include "shared/testing/membership.hpp"

namespace rowmesh::testing {
namespace {

Row parent(std::int64_t id, const char* name) { return {Value::of_integer(id), Value::of_text(name)}; }

class Gone : public Membership {
 protected:
  Gone() {
    Table parents;
    parents.wire_name = "parents";
    parents.columns = {{"id", ColumnType::integer, "integer", true, false},
                       {"name", ColumnType::text, "text", false, false}};
    parents.key = {0};
    parents.integer_key = true;
    Table children;
    children.wire_name = "children";
    children.columns = {{"code", ColumnType::text, "text", true, false},
                        {"parent", ColumnType::integer, "integer", false, false}};
    children.key = {0};
    for (auto& store : mesh.stores) {
      children.references = {{1, store->create_table(parents).id}};
      store->create_table(children);
    }
  }
  void insert(std::size_t at, const std::string& table, const Row& row) {
    mesh.stores[at]->begin_local();
    mesh.stores[at]->insert(table, row);
    mesh.stores[at]->commit_local();
  }
  // All are linked; then the first is cut off, and writes the older row.
  void older_one_apart() {
    link_all();
    mesh.start();
    mesh.run_for(5000);
    for (std::size_t other : {1u, 2u}) mesh.network.cut(0, other, true), mesh.network.cut(other, 0, true);
    insert(0, "parents", parent(1, "older"));
  }
  std::string name_of(std::size_t at, std::int64_t id) {
    auto row = mesh.stores[at]->rows("parents").find(encode_key(Row{Value::of_integer(id)}));
    return row == mesh.stores[at]->rows("parents").end() ? "" : std::string(row->second.values[1].text);
  }
};

// Symptom: a row was moved twice, and references of its own node named one of the two that came of it. Mechanism: a
// link was replaced by another one; the server that had given it up judged by what the others had announced before the
// new one was there, took the member for gone, and did for it what it did itself. Mend: others are believed when they
// have spoken since somebody had a server less (NodeState::fewer_since).
TEST_F(Gone, WhoIsLinkedElsewhereBeforeItIsUnlinkedIsNotGone) {
  WithoutDocuments deaf_heir(mesh, 0, 3), deaf_owner(mesh, 2, 3);
  mesh.handlers[0] = &deaf_heir, mesh.handlers[2] = &deaf_owner;
  for (auto [at, to] : {std::pair{1u, 0u}, {0u, 1u}, {0u, 2u}, {2u, 0u}}) mesh.add_server(at, to, "chain");
  mesh.start();
  mesh.run_for(5000);
  deaf_owner.unheard = 0;
  insert(1, "parents", parent(1, "older"));
  mesh.run_for(3000);
  deaf_heir.unheard = 1;
  mesh.network.cut(1, 2, true), mesh.network.cut(2, 1, true);
  mesh.add_server(1, 2, "direct"), mesh.add_server(2, 1, "direct");
  insert(2, "parents", parent(1, "younger"));
  insert(2, "children", Row{Value::of_text("c"), Value::of_integer(1)});
  while (mesh.stores[0]->rows("children").empty()) mesh.run_for(10);
  unlink(0, 2), unlink(2, 0);
  mesh.run_for(20000);
  EXPECT_EQ(name_of(0, 2), "") << "moved by another than its own node";
  deaf_heir.unheard = deaf_owner.unheard = 3;
  mesh.network.heal();
  mesh.run_for(60000);
  for (std::size_t at : {0u, 1u, 2u}) {
    EXPECT_EQ(mesh.stores[at]->rows("parents").size(), 2u) << at;
    EXPECT_EQ(name_of(at, mesh.stores[at]->rows("children").begin()->second.values[1].integer), "younger") << at;
  }
}

// Symptom: a row stood under two numbers while a run went on. Mechanism: a server had crashed before it was on its disk
// that it had met the others, and announced those that it had met again; one that it had not was taken for gone behind
// it, and its row was moved by its heir as well. Mend: who has not met all of its servers does not say whom it has.
// Here it has got another one, which has the one that it gave up.
TEST(Members, WhoMayBeBehindAServerThatWasNotMetIsNotGone) {
  NodePair chain{4};
  chain.link(0, 1), chain.link(1, 2), chain.link(0, 3);
  chain.start();
  chain.run_for(5000);
  auto gone = [&] { return NodeState::decode(chain.stores[2]->stored_state()).members.at(100).away(); };
  chain.network.cut(1, 3, true), chain.network.cut(3, 1, true);
  chain.link(1, 3);
  auto unlink = [&](std::size_t at, const std::string& from) {
    for (auto& server : chain.stores[at]->servers())
      if (server.name == from) chain.stores[at]->remove_server(server.id);
  };
  unlink(1, "node0"), unlink(0, "node1");
  chain.write(1, "k", "v");
  chain.run_for(20000);
  ASSERT_EQ(chain.rows(2), 1u);
  EXPECT_FALSE(gone());
  chain.network.heal();
  chain.run_for(60000);
  EXPECT_FALSE(gone());
  for (std::size_t at = 0; at < 4; at++) {
    EXPECT_EQ(chain.rows(at), 1u) << at;
    EXPECT_EQ(chain.nodes[at]->status().unsettled, 0u) << at;
  }
}

// What the gone one wrote to a row of somebody else who is still there (Node::Impl::note_what_the_gone_left).
TEST_F(Gone, H12b_AnHeirTakesAlongWhatTheGoneOneReferredTo) {
  older_one_apart();
  mesh.run_for(3000);
  insert(2, "parents", parent(1, "younger"));
  while (name_of(1, 1).empty()) mesh.run_for(10);
  mesh.run_for(2000);
  insert(1, "children", Row{Value::of_text("c"), Value::of_integer(1)});
  while (mesh.stores[2]->rows("children").empty()) mesh.run_for(10);
  mesh.network.attach(1, nullptr);
  mesh.network.heal();
  mesh.run_for(60000);
  ASSERT_EQ(name_of(0, 2), "younger");
  unlink(0, 1), unlink(2, 1);
  mesh.run_for(20000);
  for (std::size_t at : {0u, 2u}) {
    EXPECT_EQ(mesh.stores[at]->rows("children").begin()->second.values[1].integer, 2) << at;
    EXPECT_EQ(unsettled(at), 0u) << at;
  }
}

// Symptom: a row stayed under a number of two for ever, and what referred to it named the other row. Mechanism: only
// the node that made the younger row moves it, and it had left for good before it heard of the older one; who took its
// place looked at rows only when they changed, and did not know what its references meant. Mend: when a node is gone,
// its heir moves what waits, with the references that it wrote to it: it had not seen the older row, for then it would
// have moved its own.
TEST_F(Gone, H12d_AnHeirMovesTheLoserAndWhatRefersToIt) {
  older_one_apart();
  mesh.run_for(3000);
  insert(2, "parents", parent(1, "younger"));
  insert(2, "children", Row{Value::of_text("c"), Value::of_integer(1)});
  mesh.run_for(3000);
  ASSERT_EQ(mesh.stores[1]->rows("children").size(), 1u);
  mesh.network.attach(2, nullptr);
  mesh.network.heal();
  mesh.run_for(60000);
  ASSERT_EQ(name_of(1, 1), "older");
  unlink(0, 2), unlink(1, 2);
  mesh.run_for(20000);
  for (std::size_t at : {0u, 1u}) {
    EXPECT_EQ(name_of(at, 1), "older") << at;
    EXPECT_EQ(name_of(at, 2), "younger") << at;
    EXPECT_EQ(mesh.stores[at]->rows("children").begin()->second.values[1].integer, 2) << at;
    EXPECT_EQ(unsettled(at), 0u) << at;
  }
}

// Its heir is a new one, which gets the row by a copy before what refers to it (Applier::note_left_by_others).
TEST_F(Gone, H12b_AnHeirThatCopiesTakesAlongWhatComesAfterTheRow) {
  constexpr std::size_t heir = 0, source = 1, gone = 2;
  WithoutDocuments deaf(mesh, gone, source), keeps_its_rows(mesh, source, heir, "/rowmesh/v1/rows");
  mesh.handlers[gone] = &deaf, mesh.handlers[source] = &keeps_its_rows;
  mesh.link(source, gone);
  mesh.start();
  mesh.run_for(5000);
  insert(source, "parents", parent(1, "older"));
  mesh.run_for(1000);
  insert(gone, "parents", parent(1, "younger"));
  insert(gone, "children", Row{Value::of_text("c"), Value::of_integer(1)});
  while (mesh.stores[source]->rows("children").empty()) mesh.run_for(10);
  mesh.network.attach(gone, nullptr);
  mesh.link(heir, source);
  mesh.stores[heir]->request("copy", R"({"server":"node1","direction":"pull"})");
  mesh.run_for(3000);
  unlink(source, gone);
  mesh.run_for(10000);
  ASSERT_EQ(mesh.stores[source]->rows("parents").size(), 1u);
  keeps_its_rows.unheard = 3;
  while (mesh.stores[heir]->rows("parents").empty()) mesh.run_for(10);
  keeps_its_rows.unheard = heir;
  mesh.run_for(10000);
  ASSERT_TRUE(mesh.stores[heir]->rows("children").empty());
  keeps_its_rows.unheard = 3;
  mesh.run_for(60000);
  for (std::size_t at : {heir, source}) {
    EXPECT_EQ(name_of(at, 1), "older") << at;
    EXPECT_EQ(name_of(at, 2), "younger") << at;
    EXPECT_EQ(mesh.stores[at]->rows("children").begin()->second.values[1].integer, 2) << at;
    EXPECT_EQ(unsettled(at), 0u) << at;
  }
}

// Applier::take_over_deletes. Its heir had heard of the move, and of the delete, while the deleter was still there.
TEST_F(Gone, H12d_AnHeirDeletesTheMovedRowThatTheGoneOneHadDeleted) {
  constexpr std::size_t heir = 0, mover = 1, gone = 2;
  WithoutDocuments deaf(mesh, gone, 3);
  mesh.handlers[gone] = &deaf;
  older_one_apart();
  insert(mover, "parents", parent(1, "younger"));
  mesh.run_for(3000);
  ASSERT_EQ(name_of(gone, 1), "younger");
  mesh.cut(mover, gone);
  mesh.stores[gone]->begin_local();
  mesh.stores[gone]->remove("parents", Row{Value::of_integer(1)});
  mesh.stores[gone]->commit_local();
  mesh.run_for(1000);
  mesh.cut(heir, mover, false);
  while (name_of(heir, 2).empty()) mesh.run_for(10);
  deaf.unheard = heir;  // it is heard, and hears nothing
  mesh.cut(heir, gone, false);
  while (mesh.status(gone).queued > 0) mesh.run_for(100);
  mesh.network.attach(gone, nullptr);
  unlink(heir, gone), unlink(mover, gone);
  mesh.run_for(30000);
  for (std::size_t at : {heir, mover}) {
    EXPECT_EQ(name_of(at, 1), "older") << at;
    EXPECT_EQ(name_of(at, 2), "") << at;
    EXPECT_EQ(unsettled(at), 0u) << at;
  }
}

// Symptom: a reference named another row than its writer meant. Mechanism: its writer was gone for good, and its heir
// heard of that, of the row and of the reference in one document; it noted what the reference means by its own clock,
// which was behind, so that the reference counted as written again since. Mend: a note is no older than what it is
// about (Applier::mean).
TEST_F(Gone, H12d_AnHeirWhoseClockIsBehindTakesTheReferencesAlong) {
  older_one_apart();
  mesh.run_for(1000);
  mesh.stores[2]->clock().observe(ms_to_hlc(mesh.now_ms + 45000));
  insert(2, "parents", parent(1, "younger"));
  insert(2, "children", Row{Value::of_text("c"), Value::of_integer(1)});
  mesh.run_for(1000);
  ASSERT_EQ(mesh.stores[1]->rows("children").size(), 1u);
  mesh.network.attach(2, nullptr);
  unlink(0, 2), unlink(1, 2);
  mesh.run_for(1000);
  mesh.network.heal();
  mesh.run_for(90000);
  for (std::size_t at : {0u, 1u}) {
    EXPECT_EQ(name_of(at, 1), "older") << at;
    EXPECT_EQ(name_of(at, 2), "younger") << at;
    EXPECT_EQ(mesh.stores[at]->rows("children").begin()->second.values[1].integer, 2) << at;
    EXPECT_EQ(unsettled(at), 0u) << at;
  }
}

}  // namespace
}  // namespace rowmesh::testing
