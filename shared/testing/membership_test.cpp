// Who is a member: links that go, nodes that leave for good. Everything at once: rowmesh_sim --with topology.
#include <gtest/gtest.h>

#include "shared/sync/node_state.hpp"
#include "shared/testing/membership.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: after a link had been removed, nodes differed for ever, changes were lost, references named the wrong row.
// Mechanism: whoever was removed by one server counted as gone for all, so what it lacked was forgotten, and its rows
// under a number of two were renumbered by others while it did so itself. Mend: a member is gone when none of those who
// are reached by way of the servers that each names has it any more.
TEST_F(Membership, ALinkThatGoesTakesNobodyOut) {
  link_all();
  mesh.start();
  mesh.run_for(5000);
  unlink(0, 1), unlink(1, 0);
  mesh.run_for(5000);
  mesh.network.cut(1, 2, true), mesh.network.cut(2, 1, true);
  mesh.write(0, "k", "v");
  mesh.run_for(10000);
  ASSERT_EQ(mesh.rows(2), 1u);
  EXPECT_EQ(unsettled(0), 1u) << "node 1 has not got it yet";
  EXPECT_EQ(unsettled(2), 1u) << "node 1 has not got it yet";
  mesh.network.heal();
  mesh.run_for(40000);
  EXPECT_EQ(mesh.rows(1), 1u);
  for (std::size_t at = 0; at < 3; at++) EXPECT_EQ(unsettled(at), 0u) << at;
}

// The other half: nobody waits for a node that was removed everywhere, however the removal became known.
TEST_F(Membership, WhoIsRemovedEverywhereHoldsNothingBack) {
  link_all();
  mesh.start();
  mesh.run_for(5000);
  mesh.network.attach(1, nullptr);
  unlink(0, 1);
  mesh.write(0, "k", "v");
  mesh.run_for(10000);
  EXPECT_EQ(unsettled(0), 1u);
  unlink(2, 1);
  mesh.run_for(10000);
  EXPECT_EQ(unsettled(0), 0u);
  EXPECT_EQ(unsettled(2), 0u);
}

// NodeState::everybody_has_of_the_gone.
TEST_F(Membership, WhatTheGoneOneWroteLastComesToAllThatRemain) {
  constexpr std::size_t nobody = 9;
  link_all();
  WithoutDocuments deaf(mesh, 1, nobody);
  mesh.handlers[1] = &deaf;
  mesh.start();
  mesh.run_for(5000);
  mesh.write(2, "first", "v");
  mesh.run_for(5000);
  ASSERT_EQ(mesh.rows(1), 1u);
  deaf.unheard = 2;
  mesh.write(2, "last", "v");
  while (mesh.rows(0) < 2) mesh.run_for(10);
  mesh.cut(2, 0), mesh.cut(2, 1);
  unlink(0, 2);
  mesh.run_for(2000);
  unlink(1, 2);
  mesh.write(0, "then", "v");
  while (mesh.rows(1) < 2) mesh.run_for(10);
  deaf.unheard = 0;
  mesh.run_for(5000);
  deaf.unheard = nobody;
  mesh.run_for(20000);
  EXPECT_EQ(mesh.rows(1), 3u);
  EXPECT_EQ(mesh.status(0, 0).state, "streaming");
  EXPECT_EQ(unsettled(0), 0u);
  EXPECT_EQ(unsettled(1), 0u);
}

// Symptom: what a new node wrote was refused for ever as made before what had been forgotten, and nothing was forgotten
// any more. Mechanism: it had been told of a member that was gone before it came, and waited to hear from it; and the
// others could not tell who was gone until it had announced its servers. Mend: who is gone is told with the members,
// and a hello says whom its sender has as servers.
TEST_F(Membership, ANewNodeWaitsForNobodyWhoIsGone) {
  mesh.add_server(0, 1, "one"), mesh.add_server(1, 0, "one");
  mesh.start();
  mesh.run_for(5000);
  mesh.write(1, "old", "v");
  mesh.run_for(5000);
  mesh.network.attach(1, nullptr);
  mesh.add_server(0, 2, "two"), mesh.add_server(2, 0, "two");
  unlink(0, 1);
  mesh.write(0, "new", "v");
  mesh.run_for(10000);
  mesh.write(2, "newer", "v");
  mesh.run_for(10000);
  EXPECT_EQ(mesh.rows(0), 3u) << mesh.status(2).last_error;
  EXPECT_EQ(unsettled(0), 0u);
  EXPECT_EQ(unsettled(2), 0u);
}

