// Who may ask a node what, and what is counted when somebody may not. The same against running nodes:
// regress/cluster/test_requests.py.
#include <gtest/gtest.h>

#include "shared/http/auth.hpp"
#include "shared/model/limits.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh {
namespace {

const std::string secret = "the secret of nodes 0 and 1";

class Authentication : public ::testing::Test {
 protected:
  Authentication() {
    pair.add_server(0, 1, secret);
    pair.add_server(1, 0, secret);
    pair.start();
    pair.run_for(200);
  }

  HttpRequest request(const std::string& method, const std::string& path, const std::string& body = "") {
    HttpRequest request;
    request.method = method;
    request.path = path;
    if (!body.empty()) request.body = std::make_shared<Body>(body);
    return request;
  }
  HttpRequest signed_request(const std::string& path = "/rowmesh/v1/hello", const std::string& with = secret,
                             std::int64_t later_ms = 0) {
    HttpRequest made = request("GET", path);
    sign_request(made, pair.uuid(1), with, pair.now_ms + static_cast<std::uint64_t>(later_ms), pair.random.next());
    return made;
  }
  // As the listener asks: the head first.
  int answer(const HttpRequest& request) {
    std::uint64_t body_limit = 0;
    HttpResponse early = pair.nodes[0]->check(request, body_limit);
    return early.status != 0 ? early.status : pair.nodes[0]->handle(request).status;
  }
  std::uint64_t counted(RefusedFor why) { return pair.nodes[0]->status().refused[why]; }

  testing::NodePair pair;
};

TEST_F(Authentication, ARightSignatureIsAnswered) {
  EXPECT_EQ(answer(signed_request()), 200);
  EXPECT_EQ(pair.nodes[0]->status().refused_requests, 0u);
}

TEST_F(Authentication, EachWrongWayIsRefusedAndCounted) {
  EXPECT_EQ(answer(request("GET", "/rowmesh/v1/hello")), 401);
  EXPECT_EQ(counted(RefusedFor::not_signed), 1u);
  EXPECT_EQ(answer(signed_request("/rowmesh/v1/hello", "another")), 401);
  EXPECT_EQ(counted(RefusedFor::signature), 1u);
  HttpRequest stranger = request("GET", "/rowmesh/v1/hello");
  sign_request(stranger, pair.uuid(77), secret, pair.now_ms, 1);
  EXPECT_EQ(answer(stranger), 401);
  EXPECT_EQ(counted(RefusedFor::unknown_node), 1u);
  EXPECT_EQ(
      answer(signed_request("/rowmesh/v1/hello", secret, -static_cast<std::int64_t>(limits::signature_window_ms) - 1)),
      401);
  EXPECT_EQ(
      answer(signed_request("/rowmesh/v1/hello", secret, static_cast<std::int64_t>(limits::signature_window_ms) + 1)),
      401);
  EXPECT_EQ(counted(RefusedFor::old), 2u);
  HttpRequest once = signed_request();
  EXPECT_EQ(answer(once), 200);
  EXPECT_EQ(answer(once), 401);
  EXPECT_EQ(counted(RefusedFor::replayed), 1u);
  EXPECT_EQ(answer(request("GET", "/rowmesh/v1/nowhere")), 404);
  EXPECT_EQ(counted(RefusedFor::not_found), 1u);
  EXPECT_EQ(pair.nodes[0]->status().refused_requests, 7u);
}

TEST_F(Authentication, AChangedBodyIsRefusedOnEveryPath) {
  for (const char* path : {"/rowmesh/v1/changes", "/rowmesh/v1/copy"}) {
    HttpRequest changed = request("POST", path, "what was signed");
    sign_request(changed, pair.uuid(1), secret, pair.now_ms, pair.random.next());
    changed.body = std::make_shared<Body>("what was Signed");
    EXPECT_EQ(answer(changed), 401) << path;
  }
  HttpRequest added = signed_request();
  added.body = std::make_shared<Body>("nobody signed this");
  EXPECT_EQ(answer(added), 401);
  EXPECT_EQ(counted(RefusedFor::changed_body), 3u);
}

TEST_F(Authentication, AStrangersBodyIsNotEvenRead) {
  std::uint64_t body_limit = 1;
  HttpRequest unsigned_request = request("POST", "/rowmesh/v1/changes");
  EXPECT_EQ(pair.nodes[0]->check(unsigned_request, body_limit).status, 401);
  EXPECT_EQ(body_limit, 0u);
}

TEST_F(Authentication, JsonOfAnotherShapeIsRefused) {
  for (const char* body : {"[]", "{}", "{\"tables\":7}", "{\"tables\":[7],\"on_existing\":[]}", "{", "\xff\xfe"}) {
    HttpRequest copy = request("POST", "/rowmesh/v1/copy", body);
    sign_request(copy, pair.uuid(1), secret, pair.now_ms, pair.random.next());
    int status = answer(copy);
    EXPECT_TRUE(status == 400 || status == 202) << body << " " << status;
  }
  for (const char* query : {"", "origin=", "origin=zz", "table=&after=", "progress=ff", "progress=7b7d"})
    for (const char* path : {"/rowmesh/v1/hello", "/rowmesh/v1/rows", "/rowmesh/v1/changes"}) {
      HttpRequest asked = request("GET", path);
      asked.query = query;
      sign_request(asked, pair.uuid(1), secret, pair.now_ms, pair.random.next());
      EXPECT_LT(answer(asked), 500) << path << "?" << query;
    }
}

class Rotation : public ::testing::Test {
 protected:
  // As alter_server(secret => ...) does.
  void replace_secret(std::size_t at, const std::string& with) {
    pair.stores[at]->change_server(1, [&](ServerConfig& server) {
      server.old_secret = server.secret;
      server.secret = with;
    });
  }
  std::string old_secret(std::size_t at) { return pair.stores[at]->servers().at(0).old_secret; }
  void write_both() {
    written++;
    pair.write(0, "a" + std::to_string(written), "of 0");
    pair.write(1, "b" + std::to_string(written), "of 1");
  }

