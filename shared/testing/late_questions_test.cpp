// Questions for changes that come once more, or late, in virtual time. (pulling.cpp)
#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// Sees what comes to a node, and keeps the questions for changes.
class KeepsQuestions : public HttpHandler {
 public:
  KeepsQuestions(NodePair& all, std::size_t here) : nodes(all), at(here) {}
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    if (head.method == "GET" && head.path == "/rowmesh/v1/changes") {
      kept.push_back(head);
      if (keeps_back) return unavailable();
    }
    return nodes.nodes[at]->check(head, body_limit);
  }
  HttpResponse handle(const HttpRequest& request) override { return nodes.nodes[at]->handle(request); }
  HttpResponse later(const HttpRequest& request) override { return nodes.nodes[at]->later(request); }
  // Its status; 0: the answer is kept back until there is something to tell.
  int comes_again(const HttpRequest& question) {
    std::uint64_t limit = 0;
    HttpResponse checked = nodes.nodes[at]->check(question, limit);
    return checked.status != 0 ? checked.status : nodes.nodes[at]->handle(question).status;
  }
  std::vector<HttpRequest> kept;
  bool keeps_back = false;

 private:
  static HttpResponse unavailable() {
    HttpResponse response;
    response.status = 503;
    return response;
  }
  NodePair& nodes;
  std::size_t at;
};

// Node 1 has no URL for node 0, which asks it for changes.
class LateQuestions : public ::testing::Test {
 protected:
  LateQuestions() {
    nodes.add_server(0, 1, "secret"), nodes.add_server(1, 0, "secret", true);
    nodes.handlers[1] = &questions;
    nodes.start();
    nodes.run_for(2000);
  }
  void expect_that_changes_come(const std::string& key) {
    nodes.write(1, key, "x");
    nodes.run_for(40000);
    EXPECT_EQ(nodes.text_of_rows(0), key + " x, ") << nodes.status(0).last_error;
    EXPECT_EQ(nodes.status(1).state, "streaming");
  }
  NodePair nodes;
  KeepsQuestions questions{nodes, 1};
};

// Symptom: a server was said to need a copy, though it lacked nothing. Mechanism: a question of before a crash had been
// delivered twice, and came the second time when the nonce had been forgotten in the crash; what it told counted as of
// now. Mend: who asks says which run of the other's worker it asks.
TEST_F(LateQuestions, OneOfBeforeACrashIsRefused) {
  ASSERT_FALSE(questions.kept.empty());
  HttpRequest before = questions.kept.back();
  nodes.restart(1);
  EXPECT_EQ(questions.comes_again(before), 503);
  expect_that_changes_come("a");
}

// The same of one that the network has kept back, so that its nonce is new.
TEST_F(LateQuestions, OneThatALaterOneHasOvertakenIsRefused) {
  questions.keeps_back = true;
  nodes.write(1, "a", "x");
  nodes.run_for(3000);
  questions.keeps_back = false;
  HttpRequest overtaken = questions.kept.back();
  std::size_t until_then = questions.kept.size();
  while (questions.kept.size() == until_then) nodes.run_for(100);
  nodes.run_for(100);
  EXPECT_EQ(questions.comes_again(overtaken), 503);
}

TEST_F(LateQuestions, OneOfBeforeTheAskersCrashIsRefused) {
  questions.keeps_back = true;
  nodes.restart(0);
  nodes.run_for(1000);
  HttpRequest before = questions.kept.back();
  nodes.restart(0);
  questions.keeps_back = false;
  nodes.run_for(3000);
  EXPECT_EQ(questions.comes_again(before), 503);
  expect_that_changes_come("a");
}

TEST_F(LateQuestions, ThatOfNowIsTakenThoughAClockWasSetBack) {
  nodes.run_for(3000);
  nodes.restart(1);
  nodes.restart(0);
  nodes.now_ms -= 60000;
  expect_that_changes_come("a");
}

}  // namespace
}  // namespace rowmesh::testing
