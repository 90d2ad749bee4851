// Copies between servers that have rows already, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "shared/sync/node_state.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

class CopyAgain : public ::testing::TestWithParam<const char*> {
 protected:
  // Both stream, and have this row for so long that it counts as one of before.
  void settle(const std::string& key) {
    nodes.link(0, 1);
    nodes.start();
    nodes.run_for(2000);
    nodes.write(0, key, "old");
    nodes.run_for(10000);
    ASSERT_EQ(nodes.rows(1), 1u);
    ASSERT_EQ(nodes.nodes[1]->status().unsettled, 0u);
  }
  // Each was filled before they met.
  void meet_with_rows() {
    nodes.start();
    nodes.write(0, "a", "one");
    nodes.write(1, "b", "other");
    nodes.run_for(5000);
    nodes.link(0, 1);
    nodes.run_for(5000);
  }
  void edit(std::size_t at, const std::string& key, const std::string& value) {
    std::vector<Value> row = {Value::of_text(key), Value::of_text(value)};
    nodes.stores[at]->begin_local();
    nodes.stores[at]->update("items", std::vector<Value>{Value::of_text(key)}, row);
    nodes.stores[at]->commit_local();
  }
  void remove(std::size_t at, const std::string& key) {
    nodes.stores[at]->begin_local();
    nodes.stores[at]->remove("items", std::vector<Value>{Value::of_text(key)});
    nodes.stores[at]->commit_local();
  }
  void copy(const std::string& mode) {
    nodes.stores[1]->request("copy", R"({"server":"node0","direction":"pull","on_existing":")" + mode + "\"}");
  }
  std::string values(std::size_t at) {
    std::string text;
    for (auto& [key, row] : nodes.stores[at]->rows("items")) text += std::string(row.values[1].text) + " ";
    return text;
  }
  // While this stands, the changes of `of` do not come to `at`.
  void part(std::size_t at, std::size_t of) {
    apart_ = std::make_unique<WithoutDocuments>(nodes, at, of);
    nodes.network.attach(at, apart_.get());
  }
  void copied_before_the_source_hears_of(const std::function<void()>& change) {
    part(0, 1);
    change();
    nodes.run_for(1000);
    copy(GetParam());
    nodes.run_for(20000);
    join(0);
    nodes.run_for(40000);
  }
  void join(std::size_t at) { nodes.network.attach(at, nodes.nodes[at].get()); }

  NodePair nodes;

 private:
  std::unique_ptr<WithoutDocuments> apart_;
};

// Symptom: an edit was undone everywhere by a copy, and stood in no list. Mechanism: the copied value, which was older,
// was written over it as a change of now. Mend: what is on its way merges as always.
TEST_P(CopyAgain, LeavesAnEditThatIsOnItsWay) {
  settle("a");
  nodes.write(0, "b", "settled");  // without one the table counts as empty, and nothing is compared
  nodes.run_for(10000);
  copied_before_the_source_hears_of([&] { edit(1, "a", "new"); });
  for (std::size_t at : {0, 1}) EXPECT_EQ(values(at), "new settled ");
  EXPECT_TRUE(nodes.status(1).progress.starts_with("copied: ")) << nodes.status(1).last_error;
}

// Symptom: a row was gone everywhere after a copy with 'source'. Mechanism: it had been written just before, and had
// not come to the source, so it counted as one of before.
TEST_P(CopyAgain, LeavesARowThatIsOnItsWay) {
  settle("a");
  copied_before_the_source_hears_of([&] { nodes.write(1, "b", "new"); });
  EXPECT_EQ(values(0), "old new ");
  EXPECT_EQ(values(1), "old new ");
}

// Symptom: rows were gone everywhere after a copy with 'source'. Mechanism: they came to the source after it had been
// looked at, and while the copy waited they settled. Mend: who takes a copy forgets nothing (Core::prune).
TEST_P(CopyAgain, LeavesARowThatArrivesWhileItWaits) {
  settle("a");
  part(0, 1);
  nodes.write(1, "b", "new");
  nodes.write(0, "c", "there");
  nodes.run_for(3000);
  WithoutDocuments deaf(nodes, 1, 0);
  nodes.network.attach(1, &deaf);
  nodes.write(0, "d", "later");
  nodes.run_for(1000);
  copy(GetParam());
  nodes.run_for(1000);
  ASSERT_EQ(nodes.status(1).state, "copying") << nodes.status(1).last_error;
  join(0);
  nodes.run_for(3000);
  join(1);
  nodes.run_for(40000);
  for (std::size_t at : {0, 1}) EXPECT_EQ(values(at), "old new there later ");
  EXPECT_TRUE(nodes.status(1).progress.starts_with("copied: ")) << nodes.status(1).last_error;
}