  testing::NodePair pair;
  std::size_t written = 0;
};

TEST_F(Rotation, ASecretIsReplacedWithoutAPause) {
  pair.add_server(0, 1, "old");
  pair.add_server(1, 0, "old");
  pair.start();
  write_both();
  pair.run_for(1000);
  replace_secret(0, "new");
  for (int i = 0; i < 20; i++) {
    write_both();
    pair.run_for(1000);
    EXPECT_EQ(pair.rows(0), 2 * written) << "with one side changed, second " << i;
    EXPECT_EQ(pair.rows(1), 2 * written);
    EXPECT_EQ(pair.status(0).state, "streaming");
    EXPECT_EQ(pair.status(1).state, "streaming");
  }
  EXPECT_EQ(old_secret(0), "old");
  replace_secret(1, "new");
  for (int i = 0; i < 20; i++) {
    write_both();
    pair.run_for(1000);
    EXPECT_EQ(pair.rows(0), 2 * written) << "with both sides changed, second " << i;
    EXPECT_EQ(pair.rows(1), 2 * written);
  }
  EXPECT_EQ(old_secret(0), "");
  EXPECT_EQ(old_secret(1), "");
  // What is old now opens nothing.
  HttpRequest request;
  request.method = "GET";
  request.path = "/rowmesh/v1/hello";
  sign_request(request, pair.uuid(1), "old", pair.now_ms, 4711);
  std::uint64_t body_limit = 0;
  EXPECT_EQ(pair.nodes[0]->check(request, body_limit).status, 401);
}

TEST_F(Rotation, AlsoWithAServerThatNobodyReaches) {
  pair.add_server(0, 1, "old", true);  // node 1 comes to node 0
  pair.add_server(1, 0, "old");
  pair.start();
  write_both();
  pair.run_for(3000);
  for (std::size_t first : {0u, 1u}) {
    std::string next = "new" + std::to_string(first);
    for (std::size_t side : {first, 1 - first}) {
      replace_secret(side, next);
      for (int i = 0; i < 100; i++) {
        write_both();
        pair.run_for(1000);
      }
      EXPECT_EQ(pair.rows(0), 2 * written);
      EXPECT_EQ(pair.rows(1), 2 * written);
    }
    EXPECT_EQ(old_secret(0), "");
    EXPECT_EQ(old_secret(1), "");
  }
}

TEST_F(Rotation, AWrongNewSecretIsSaid) {
  pair.add_server(0, 1, "old");
  pair.add_server(1, 0, "old");
  pair.start();
  pair.run_for(1000);
  pair.stores[0]->change_server(1, [&](ServerConfig& server) { server.secret = "mistyped"; });
  pair.run_for(10000);
  EXPECT_EQ(pair.status(0).state, "blocked");
  EXPECT_NE(pair.status(0).last_error.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace rowmesh
