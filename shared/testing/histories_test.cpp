// Two histories of one incarnation: a database that goes on from a state of before, and what it had done since. In
// virtual time; with everything else breaking as well: rowmesh_sim --with backup.
#include <gtest/gtest.h>

#include "shared/codec/document.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

class Histories : public ::testing::Test {
 protected:
  void cut(std::size_t one, std::size_t other, bool is_cut = true) {
    mesh.network.cut(one, other, is_cut), mesh.network.cut(other, one, is_cut);
  }
  // Its process ends, `meanwhile` happens to its store, and it starts.
  void restart(std::size_t at, const std::function<void()>& meanwhile) {
    mesh.network.attach(at, nullptr);
    mesh.nodes[at].reset();
    mesh.stores[at]->crash();
    meanwhile();
    mesh.nodes[at] = std::make_unique<Node>(
        NodeServices{*mesh.stores[at], mesh.wall, mesh.random, mesh.network.client(at),
                     [this](char, const std::string& text) { mesh.lines.push_back(text); }, [] {}});
    mesh.nodes[at]->start();
    mesh.network.attach(at, mesh.nodes[at].get());
  }
  PositionNumber position(std::size_t at) { return mesh.nodes[at]->status().position; }
  std::string keys(std::size_t at) {
    std::string text;
    for (auto& [key, row] : mesh.stores[at]->rows("items")) text += std::string(row.values[0].text) + " ";
    return text;
  }
  std::function<void()> backup_of_one_of_three() {
    for (std::size_t at : {0u, 1u, 2u})
      for (std::size_t to : {0u, 1u, 2u})
        if (at != to) mesh.add_server(at, to, "secret");
    mesh.start();
    mesh.run_for(8000);
    return mesh.stores[0]->backup();
  }
  // Of 0, of which the others know better; all meet again.
  void expect_after_a_new_identity(const std::string& on_all) {
    mesh.network.heal();
    mesh.run_for(10000);
    ASSERT_EQ(mesh.nodes[0]->status().identity, "restored");
    mesh.stores[0]->request("new_identity", "restored");
    mesh.run_for(40000);
    for (std::size_t at : {0u, 1u, 2u}) {
      EXPECT_EQ(keys(at), on_all) << at;
      EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
    }
  }
  NodePair mesh{3};
};

// Symptom: a row that was written after a restore never left its node. Mechanism: both runs had begun with one stored
// state, so they gave the same numbers; who had got the first one's position took the second one's for known, where a
// server in between had not met the first. Mend: the numbers go on by the time of day as well (Core::load_history).
TEST_F(Histories, TwoRunsFromOneStateCountApart) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(3000);
  auto put_back = mesh.stores[0]->backup();
  std::set<PositionNumber> given;
  restart(0, [] {});
  for (int i = 0; i < 200; i++) {
    mesh.run_for(10);
    if (i % 20 == 0) mesh.write(0, "first " + std::to_string(i), "v");
    given.insert(position(0));
  }
  cut(0, 1);  // so nobody tells it how far it had come
  restart(0, put_back);
  for (int i = 0; i < 200; i++) {
    mesh.run_for(10);
    if (i % 20 == 0) mesh.write(0, "second " + std::to_string(i), "v");
    if (i < 5) continue;
    EXPECT_FALSE(given.contains(position(0))) << position(0);
  }
}

// Symptom: rows were on some nodes only, for ever. Mechanism: a server that had got nothing of what was lost took what
// the restored node wrote, under the same origin and later positions, and so counted as having the former. Mend:
// whoever hears that an incarnation was followed names what it has of it once more (Node::Impl::hand_on_again).
TEST_F(Histories, NoneIsHiddenByTheOther) {
  auto put_back = backup_of_one_of_three();
  cut(0, 2), cut(1, 2);
  mesh.write(0, "lost", "v");
  mesh.run_for(3000);
  ASSERT_EQ(keys(1), "lost ");
  cut(0, 1), cut(0, 2, false);
  restart(0, put_back);
  mesh.write(0, "since", "v");
  mesh.run_for(3000);
  ASSERT_EQ(keys(2), "since ");
  expect_after_a_new_identity("lost since ");
}