// Symptom: nothing was forgotten any more, and heartbeats went on for ever. Mechanism: a node first heard of a member
// when that one's only server had just removed it, and had not found out yet that nobody else has it; so it was told of
// a member that holds back, whom none of the servers that it heard of has, as of one that has just come. Mend: also who
// knows the member already is told that it is gone (NodeState::take_members).
TEST_F(Membership, WhoIsHeardOfWhileItIsRemovedHoldsNothingBack) {
  WithoutDocuments far(mesh, 2, 1), near(mesh, 1, 3);
  mesh.handlers[1] = &near, mesh.handlers[2] = &far;
  mesh.link(0, 1), mesh.link(1, 2);
  mesh.start();
  mesh.run_for(5000);
  mesh.network.attach(0, nullptr);
  mesh.write(2, "k", "v");
  mesh.run_for(2000);
  ASSERT_EQ(mesh.rows(1), 1u);
  near.unheard = 2;  // so node 1 cannot tell whether it has the one that is gone
  unlink(1, 0);
  far.unheard = 3;
  auto heard_of = [&] { return NodeState::decode(mesh.stores[2]->stored_state()).members.size(); };
  while (heard_of() < 3) mesh.run_for(10);
  near.unheard = 3;
  mesh.run_for(20000);
  EXPECT_EQ(unsettled(1), 0u);
  EXPECT_EQ(unsettled(2), 0u);
}

// Removes a server right after it has answered its first greeting.
class RemovesWhoGreets : public WithoutDocuments {
 public:
  RemovesWhoGreets(NodePair& all, std::size_t here, std::size_t of) : WithoutDocuments(all, here, of) {}
  HttpResponse handle(const HttpRequest& request) override {
    HttpResponse response = WithoutDocuments::handle(request);
    auto from = request.headers.find("x-rowmesh-node");
    if (from == request.headers.end() || from->second != NodePair::uuid(unheard)) return response;
    for (auto& server : nodes.stores[at]->servers())
      if (server.name == "node" + std::to_string(unheard)) nodes.stores[at]->remove_server(server.id);
    return response;
  }
};

// Symptom: as above. Mechanism: a server was met, and so a member, and was removed before this node had looked at whom
// it has. Mend: it looks as soon as it meets somebody (Node::Impl::met).
TEST_F(Membership, WhoIsRemovedAsSoonAsItIsMetHoldsNothingBack) {
  RemovesWhoGreets first(mesh, 1, 0);
  mesh.handlers[1] = &first;
  mesh.link(1, 2);
  mesh.start();
  mesh.run_for(5000);
  mesh.add_server(1, 0, "short", true);
  mesh.add_server(0, 1, "short");
  mesh.run_for(5000);
  mesh.network.attach(0, nullptr);
  ASSERT_EQ(mesh.stores[1]->servers().size(), 1u);
  mesh.write(1, "k", "v");
  mesh.run_for(20000);
  EXPECT_EQ(mesh.rows(2), 1u);
  EXPECT_EQ(unsettled(1), 0u);
  EXPECT_EQ(unsettled(2), 0u);
}

// Node::Impl::judge_members.
TEST_F(Membership, WhoIsRemovedBeforeTheOthersAreMetHoldsNothingBack) {
  link_all();
  mesh.cut(0, 1), mesh.cut(0, 2);
  mesh.start();
  mesh.write(1, "k", "v");
  mesh.run_for(5000);
  ASSERT_EQ(mesh.rows(2), 1u);
  mesh.network.attach(1, nullptr);
  unlink(0, 1), unlink(2, 1);
  mesh.run_for(1000);
  mesh.cut(0, 2, false);
  mesh.write(0, "l", "v");
  mesh.run_for(40000);
  for (std::size_t at : {0u, 2u}) {
    EXPECT_EQ(mesh.rows(at), 2u) << at;
    EXPECT_EQ(unsettled(at), 0u) << at;
  }
}