// Symptom: a copy was refused between two servers that did not differ. Mechanism: the source had removed a row, which
// was still to come. Mend: the copy waits for what the source had before it looks for rows that only one has.
TEST_P(CopyAgain, WaitsForARemovalThatIsOnItsWay) {
  settle("a");
  nodes.write(0, "b", "kept");
  nodes.run_for(10000);
  part(1, 0);
  remove(0, "a");
  nodes.run_for(1000);
  copy(GetParam());
  nodes.run_for(5000);
  join(1);
  nodes.run_for(40000);
  for (std::size_t at : {0, 1}) EXPECT_EQ(values(at), "kept ");
  EXPECT_TRUE(nodes.status(1).progress.starts_with("copied: ")) << nodes.status(1).last_error;
}

INSTANTIATE_TEST_SUITE_P(OnExisting, CopyAgain, ::testing::Values("fail", "source", "newer"),
                         [](auto& one) { return std::string(one.param); });

// Symptom: after a copy with 'newer' two databases that had been filled before they met differed for ever. Mechanism:
// what only the taker had was kept, as documented, and never shipped.
TEST_F(CopyAgain, NewerShipsWhatOnlyTheTakerHad) {
  meet_with_rows();
  ASSERT_EQ(values(0) + values(1), "one other ");
  copy("newer");
  nodes.run_for(40000);
  EXPECT_EQ(values(0), "one other ");
  EXPECT_EQ(values(1), "one other ");
}

// What only the taker had goes with 'source', and 'fail' leaves all as it is (Node::Impl::judge_extra_rows).
TEST_F(CopyAgain, SourceRemovesWhatOnlyTheTakerHad) {
  meet_with_rows();
  copy("fail");
  nodes.run_for(20000);
  EXPECT_EQ(values(0) + values(1), "one other ");
  bool refused = std::any_of(nodes.lines.begin(), nodes.lines.end(), [](const std::string& line) {
    return line.find("has rows here that the source lacks") != line.npos;
  });
  EXPECT_TRUE(refused);
  copy("source");
  nodes.run_for(40000);
  for (std::size_t at : {0, 1}) EXPECT_EQ(values(at), "one ") << at;
}

// Symptom: documents went on travelling for ever after a copy. Mechanism: its taker had been alone until then, so all
// that came was older than what it had settled, and nothing was left that it might have confirmed; the source waited
// for that. Mend: who is told of something that is kept for it says so until it has confirmed it (Core::awaited).
TEST_F(CopyAgain, WhoWasAloneConfirmsWhatItCopied) {
  for (auto& store : nodes.stores) {
    Table empty = store->tables().at(0);
    empty.wire_name = empty.local_name = "none";
    store->create_table(empty);
  }
  nodes.add_server(1, 0, "secret");
  nodes.write(1, "a", "old");
  nodes.now_ms += 5000;
  nodes.start();
  nodes.stores[1]->request("copy", R"({"server":"node0","direction":"push","on_existing":"newer"})");
  nodes.run_for(1000);
  nodes.add_server(0, 1, "secret");
  nodes.run_for(30000);
  for (std::size_t at : {0, 1}) EXPECT_EQ(values(at), "old ");
  for (std::size_t at : {0, 1}) EXPECT_EQ(nodes.nodes[at]->status().unsettled, 0u) << at;
}

// Node::Impl::confirmed_by_our_members, also where the source has met them, and has heard nothing of them yet. What
// comes of it where more is missing: KeptSeeds.WhoCopiesFromOneThatWasAlone.
TEST(CopyOfOneThatWasAlone, DoesNotSettleWhatOthersHaveNotConfirmed) {
  for (bool met : {false, true}) {
    NodePair nodes{3};
    auto forgotten = [&](std::size_t at) { return NodeState::decode(nodes.stores[at]->stored_state()).prune_horizon; };
    WithoutDocuments deaf(nodes, 2, 0);
    nodes.handlers[2] = &deaf;
    nodes.link(0, 1);
    nodes.start();
    nodes.write(0, "old", "v");
    nodes.run_for(10000);
    nodes.cut(0, 1);
    nodes.write(2, "gone", "v");
    nodes.stores[2]->begin_local();
    nodes.stores[2]->remove("items", std::vector<Value>{Value::of_text("gone")});
    nodes.stores[2]->commit_local();
    nodes.run_for(10000);
    if (met) nodes.link(0, 2);
    nodes.run_for(1000);
    nodes.link(1, 2);
    nodes.stores[1]->request("copy", R"({"server":"node2","direction":"pull","on_existing":"newer"})");
    while (!nodes.stores[1]->requests().empty()) nodes.run_for(10);
    EXPECT_LT(forgotten(1), forgotten(2)) << "0 has not confirmed that; met: " << met;
    nodes.cut(0, 1, false);
    deaf.unheard = nodes.nodes.size();
    nodes.run_for(60000);
    for (std::size_t at : {0, 1, 2}) EXPECT_EQ(nodes.text_of_rows(at), "old v, ") << at << met;
  }
}