// What a person does about a server that the backup does not know: it says so where it is still one.
TEST_F(Histories, WhoIsPutBackToBeforeAServerWasAddedGetsItAddedOnceMore) {
  mesh.link(0, 1), mesh.link(1, 2);
  mesh.start();
  mesh.run_for(8000);
  auto put_back = mesh.stores[0]->backup();
  mesh.link(0, 2);
  mesh.run_for(3000);
  mesh.write(0, "lost", "v"), mesh.write(2, "of 2", "v");
  mesh.run_for(3000);
  restart(0, put_back);
  mesh.write(0, "since", "v");
  mesh.run_for(10000);
  ASSERT_EQ(mesh.nodes[0]->status().identity, "restored");
  mesh.stores[0]->request("new_identity", "restored");
  mesh.run_for(40000);
  for (std::size_t at : {0u, 1u, 2u}) EXPECT_EQ(keys(at), "lost of 2 since ") << at;
  EXPECT_NE(mesh.status(2, 1).last_error.find("call add_server there"), std::string::npos) << mesh.status(2, 1).state;
  mesh.add_server(0, 2, "02");
  mesh.run_for(40000);
  EXPECT_EQ(mesh.status(2, 1).state, "streaming");
  mesh.write(0, "later", "v");
  mesh.run_for(10000);
  for (std::size_t at : {0u, 1u, 2u}) {
    EXPECT_EQ(keys(at), "lost of 2 later since ") << at;
    EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
  }
}

// NodeState::hears_of.
TEST_F(Histories, NothingIsForgottenOnTheWordOfTheOther) {
  auto put_back = backup_of_one_of_three();
  mesh.network.cut(0, 2, true);  // which still comes to 0, so 0 confirms what it gives
  mesh.write(0, "lost", "v");
  mesh.run_for(9000);
  ASSERT_EQ(keys(1), "lost ");
  cut(0, 1), mesh.network.cut(0, 2, false);
  restart(0, put_back);
  mesh.run_for(9000);
  EXPECT_EQ(keys(2), "");
  EXPECT_NE(mesh.nodes[1]->status().unsettled, 0u);
  expect_after_a_new_identity("lost ");
}

// Symptom: a row was there twice after a restore. Mechanism: the backup was made when the row was in the log, and had
// not been read from it yet; and as nobody had confirmed anything by then, the history's end in it was an earlier
// start's, so what was read first now counted as written since. Mend: what any start reads first may be in the other
// history (Core::cut).
TEST_F(Histories, WhatABackupHadInTheLogOnlyIsNoSecondRow) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  cut(0, 1);
  restart(0, [] {});
  mesh.write(0, "a", "v");
  mesh.run_for(3000);
  mesh.write(0, "b", "v");
  auto put_back = mesh.stores[0]->backup();
  cut(0, 1, false);
  mesh.run_for(30000);
  mesh.write(0, "lost", "v");
  mesh.run_for(3000);
  ASSERT_EQ(keys(1), "a b lost ");
  restart(0, put_back);
  mesh.run_for(3000);
  ASSERT_EQ(mesh.nodes[0]->status().identity, "restored");
  mesh.stores[0]->request("new_identity", "restored");
  mesh.run_for(30000);
  for (std::size_t at : {0u, 1u}) {
    EXPECT_EQ(keys(at), "a b lost ") << at;
    EXPECT_TRUE(mesh.stores[at]->load_side().empty()) << at << ": two lives under one key";
  }
}

// Symptom: a row never came back to a node that had been put back. Mechanism: the backup was older than the meeting
// with the row's origin, so of that one anything was taken, and what a server sends that has not heard of the restore
// begins after all that was there before. Mend: of an origin that is unknown here only a document that begins at its
// begin is taken (Applier::check), and who sends what comes after the moment of adding a server says that it does so.
TEST_F(Histories, WhatWasMetAfterTheBackupComesAgain) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  auto put_back = mesh.stores[1]->backup();
  mesh.start();
  mesh.write(0, "before", "v");
  mesh.run_for(200);
  ASSERT_EQ(keys(1), "before ");
  restart(1, put_back);
  mesh.write(0, "since", "v");
  mesh.run_for(20000);
  EXPECT_EQ(keys(1), "since before ");
}

