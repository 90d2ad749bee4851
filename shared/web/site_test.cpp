// Who may see and do what over HTTP, on a node in memory. The same on running nodes of both engines:
// regress/cluster/test_api.py.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "shared/http/auth.hpp"
#include "shared/testing/node_pair.hpp"
#include "shared/web/credentials.hpp"
#include "shared/web/page.hpp"
#include "shared/web/site.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;

class FakeAdministration : public Administration {
 public:
  EngineInfo engine() override { return {"memory", "1", "nothing"}; }
  std::vector<Credential> credentials() override { return known; }
  std::vector<ListedTable> list_tables() override { return {}; }
  std::vector<ListedConflict> list_conflicts(std::int64_t, std::size_t) override { return {}; }
  std::vector<std::pair<std::string, SideRow>> list_quarantine(std::int64_t, std::size_t) override { return {}; }
  Storage storage() override { return {1, 2, 1ULL << 40}; }
  std::vector<Neighbour> neighbours() override { return {}; }
  std::string local_key() override { return "key of this machine"; }
  bool knows(const std::string& function) override { return function != "verify"; }
  json call(const std::string& function, const json& arguments) override {
    if (function == "verify")
      throw Error(ErrorKind::config, "unknown_function", "this version has no function verify()");
    if (arguments.value("direction", "") == "sideways") throw Error(ErrorKind::config, "bad_direction", "a sentence");
    calls.push_back(function + arguments.dump());
    return nullptr;
  }
  std::vector<Credential> known;
  std::vector<std::string> calls;
};

class SiteTest : public ::testing::Test {
 protected:
  SiteTest() {
    pair.add_server(0, 1, "a secret");
    pair.add_server(1, 0, "a secret");
    pair.start();
    pair.run_for(500);
    administration.known = {{"dashboard", "admin", hash_password("correct horse", "salt")},
                            {"reader", "monitor", hash_token("read")},
                            {"robot", "admin", hash_token("write")}};
    site = std::make_unique<Site>(SiteServices{*pair.nodes[0],
                                               *pair.stores[0],
                                               administration,
                                               pair.wall,
                                               pair.random,
                                               pair.network.client(0),
                                               [](char, const std::string&) {},
                                               {}});
  }

  HttpRequest request(const std::string& method, const std::string& path, const std::string& body = "",
                      Headers headers = {}) {
    HttpRequest made;
    made.method = method;
    made.path = path.substr(0, path.find('?'));
    if (path.find('?') != path.npos) made.query = path.substr(path.find('?') + 1);
    made.headers = std::move(headers);
    made.headers["content-type"] = "application/json";
    made.peer_address = "10.1.2.3";
    if (!body.empty()) made.body = std::make_shared<Body>(body);
    return made;
  }
  HttpResponse ask(const HttpRequest& request) {
    std::uint64_t limit = 0;
    HttpResponse early = site->check(request, limit);
    return early.status != 0 ? early : site->handle(request);
  }
  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = "",
                   Headers headers = {}) {
    return ask(request(method, path, body, std::move(headers)));
  }
  static json of(const HttpResponse& response) { return json::parse(response.body->text(1 << 20)); }
  Headers token(const std::string& text) { return {{"authorization", "Bearer " + text}}; }
  // Headers of a browser that is logged in.
  Headers log_in() {
    HttpResponse in = ask("POST", "/api/v1/login", R"({"password":"correct horse"})");
    EXPECT_EQ(in.status, 200);
    std::string cookie = in.headers["set-cookie"];
    EXPECT_NE(cookie.find("HttpOnly; SameSite=Strict"), cookie.npos);
    return {{"cookie", cookie.substr(0, cookie.find(';'))}, {"x-rowmesh-csrf", of(in)["csrf"].get<std::string>()}};
  }

  testing::NodePair pair;
  FakeAdministration administration;
  std::unique_ptr<Site> site;
};