// Takes no documents from anybody, so it confirms nothing.
class WithoutAnyDocuments : public WithoutDocuments {
 public:
  WithoutAnyDocuments(NodePair& all, std::size_t here) : WithoutDocuments(all, here, all.stores.size()) {}
  HttpResponse handle(const HttpRequest& request) override {
    HttpResponse response;
    response.status = 503;
    return request.path == "/rowmesh/v1/changes" ? response : WithoutDocuments::handle(request);
  }
};

// Symptom: nothing was forgotten on one node, and its heartbeats went on for ever. Mechanism: it had removed a server
// that was gone as the last one, and waited for the others to have spoken since (NodeState::fewer_since); but with its
// own word they had all that they needed, forgot, and had no reason to speak. Mend: it tells that it waits for that
// moment as well (Core::awaited).
TEST_F(Membership, WhoRemovesAServerLastHearsOfTheOthers) {
  WithoutAnyDocuments deaf(mesh, 0);
  mesh.handlers[0] = &deaf;
  link_all();
  mesh.start();
  mesh.run_for(5000);
  mesh.write(0, "k", "v");
  mesh.run_for(3000);
  ASSERT_EQ(mesh.rows(1) + mesh.rows(2), 2u);
  unlink(1, 0);
  mesh.run_for(5000);
  auto sent = [&] { return mesh.nodes[1]->details().at(0).meters.documents_sent; };
  for (auto before = sent(); sent() == before;) mesh.run_for(10);  // the next one comes in a second
  unlink(2, 0);
  mesh.run_for(20);
  mesh.nodes[2]->force_cut();  // its own comes first
  mesh.run_for(20000);
  EXPECT_EQ(unsettled(1), 0u);
  EXPECT_EQ(unsettled(2), 0u);
}

// Symptom: two servers behind a hub that had died were linked, and one lacked rows for ever. Mechanism: a server that
// is added gets what is written from then on, though this one was a member and the log had been kept for it. Mend: a
// member gets all that it lacks.
TEST_F(Membership, WhoIsLinkedGetsWhatADeadHubOwedIt) {
  WithoutDocuments hub(mesh, 0, 1);  // who has got a position of ours goes on from there anyway
  mesh.handlers[0] = &hub;
  for (std::size_t leaf : {1u, 2u}) mesh.add_server(0, leaf, "secret"), mesh.add_server(leaf, 0, "secret");
  mesh.start();
  mesh.run_for(5000);
  mesh.network.attach(0, nullptr);
  mesh.write(1, "k", "v");
  mesh.run_for(5000);
  unlink(1, 0), unlink(2, 0);
  mesh.add_server(1, 2, "direct"), mesh.add_server(2, 1, "direct");
  mesh.run_for(20000);
  EXPECT_EQ(mesh.rows(2), 1u);
  EXPECT_EQ(unsettled(1), 0u);
}

// Sees who is named as a server of a node that greets.
class Spy : public WithoutDocuments {
 public:
  using WithoutDocuments::WithoutDocuments;
  HttpResponse handle(const HttpRequest& request) override {
    if (request.path == "/rowmesh/v1/hello") greetings.push_back(request.query);
    return nodes.nodes[at]->handle(request);
  }
  std::vector<std::string> greetings;
};

// Symptom: a row stood under two numbers after a database in the middle had been copied. Mechanism: as a new
// incarnation it greeted its servers before it had said anew whom it has, so those behind it counted as gone, and what
// they had made was moved in their place. Mend: it has the servers that it had (Core::renew).
TEST_F(Membership, ANewIncarnationTakesNobodyOut) {
  Spy spy(mesh, 1, 0);
  mesh.handlers[1] = &spy;
  for (std::size_t leaf : {1u, 2u}) mesh.add_server(0, leaf, "secret"), mesh.add_server(leaf, 0, "secret");
  mesh.start();
  mesh.run_for(5000);
  spy.greetings.clear();
  mesh.stores[0]->request("new_identity", "restored");
  mesh.run_for(2000);
  ASSERT_NE(mesh.stores[0]->identity().origin, 100u);
  ASSERT_FALSE(spy.greetings.empty());
  for (const std::string& greeting : spy.greetings)
    EXPECT_NE(greeting.find(to_hex(Origin{102})), greeting.npos) << greeting;
}