// Symptom: a row that had ended was on one server for ever after a restore. Mechanism: a node that was put back to
// before it had met the others took a copy in the end; as that began it took over what its source had forgotten, and
// shipped the row before the piece came that ended it. Who has forgotten as much would know that it is gone, so it
// counted as one that had never been there. Mend: in the middle of such a copy nothing is shipped
// (Node::Impl::keeps_to_itself).
TEST_F(Histories, NothingIsShippedInTheMiddleOfACopyThatEndsRows) {
  mesh.link(0, 1), mesh.link(0, 2), mesh.link(1, 2);
  for (auto& server : mesh.stores[0]->servers())
    if (server.name == "node2")
      mesh.stores[0]->change_server(server.id, [](ServerConfig& config) { config.options.batch_rows = 1; });
  mesh.write(2, "ended", "v");
  auto put_back = mesh.stores[2]->backup();
  mesh.start();
  for (const char* key : {"a", "b", "c"}) mesh.write(0, key, "v");
  mesh.write(2, "lost", "v");
  mesh.run_for(10000);
  ASSERT_EQ(keys(0), "a b c lost ended ");
  mesh.stores[0]->begin_local();
  mesh.stores[0]->remove("items", Row{Value::of_text("ended")});
  mesh.stores[0]->commit_local();
  mesh.run_for(10000);
  ASSERT_EQ(mesh.nodes[1]->status().unsettled, 0u) << "it has been forgotten";
  restart(2, put_back);
  mesh.run_for(3000);
  ASSERT_EQ(mesh.nodes[2]->status().identity, "restored");
  mesh.stores[2]->request("new_identity", "restored");
  mesh.run_for(10000);
  ASSERT_EQ(keys(1), "a b c lost ");
  cut(1, 2);
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull","on_existing":"source"})");
  while (keys(2) == "ended ") mesh.run_for(1);
  cut(0, 2);
  cut(1, 2, false);
  mesh.run_for(30000);
  EXPECT_EQ(keys(1), "a b c lost ");
  cut(0, 2, false);
  mesh.run_for(200000);
  for (std::size_t at : {0u, 1u, 2u}) {
    EXPECT_EQ(keys(at), "a b c lost ") << at;
    EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
  }
}

// A database is copied while it runs, and neither notices; what it had not sent yet the copy sends. Then it has to get
// a new identity itself. What both had is one row, not two (Applier::recognise); what it has written to it since is
// newer, and so is what others have.
TEST_F(Histories, WhatACopySentIsNoSecondRow) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  cut(0, 1);
  for (const char* key : {"both", "edited", "there"}) mesh.write(0, key, "v");
  mesh.run_for(1000);
  restart(2, [&] { mesh.stores[2]->become_copy_of(*mesh.stores[0], false); });
  mesh.write(2, "of the copy", "v");
  mesh.run_for(2000);
  ASSERT_EQ(keys(1), "both there edited of the copy ");
  auto update = [this](std::size_t at, const char* id, const char* value) {
    Row row = {Value::of_text(id), Value::of_text(value)};
    mesh.stores[at]->begin_local();
    mesh.stores[at]->update("items", Row{row[0]}, row);
    mesh.stores[at]->commit_local();
  };
  update(0, "edited", "later");
  update(1, "there", "by another one");
  mesh.write(0, "since", "v");
  mesh.network.attach(2, nullptr);
  cut(0, 1, false);
  mesh.run_for(30000);
  ASSERT_EQ(mesh.nodes[0]->status().identity, "restored");
  mesh.stores[0]->request("new_identity", "restored");
  mesh.run_for(30000);
  for (std::size_t at : {0u, 1u}) {
    EXPECT_EQ(mesh.text_of_rows(at), "both v, edited later, of the copy v, since v, there by another one, ") << at;
    EXPECT_TRUE(mesh.stores[at]->load_side().empty()) << at << ": two lives under one key";
  }
}