TEST_F(SiteTest, AStrangerSeesTheLoginPageAndAWordOfHealthAndNothingElse) {
  EXPECT_EQ(ask("GET", "/dashboard").status, 200);
  EXPECT_EQ(of(ask("GET", "/health")), json({{"status", "ok"}}));
  EXPECT_EQ(ask("GET", "/metrics").status, 401);
  for (auto& [method, path] : site_routes()) {
    if (!path.starts_with("/api/v1/") || path == "/api/v1/session" || path == "/api/v1/login" ||
        path == "/api/v1/logout")
      continue;
    EXPECT_EQ(ask(method, path).status, 401) << method << " " << path;
  }
  EXPECT_EQ(ask("GET", "/api/v1/nothing").status, 404);
  EXPECT_EQ(ask("PUT", "/api/v1/servers").status, 405);
  EXPECT_TRUE(administration.calls.empty());
}

TEST_F(SiteTest, ThisMachineSeesHealthAndMetricsUnlessAPageOfAnotherNameAsks) {
  HttpRequest local = request("GET", "/metrics");
  local.peer_address = "127.0.0.1";
  local.headers["host"] = "127.0.0.1:8080";
  EXPECT_EQ(ask(local).status, 200);
  local.headers["host"] = "evil.example:8080";  // a name that was pointed at this machine
  EXPECT_EQ(ask(local).status, 401);
}

TEST_F(SiteTest, TokensMayWhatTheirScopeSays) {
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", token("read")).status, 200);
  EXPECT_EQ(ask("GET", "/metrics", "", token("read")).status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/disable", "{}", token("read")).status, 403);
  EXPECT_EQ(ask("POST", "/api/v1/disable", "{}", token("write")).status, 200);
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", token("guess")).status, 401);
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", token("correct horse")).status, 401);  // the password is no token
  EXPECT_EQ(administration.calls, std::vector<std::string>{"disable{}"});
}

TEST_F(SiteTest, WhatAServerSignsMayRead) {
  HttpRequest signed_one = request("GET", "/api/v1/overview");
  sign_request(signed_one, pair.uuid(1), "a secret", pair.now_ms, 77);
  EXPECT_EQ(ask(signed_one).status, 200);
  HttpRequest change = request("POST", "/api/v1/disable");
  sign_request(change, pair.uuid(1), "a secret", pair.now_ms, 78);
  EXPECT_EQ(ask(change).status, 403);
  HttpRequest forged = request("GET", "/api/v1/overview");
  sign_request(forged, pair.uuid(1), "another secret", pair.now_ms, 79);
  EXPECT_EQ(ask(forged).status, 401);
}

TEST_F(SiteTest, ASessionChangesThingsOnlyFromTheNodesOwnPage) {
  Headers browser = log_in();
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", browser).status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/servers", R"({"name":"north","secret":"s"})", browser).status, 200);
  EXPECT_EQ(administration.calls.back(), R"(add_server{"name":"north","secret":"s"})");
  Headers foreign = browser;
  foreign.erase("x-rowmesh-csrf");
  EXPECT_EQ(ask("POST", "/api/v1/disable", "{}", foreign).status, 403);
  Headers other_site = browser;
  other_site["sec-fetch-site"] = "cross-site";
  EXPECT_EQ(ask("POST", "/api/v1/disable", "{}", other_site).status, 403);
  EXPECT_EQ(ask("POST", "/api/v1/logout", "{}", browser).status, 200);
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", browser).status, 401);
  EXPECT_EQ(administration.calls.size(), 1u);
}

TEST_F(SiteTest, SessionsEnd) {
  Headers browser = log_in();
  for (int hour = 0; hour < 23; hour++) {
    pair.now_ms += 59 * 60 * 1000;
    EXPECT_EQ(ask("GET", "/api/v1/overview", "", browser).status, 200);
  }
  pair.now_ms += 2 * 3600 * 1000;
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", browser).status, 401) << "after a day";
  browser = log_in();
  pair.now_ms += 61 * 60 * 1000;
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", browser).status, 401) << "unused for an hour";
  browser = log_in();
  administration.known[0].hash = hash_password("another one", "salt");
  pair.now_ms += 10000;
  EXPECT_EQ(ask("GET", "/api/v1/overview", "", browser).status, 401) << "the password was changed";
}

TEST_F(SiteTest, GuessingIsSlowedDownAndTheRightPasswordTooMeanwhile) {
  for (int i = 0; i < 5; i++) EXPECT_EQ(ask("POST", "/api/v1/login", R"({"password":"guess"})").status, 401);
  HttpResponse slowed = ask("POST", "/api/v1/login", R"({"password":"correct horse"})");
  EXPECT_EQ(slowed.status, 429);
  EXPECT_EQ(slowed.headers.count("retry-after"), 1u);
  pair.now_ms += 61000;
  log_in();
}