// Symptom: a row that was deleted stayed at a new node, or a row under a number of two did. Mechanism: what has settled
// at the source is copied without versions, and the new node took the same life for another one when somebody who had
// not forgotten yet named it by its birth. Mend: what has settled at the source has settled at its new member.
TEST_F(Membership, ANewNodeTakesNoCopiedRowForTwo) {
  WithoutDocuments deaf(mesh, 0, 3);
  mesh.handlers[0] = &deaf;
  mesh.add_server(0, 1, "old"), mesh.add_server(1, 0, "old");
  mesh.start();
  mesh.run_for(5000);
  mesh.write(1, "k", "v");
  while (mesh.rows(0) == 0) mesh.run_for(10);
  deaf.unheard = 1;  // so it does not hear what the source has confirmed, and cannot forget
  mesh.run_for(10000);
  ASSERT_EQ(unsettled(0), 1u);
  ASSERT_EQ(unsettled(1), 0u);
  mesh.network.cut(0, 1, true), mesh.network.cut(1, 0, true);
  mesh.add_server(1, 2, "new"), mesh.add_server(2, 1, "new");
  mesh.run_for(2000);
  mesh.stores[2]->request("copy", R"({"server":"node1","direction":"pull"})");
  mesh.run_for(5000);
  ASSERT_EQ(mesh.rows(2), 1u);
  deaf.unheard = 2;
  mesh.add_server(0, 2, "direct"), mesh.add_server(2, 0, "direct");
  mesh.stores[0]->begin_local();
  mesh.stores[0]->remove("items", Row{Value::of_text("k")});
  mesh.stores[0]->commit_local();
  mesh.run_for(10000);
  EXPECT_EQ(mesh.rows(2), 0u);
  deaf.unheard = mesh.nodes.size();
  mesh.network.heal();
  mesh.run_for(40000);
  for (std::size_t at = 0; at < 3; at++) EXPECT_EQ(mesh.rows(at) + unsettled(at), 0u) << at;
}

// Symptom: a row stayed at the node that had made it, and all others lacked it for ever. Mechanism: a new node copied
// from one server, which had not got that row yet, and was added at another one as well, which sent it what was written
// from then on. Mend: where there are others, a server that is added gets all that is not settled.
TEST_F(Membership, ANewNodeGetsFromItsSecondServerWhatTheFirstOneLacked) {
  mesh.add_server(0, 1, "old"), mesh.add_server(1, 0, "old");
  mesh.network.cut(0, 1, true), mesh.network.cut(1, 0, true);
  mesh.start();
  mesh.run_for(100);
  mesh.write(1, "k", "v");
  mesh.run_for(5000);
  for (std::size_t old : {0u, 1u}) mesh.add_server(old, 2, "new"), mesh.add_server(2, old, "new");
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull"})");
  mesh.run_for(10000);
  EXPECT_EQ(mesh.rows(2), 1u);
  mesh.network.heal();
  mesh.run_for(40000);
  for (std::size_t at = 0; at < 3; at++) EXPECT_EQ(mesh.rows(at), 1u) << at;
}

// Symptom: a new node lacked settled rows for ever. Mechanism: it had copied from a node that was still waiting for its
// own copy, and what came to that one with the copy was no change that follows. Mend: who copies is not copied from.
TEST_F(Membership, WhoWaitsForItsCopyIsNotCopiedFrom) {
  mesh.start();
  mesh.write(0, "k", "v");
  mesh.run_for(10000);
  mesh.add_server(0, 1, "one"), mesh.add_server(1, 0, "one");
  mesh.run_for(3000);
  mesh.network.cut(0, 1, true), mesh.network.cut(1, 0, true);
  mesh.stores[1]->request("copy", R"({"server":"node0","direction":"pull"})");
  mesh.add_server(1, 2, "two"), mesh.add_server(2, 1, "two");
  mesh.run_for(3000);
  mesh.stores[2]->request("copy", R"({"server":"node1","direction":"pull"})");
  mesh.run_for(10000);
  mesh.network.heal();
  mesh.run_for(200000);
  EXPECT_EQ(mesh.rows(1), 1u);
  EXPECT_EQ(mesh.rows(2), 1u);
}