// Symptom: the process of a database that had been copied while it ran ended with an exception. Mechanism: what the
// copy had shipped under the same identity came back with a piece of a table that was copied, where nobody expected
// another history. Mend: it stands still, as where a document tells of one (Node::Impl::guard_copy).
TEST_F(Histories, APieceOfATableTellsOfAnotherOne) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  restart(2, [&] { mesh.stores[2]->become_copy_of(*mesh.stores[0], false); });
  WithoutDocuments deaf(mesh, 0, 1);
  mesh.network.attach(0, &deaf);
  mesh.write(2, "of the copy", "v");
  mesh.run_for(500);
  ASSERT_EQ(keys(1), "of the copy ");
  ASSERT_EQ(mesh.nodes[0]->status().identity, "");
  mesh.stores[0]->request("copy", R"({"server":"node1","direction":"pull","on_existing":"newer"})");
  EXPECT_NO_THROW(mesh.run_for(500));
  EXPECT_EQ(mesh.nodes[0]->status().identity, "restored");
}

// Symptom: what a copy had shipped in the name of the original never came to the original. Mechanism: nobody sends a
// node what counts as its own; the original's newest version was newer, or all had been forgotten meanwhile, so it
// heard of nothing that it did not know. Mend: a copy that has run as the original tells, once it has an identity of
// its own, that the former one has two histories (Renewal::awaited). So the original needs a new one as well, and takes
// a copy. (What is lost without: KeptSeeds.WhatACopyShippedComesToTheOriginal.)
TEST_F(Histories, WhereTwoRanBothGetANewIdentity) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  restart(2, [&] { mesh.stores[2]->become_copy_of(*mesh.stores[0], false); });
  mesh.run_for(1000);
  mesh.stores[2]->request("new_identity", "copied");
  mesh.run_for(1000);
  mesh.write(0, "of the original", "v");
  mesh.write(2, "of the copy", "v");
  mesh.add_server(1, 2, "secret");
  mesh.run_for(20000);
  ASSERT_EQ(mesh.nodes[0]->status().identity, "restored");
  EXPECT_GT(mesh.nodes[1]->status().unsettled, 0u) << "nothing is forgotten before it is back";
  mesh.stores[0]->request("new_identity", "restored");
  mesh.run_for(60000);
  for (std::size_t at : {0u, 1u, 2u}) {
    EXPECT_EQ(keys(at), "of the copy of the original ") << at;
    EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
  }
}

// The copy counts further than the database itself, which has not sent everything, and crashes
// (Node::Impl::wants_anything, Core::of_earlier_run).
TEST_F(Histories, WhatACopyCountedHidesNothingAfterACrash) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  cut(0, 1);
  mesh.write(0, "both", "v");
  mesh.run_for(1000);
  restart(2, [&] { mesh.stores[2]->become_copy_of(*mesh.stores[0], false); });
  mesh.run_for(2000);
  ASSERT_EQ(keys(1), "both ");
  cut(2, 1);
  mesh.write(0, "late", "v");
  mesh.run_for(1000);
  restart(0, [] {});
  cut(0, 1, false);
  mesh.run_for(40000);
  EXPECT_EQ(keys(1), "both late ");
}

// How many lives of each row a node's documents name.
class Named : public WithoutDocuments {
 public:
  using WithoutDocuments::WithoutDocuments;
  HttpResponse handle(const HttpRequest& request) override {
    if (request.path == path && request.method == "POST") {
      DocumentReader reader(request.body, request.headers.contains("content-encoding"));
      while (const WireRow* row = reader.next()) lives.push_back(row->count);
    }
    return nodes.nodes[at]->handle(request);
  }
  std::vector<std::size_t> lives;
};