// Symptom: a copy waited for ever. Mechanism: its taker had been put back to a state in which it had been asked for it,
// and the source had forgotten since what was missing there. Mend: it ends, and the status asks for another one
// (Node::Impl::end_copied_table).
TEST_F(CopyAgain, DoesNotWaitForWhatIsForgotten) {
  settle("a");
  copy("source");
  std::function<void()> put_back = nodes.stores[1]->backup();
  nodes.run_for(10000);
  nodes.write(0, "b", "since");
  nodes.run_for(20000);
  ASSERT_EQ(nodes.nodes[0]->status().unsettled, 0u);
  nodes.network.attach(1, nullptr);
  nodes.nodes[1].reset();
  put_back();
  nodes.start(1);
  nodes.run_for(60000);
  EXPECT_EQ(nodes.status(1).state, "needs copy") << nodes.status(1).last_error;
  copy("source");
  nodes.run_for(30000);
  EXPECT_EQ(values(1), "old since ");
  EXPECT_EQ(nodes.status(1).state, "streaming") << nodes.status(1).last_error;
}

// A proxy that gives half of what is asked for, as often as it is told.
class HalfAnswers : public WithoutDocuments {
 public:
  HalfAnswers(NodePair& all, std::size_t here) : WithoutDocuments(all, here, all.nodes.size()) {}
  HttpResponse handle(const HttpRequest& request) override { return halved(request, nodes.nodes[at]->handle(request)); }
  HttpResponse later(const HttpRequest& request) override { return halved(request, nodes.nodes[at]->later(request)); }

  int left = 0;

 private:
  HttpResponse halved(const HttpRequest& request, HttpResponse response) {
    if (request.path != "/rowmesh/v1/rows" || response.status != 200 || !response.body || left == 0) return response;
    left--;
    std::string half = response.body->text(1u << 20);
    half.resize(half.size() / 2);
    response.body = std::make_shared<Body>(std::move(half));
    return response;
  }
};

class CopyThroughProxy : public CopyAgain {
 protected:
  void copy_through_halves(int halves, std::uint64_t ms) {
    settle("a");
    nodes.network.attach(0, &proxy);
    proxy.left = halves;
    copy("source");
    nodes.run_for(ms);
  }
  HalfAnswers proxy{nodes, 0};
};

// Symptom: a copy that people had asked for ended with the first answer that had been cut short, and its rows were
// missing. Mend: Node::Impl::garbled.
TEST_F(CopyThroughProxy, GoesOnAfterHalfAnAnswer) {
  copy_through_halves(3, 30000);
  EXPECT_EQ(proxy.left, 0);
  EXPECT_EQ(nodes.status(1).state, "streaming");
  EXPECT_TRUE(nodes.stores[1]->requests().empty());
  EXPECT_EQ(nodes.status(1).last_error, "");
}

// But not for ever: changes wait while it is taken.
TEST_F(CopyThroughProxy, EndsWhenEveryAnswerIsHalf) {
  copy_through_halves(1000, 1800000);
  EXPECT_TRUE(nodes.stores[1]->requests().empty());
  EXPECT_NE(nodes.status(1).last_error.find("copy: "), std::string::npos) << nodes.status(1).last_error;
}

// KnownServer::copy_error.
TEST_F(CopyThroughProxy, SaysWhyItEndedAlsoAfterARestart) {
  copy_through_halves(1000, 1800000);
  nodes.network.attach(0, nodes.nodes[0].get());
  nodes.restart(1);
  nodes.run_for(5000);
  EXPECT_NE(nodes.status(1).last_error.find("copy: "), std::string::npos) << nodes.status(1).last_error;
  copy("source");
  nodes.run_for(30000);
  nodes.restart(1);
  nodes.run_for(5000);
  EXPECT_EQ(nodes.status(1).last_error, "");
}

// Symptom: a row was missing on a server that had been added and did not know it yet. Mechanism: its server kept all
// for it; then that one copied from another, which had been alone and had forgotten more, and took this over, since all
// the others whom it had met had confirmed as much. Mend: what a server that was never met lacks is handed on once
// more.
TEST(CopyWhileOneIsAwaited, KeepsWhatThatOneLacks) {
  NodePair nodes{4};
  nodes.add_server(0, 2, "02"), nodes.link(0, 3);
  nodes.start();
  nodes.write(3, "early", "of 3");
  nodes.run_for(5000);
  ASSERT_NE(nodes.nodes[0]->status().unsettled, 0u);
  nodes.write(1, "alone", "of 1");
  nodes.run_for(5000);
  ASSERT_EQ(nodes.nodes[1]->status().unsettled, 0u);
  nodes.link(0, 1);
  nodes.run_for(5000);
  nodes.stores[0]->request("copy", R"({"server":"node1","direction":"pull","on_existing":"newer"})");
  nodes.run_for(5000);
  ASSERT_EQ(nodes.text_of_rows(0), "alone of 1, early of 3, ");
  WithoutDocuments busy(nodes, 2, 0);
  nodes.network.attach(2, &busy);
  nodes.add_server(2, 0, "02");
  nodes.run_for(5000);
  busy.unheard = nodes.nodes.size();
  nodes.run_for(30000);
  EXPECT_EQ(nodes.text_of_rows(1), "alone of 1, early of 3, ");
  EXPECT_NE(nodes.text_of_rows(2).find("early of 3"), std::string::npos) << nodes.text_of_rows(2);
  for (auto& node : nodes.nodes) EXPECT_EQ(node->status().unsettled, 0u);
}

}  // namespace
}  // namespace rowmesh::testing