// match_settled.
TEST(NewNodes, HandOnWhatWasRemovedBeforeTheyCame) {
  NodePair mesh{3};
  mesh.link(0, 1);
  mesh.start();
  mesh.run_for(1000);
  mesh.write(0, "k", "v");
  mesh.run_for(10000);
  ASSERT_EQ(mesh.rows(1), 1u);
  mesh.network.cut(0, 1, true), mesh.network.cut(1, 0, true);
  mesh.stores[0]->begin_local();
  mesh.stores[0]->remove("items", Row{Value::of_text("k")});
  mesh.stores[0]->commit_local();
  mesh.run_for(1000);
  mesh.network.cut(1, 2, true), mesh.network.cut(2, 1, true);
  mesh.link(0, 2), mesh.link(1, 2);
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull"})");
  mesh.run_for(10000);
  mesh.network.cut(1, 2, false), mesh.network.cut(2, 1, false);
  mesh.run_for(40000);
  EXPECT_EQ(mesh.rows(1), 0u);
  mesh.network.heal();
  mesh.run_for(40000);
  EXPECT_EQ(mesh.rows(1), 0u);
}

// Node::Impl::give_anew_what_nobody_has.
TEST(NewNodes, WhatIsWrittenBeforeTheCopyIsNewerThanIt) {
  NodePair mesh{3};
  mesh.link(0, 1);
  mesh.start();
  mesh.write(0, "both", "settled");
  mesh.run_for(5000);
  mesh.add_server(2, 0, "new");
  mesh.write(2, "both", "written before");
  mesh.write(2, "only here", "v");
  mesh.run_for(5000);
  mesh.write(0, "later", "v");
  mesh.run_for(5000);
  mesh.add_server(0, 2, "new");
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull"})");
  mesh.run_for(40000);
  for (std::size_t at = 0; at < 3; at++) {
    auto& rows = mesh.stores[at]->rows("items");
    ASSERT_EQ(rows.size(), 3u) << at;
    EXPECT_EQ(rows.begin()->second.values[1].text, "written before") << at;
  }
  std::string listed;
  for (auto& store : mesh.stores)
    for (auto& conflict : store->conflicts()) listed += conflict.loser;
  EXPECT_NE(listed.find("settled"), std::string::npos);
}

// NodeState::settle_up_to.
TEST(NewNodes, ThatMeetBeforeTheirCopiesAreHeard) {
  NodePair mesh{4};
  WithoutDocuments second(mesh, 2, 3), third(mesh, 3, 2);  // as one that is still copying
  mesh.handlers[2] = &second, mesh.handlers[3] = &third;
  mesh.link(0, 1);
  mesh.start();
  mesh.run_for(1000);
  mesh.write(0, "old", "v");
  mesh.run_for(10000);
  mesh.link(2, 3);
  mesh.run_for(3000);
  mesh.link(0, 2), mesh.link(1, 3);
  mesh.run_for(1000);
  mesh.stores[2]->request("copy", R"({"server":"node0","direction":"pull"})");
  mesh.stores[3]->request("copy", R"({"server":"node1","direction":"pull"})");
  mesh.run_for(10000);
  second.unheard = third.unheard = mesh.nodes.size();
  mesh.write(2, "two", "v");
  mesh.write(3, "three", "v");
  mesh.run_for(20000);
  for (std::size_t at = 0; at < 4; at++) {
    EXPECT_EQ(mesh.rows(at), 3u) << at;
    EXPECT_EQ(mesh.nodes[at]->status().unsettled, 0u) << at;
  }
}

}  // namespace
}  // namespace rowmesh::testing