// (Applier::forget_ended)
TEST_F(Histories, WhatEndedAtTheSourceOfACopyIsNamedToNobody) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  Row key = {Value::of_text("k")}, edited = {Value::of_text("k"), Value::of_text("edited")};
  mesh.network.cut(0, 1, true);
  mesh.write(0, "k", "v");
  mesh.run_for(100);
  mesh.write(1, "k", "w");
  mesh.run_for(2000);
  ASSERT_FALSE(mesh.stores[0]->load_side().empty()) << "two lives";
  restart(2, [&] { mesh.stores[2]->become_copy_of(*mesh.stores[0], true); });
  mesh.stores[2]->begin_local(), mesh.stores[1]->begin_local();
  mesh.stores[2]->update("items", key, edited), mesh.stores[1]->remove("items", key);
  mesh.stores[2]->commit_local(), mesh.stores[1]->commit_local();
  mesh.run_for(1000);
  mesh.network.heal();
  mesh.run_for(40000);
  ASSERT_EQ(keys(1), "k ") << "of the two that life goes on which node 1 had not seen";
  mesh.stores[2]->request("new_identity", "copied");
  mesh.add_server(1, 2, "secret");
  cut(0, 1);
  Named heard(mesh, 1, 0);
  mesh.network.attach(1, &heard);
  mesh.run_for(30000);
  EXPECT_EQ(heard.lives, std::vector<std::size_t>{1});
  EXPECT_EQ(mesh.stores[1]->rows("items").at(encode_key(key)).values[1].text, "edited");
}

// Symptom: a row had two lives on one node and one on the others. Mechanism: a copy had deleted it in the original's
// name, which nobody heard before all forgot how it began; the copy got the row back from its source as a life of its
// own, and named the former one, dead, along with it, so who still knew that by its birth took them for two. Mend: what
// the source has forgotten as well is named to nobody (Applier::forget_ended).
TEST_F(Histories, WhatACopyDeletedBeforeAnybodyNoticedIsNamedToNobody) {
  mesh.add_server(0, 1, "secret"), mesh.add_server(1, 0, "secret");
  mesh.start();
  mesh.run_for(8000);
  mesh.write(0, "own", "v"), mesh.write(1, "k", "v");
  mesh.run_for(100);
  ASSERT_EQ(keys(0), "k own ");
  restart(2, [&] { mesh.stores[2]->become_copy_of(*mesh.stores[0], false); });
  mesh.run_for(1000);
  cut(2, 1);
  Row key = {Value::of_text("k")};
  mesh.stores[2]->begin_local();
  mesh.stores[2]->remove("items", key);
  mesh.stores[2]->commit_local();
  mesh.run_for(1000);
  restart(2, [] {});  // so that it may have shipped that, for all that it knows
  mesh.write(0, "later", "v");
  mesh.run_for(5000);
  mesh.stores[2]->request("new_identity", "copied");
  mesh.add_server(1, 2, "secret");
  cut(0, 1), cut(2, 1, false);
  Named heard(mesh, 1, 0);
  mesh.network.attach(1, &heard);
  mesh.run_for(30000);
  EXPECT_EQ(keys(2), "k own later ");
  EXPECT_FALSE(heard.lives.empty());
  for (std::size_t lives : heard.lives) EXPECT_EQ(lives, 1u);
}

// Symptom: two nodes showed different rows under one number after a clock had been set right. Mechanism: both rows had
// been written in one moment, of which the origin decides, and had decided here; the new incarnation stood on the other
// side of the other node. Mend: it stands beside the old one (Node::Impl::next_origin).
TEST(NewOrigins, StandWhereTheOldOneStood) {
  NodePair mesh{3};
  constexpr Origin room = Origin{1} << 40;
  for (std::size_t i = 0; i < 3; i++) {
    mesh.stores[i] = std::make_unique<MemoryStore>(Identity{NodePair::uuid(i), (i + 1) * room, "node"}, mesh.wall);
    mesh.stores[i]->set("enabled", "on");
  }
  for (std::size_t at : {0u, 1u, 2u})
    for (std::size_t to : {0u, 1u, 2u})
      if (at != to) mesh.add_server(at, to, "secret");
  mesh.start();
  mesh.run_for(8000);
  for (std::size_t i = 0; i < 3; i++) {
    mesh.stores[i]->request("new_identity", "restored");
    mesh.run_for(20000);
    Origin origin = mesh.stores[i]->identity().origin;
    EXPECT_GT(origin, (i + 1) * room);
    EXPECT_LT(origin, (i + 2) * room);
  }
}

}  // namespace
}  // namespace rowmesh::testing