TEST_F(SiteTest, NobodyLogsInBeforeAPasswordIsSet) {
  administration.known.clear();
  pair.now_ms += 10000;
  EXPECT_EQ(of(ask("GET", "/api/v1/session"))["password_set"], false);
  HttpResponse refused = ask("POST", "/api/v1/login", R"({"password":""})");
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(of(refused)["text"].get<std::string>().find("set_dashboard_password"), std::string::npos);
}

TEST_F(SiteTest, TheDatabasesOwnSentenceComesBack) {
  HttpResponse refused = ask("PATCH", "/api/v1/servers/no%2Frth", R"({"direction":"sideways"})", token("write"));
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(of(refused), json({{"error", "bad_direction"}, {"text", "a sentence"}}));
  EXPECT_EQ(ask("POST", "/api/v1/servers/north/verify", "{}", token("write")).status, 501);
  EXPECT_EQ(ask("POST", "/api/v1/servers/north/dance", "{}", token("write")).status, 404);
  EXPECT_EQ(ask("POST", "/api/v1/servers", "[]", token("write")).status, 400);
  EXPECT_EQ(ask("POST", "/api/v1/quarantine/x/retry", "", token("write")).status, 400);
  EXPECT_EQ(ask("DELETE", "/api/v1/servers/no%2Frth", "", token("write")).status, 200);
  EXPECT_EQ(administration.calls.back(), R"(remove_server{"name":"no/rth"})");
}

TEST_F(SiteTest, TestingAServerAnswersWhenItHasAnswered) {
  HttpRequest test = request("POST", "/api/v1/servers/node1/test", "", token("write"));
  EXPECT_EQ(ask(test).status, 0);
  EXPECT_EQ(site->later(test).status, 0);
  pair.run_for(1000);
  HttpResponse done = site->later(test);
  ASSERT_EQ(done.status, 200);
  std::set<std::string> checks;
  const json answer = of(done);
  for (const json& check : answer["checks"]) {
    EXPECT_EQ(check["ok"], true) << check;
    checks.insert(check["check"]);
  }
  EXPECT_TRUE(checks.contains("secret") && checks.contains("clock") && checks.contains("table items")) << answer;
}

TEST_F(SiteTest, ThePageMayRunItsOwnScriptAndNothingElse) {
  HttpResponse page = ask("GET", "/dashboard");
  std::string policy = page.headers["content-security-policy"];
  EXPECT_NE(policy.find("default-src 'none'"), policy.npos);
  EXPECT_EQ(policy.find("unsafe"), policy.npos);
  EXPECT_NE(page.body->text(1 << 20).find(dashboard_script), std::string::npos);
}

// Both ways: nothing undocumented, nothing promised that is not there.
TEST(OpenApi, DescribesExactlyTheRoutesThatThereAre) {
  std::ifstream file(ROWMESH_SOURCE_DIR "/docs/openapi.json");
  ASSERT_TRUE(file) << "docs/openapi.json";
  json document = json::parse(file);
  auto plain = [](std::string path) {  // {name} -> {}; the open end has a name there
    std::string result;
    bool inside = false;
    for (char letter : path) {
      if (letter == '}') inside = false;
      if (!inside) result += letter;
      if (letter == '{') inside = true;
    }
    return result;
  };
  std::set<std::string> documented, there;
  for (auto& [path, operations] : document["paths"].items())
    for (auto& [method, operation] : operations.items()) {
      std::string upper = method;
      for (char& letter : upper) letter = static_cast<char>(std::toupper(letter));
      documented.insert(upper + " " + plain(path));
      EXPECT_FALSE(operation["responses"].empty()) << method << path;
    }
  for (auto& [method, path] : site_routes()) {
    std::string shown = path;
    if (std::size_t end = shown.find("/..."); end != shown.npos) shown.replace(end, 4, "/{}");
    there.insert(method + " " + shown);
  }
  EXPECT_EQ(documented, there);
}

}  // namespace
}  // namespace rowmesh
