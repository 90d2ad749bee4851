// What alter_server sets for one server: that it is read, and that the node does it.
#include "shared/sync/server_options.hpp"

#include <gtest/gtest.h>

#include "shared/testing/node_pair.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t hour_ms = 3600 * 1000, midnight_ms = 24 * hour_ms * 19676;

TEST(ServerOptions, AreReadAndBounded) {
  ServerOptions options = parse_server_options(
      R"({"batch_rows":7,"batch_bytes":4096,"timeout_ms":100,"compression":"off","rate_limit":5000,"retention_hours":2,"schedule":null})");
  EXPECT_EQ(options.batch_rows, 7u);
  EXPECT_EQ(options.batch_bytes, 4096u);
  EXPECT_EQ(options.timeout_ms, 100u);
  EXPECT_EQ(options.compression, ServerOptions::Compression::off);
  EXPECT_EQ(options.rate_limit, 5000u);
  EXPECT_EQ(options.retention_hours, 2u);
  EXPECT_TRUE(parse_server_options("").schedule.empty());
  EXPECT_EQ(parse_server_options(R"({"batch_rows":0})").batch_rows, 0u);
  for (const char* wrong :
       {"[]", "{", R"({"batch_rows":-1})", R"({"batch_rows":1.5})", R"({"batch_rows":"7"})",
        R"({"batch_rows":1000001})", R"({"timeout_ms":99})", R"({"compression":"maybe"})", R"({"compression":1})",
        R"({"speed":1})", R"({"schedule":7})", R"({"schedule":"22:00"})", R"({"schedule":"22:00-25:00"})",
        R"({"schedule":"22:60-23:00"})", R"({"schedule":"1:00-2:00"})", R"({"schedule":"01:00-01:00"})",
        R"({"schedule":"aa:bb-cc:dd"})", R"({"schedule":"01:00-02:00-03:00"})"})
    EXPECT_THROW(parse_server_options(wrong), Error) << wrong;
}

TEST(ServerOptions, SchedulesAreHoursOfTheDay) {
  ServerOptions night = parse_server_options(R"({"schedule":"22:00-06:00, 12:00-12:30"})");
  auto open = [&](std::uint64_t minutes) { return in_schedule(night, midnight_ms + minutes * 60000); };
  EXPECT_TRUE(open(0));
  EXPECT_TRUE(open(5 * 60 + 59));
  EXPECT_FALSE(open(6 * 60));
  EXPECT_TRUE(open(12 * 60 + 29));
  EXPECT_FALSE(open(12 * 60 + 30));
  EXPECT_FALSE(open(21 * 60 + 59));
  EXPECT_TRUE(open(22 * 60));
  EXPECT_EQ(next_schedule_change_ms(night, midnight_ms + 30000), midnight_ms + 6 * hour_ms);
  EXPECT_EQ(next_schedule_change_ms(night, midnight_ms + 13 * hour_ms), midnight_ms + 22 * hour_ms);
  EXPECT_EQ(next_schedule_change_ms(parse_server_options("{}"), midnight_ms), 0u);
  EXPECT_TRUE(in_schedule(parse_server_options(R"({"schedule":"00:00-24:00"})"), midnight_ms + 24 * hour_ms - 1));
}

class OptionsAtWork : public ::testing::Test {
 protected:
  void begin(const std::string& options) {
    id = pair.add_server(0, 1, "secret");
    pair.add_server(1, 0, "secret");
    set(options);
    pair.start();
    pair.run_for(300);
  }
  void set(const std::string& options) {
    pair.stores[0]->change_server(id, [&](ServerConfig& server) { server.options = parse_server_options(options); });
  }
  testing::NodePair pair;
  std::int64_t id = 0;
};

TEST_F(OptionsAtWork, NothingIsShippedOutsideOfTheSchedule) {
  pair.now_ms = midnight_ms + 10 * hour_ms;
  begin(R"({"schedule":"22:00-06:00"})");
  pair.write(0, "k", "v");
  pair.write(1, "other", "v");
  pair.run_for(20000);
  EXPECT_EQ(pair.rows(1), 1u);
  EXPECT_EQ(pair.rows(0), 2u) << "what the other side ships comes all the same";
  EXPECT_EQ(pair.status(0).queued, 1u);
  EXPECT_NE(pair.status(0).progress.find("22:00"), std::string::npos) << pair.status(0).progress;
  pair.now_ms = midnight_ms + 22 * hour_ms - 1000;
  pair.run_for(3000);
  EXPECT_EQ(pair.rows(1), 2u);
  EXPECT_EQ(pair.status(0).progress, "");
}

TEST_F(OptionsAtWork, TheRateIsKept) {
  begin(R"({"rate_limit":2000,"compression":"off"})");
  std::uint64_t begun_ms = pair.now_ms;
  std::string long_value(1000, 'x');
  for (int i = 0; i < 20; i++) {
    pair.write(0, std::to_string(i), long_value);
    pair.run_for(100);
  }
  while (pair.rows(1) < 20 && pair.now_ms < begun_ms + 60000) pair.run_for(100);
  EXPECT_EQ(pair.rows(1), 20u);
  EXPECT_GT(pair.now_ms - begun_ms, 9000u) << "20 kB at 2 kB a second";
  // Without it, no pause.
  set("{}");
  pair.run_for(100);
  pair.write(0, "last", "v");
  pair.run_for(20000);
  pair.write(0, "and one", "v");
  pair.run_for(300);
  EXPECT_EQ(pair.rows(1), 22u);
}

// While a member is silent nothing is forgotten; beyond its retention it holds nothing back, and says that it needs a
// copy.
TEST_F(OptionsAtWork, ASilentServerIsGivenUpAfterItsRetention) {
  begin(R"({"retention_hours":2})");
  pair.write(0, "first", "v");
  pair.run_for(3000);
  ASSERT_EQ(pair.rows(1), 1u);
  pair.network.cut(0, 1, true);
  pair.network.cut(1, 0, true);
  for (int i = 0; i < 50; i++) pair.write(0, "k" + std::to_string(i), "v");
  pair.run_for(20000);
  pair.now_ms += hour_ms;
  pair.run_for(20000);
  EXPECT_NE(pair.status(0).state, "needs copy");
  EXPECT_EQ(pair.nodes[0]->status().unsettled, 51u - 1) << "kept for it";
  pair.now_ms += hour_ms;
  pair.run_for(20000);
  EXPECT_EQ(pair.status(0).state, "needs copy");
  EXPECT_EQ(pair.nodes[0]->status().unsettled, 0u) << "nobody else lacks them";
  pair.network.heal();
  pair.run_for(60000);
  EXPECT_EQ(pair.status(0).state, "needs copy") << "it is back, and what it lacks is gone";
  EXPECT_EQ(pair.rows(1), 1u);
}

// Sees what is sent to node 1, and hands it on or is silent.
class Watcher : public HttpHandler {
 public:
  explicit Watcher(testing::NodePair& nodes) : pair(nodes) {}
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    if (head.path == "/rowmesh/v1/changes")
      encodings.push_back(head.headers.contains("content-encoding") ? head.headers.at("content-encoding") : "");
    return pair.nodes[1]->check(head, body_limit);
  }
  HttpResponse handle(const HttpRequest& request) override { return pair.nodes[1]->handle(request); }
  HttpResponse later(const HttpRequest& request) override { return pair.nodes[1]->later(request); }
  testing::NodePair& pair;
  std::vector<std::string> encodings;
};

TEST_F(OptionsAtWork, CompressionIsAsWanted) {
  Watcher watcher(pair);
  pair.handlers[1] = &watcher;
  begin("{}");
  auto encoding_of_next = [&](const std::string& key) {
    watcher.encodings.clear();
    pair.write(0, key, "v");
    pair.run_for(500);
    return watcher.encodings.empty() ? "nothing came" : watcher.encodings.front();
  };
  EXPECT_EQ(encoding_of_next("short"), "");
  set(R"({"compression":"on"})");
  pair.run_for(100);
  EXPECT_EQ(encoding_of_next("on"), "zstd");
  set(R"({"compression":"off"})");
  pair.run_for(100);
  EXPECT_EQ(encoding_of_next("off"), "");
  EXPECT_EQ(pair.rows(1), 3u);
}

TEST_F(OptionsAtWork, TheTimeoutIsKept) {
  begin(R"({"timeout_ms":700})");
  pair.network.cut(0, 1, true);
  std::uint64_t begun_ms = pair.now_ms;
  while (pair.status(0).state == "streaming" && pair.now_ms < begun_ms + 60000) pair.run_for(10);
  EXPECT_LT(pair.now_ms - begun_ms, 6500u) << "a hello every 5 s, and 0.7 s for its answer; the default is 10 s";
}

}  // namespace
}  // namespace rowmesh
