#include "shared/web/health.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "shared/model/error.hpp"
#include "shared/web/credentials.hpp"
#include "shared/web/history.hpp"
#include "shared/web/metrics.hpp"

namespace rowmesh {
namespace {

NodeStatus well() {
  NodeStatus status;
  ServerStatus north;
  north.id = 1;
  north.name = "north";
  north.state = "streaming";
  north.direction = "both";
  status.servers = {north};
  return status;
}

Verdict verdict_of(const Health& health, const std::string& check) {
  for (const HealthCheck& one : health.checks)
    if (one.check == check) return one.verdict;
  ADD_FAILURE() << "no check " << check;
  return Verdict::failing;
}

TEST(Health, TheWorstCheckDecides) {
  HealthFacts facts;
  facts.disk_free_bytes = 1ULL << 40;
  EXPECT_EQ(judge_health(well(), facts, {}).verdict, Verdict::ok);

  NodeStatus status = well();
  status.quarantined = 1;
  EXPECT_EQ(judge_health(status, facts, {}).verdict, Verdict::degraded);
  status.servers[0].state = "blocked";
  Health health = judge_health(status, facts, {});
  EXPECT_EQ(health.verdict, Verdict::failing);
  EXPECT_EQ(verdict_of(health, "server north"), Verdict::failing);
  EXPECT_EQ(verdict_of(health, "quarantine"), Verdict::degraded);
  EXPECT_EQ(only_checks(health, "database,worker,quarantine").verdict, Verdict::degraded);
}

TEST(Health, AMisspeltCheckIsNotHealthy) {
  Health health = judge_health(well(), {}, {});
  for (const char* wrong : {"databse", "database,", "disk,wrkr", ","})
    EXPECT_THROW(only_checks(health, wrong), Error) << wrong;
  EXPECT_EQ(only_checks(health, "server").checks.size(), 1u);
}

TEST(Health, EachCheckHasItsThreshold) {
  HealthLimits limits;
  limits.lag_ms = 1000;
  limits.queue_rows = 10;
  limits.clock_ms = 500;
  limits.disk_mb = 100;
  NodeStatus status = well();
  status.servers[0].lag_ms = 1000;
  status.servers[0].queued = 10;
  status.servers[0].clock_ahead_ms = -500;
  HealthFacts facts;
  facts.disk_free_bytes = 99 << 20;
  Health health = judge_health(status, facts, limits);
  for (const char* check : {"server north", "queue", "clock", "disk"})
    EXPECT_EQ(verdict_of(health, check), Verdict::degraded) << check;
  facts.disk_free_bytes = 9 << 20;
  EXPECT_EQ(verdict_of(judge_health(status, facts, limits), "disk"), Verdict::failing);
  status.servers[0].state = "disabled";  // whoever is switched off on purpose raises no alarm
  health = judge_health(status, facts, limits);
  EXPECT_EQ(verdict_of(health, "server north"), Verdict::ok);
  EXPECT_EQ(verdict_of(health, "queue"), Verdict::ok);
}

TEST(Health, NoWorkerOrNoDatabaseIsFailing) {
  HealthFacts facts;
  facts.worker_trouble = "nobody serves this file";
  EXPECT_EQ(judge_health(well(), facts, {}).verdict, Verdict::failing);
  facts = {};
  facts.database_trouble = "it cannot be read";
  EXPECT_EQ(verdict_of(judge_health(well(), facts, {}), "database"), Verdict::failing);
}

TEST(Health, ThresholdsAreSettingsWithUnits) {
  HealthLimits limits = health_limits([](const std::string& name) {
    return name == "health_lag_ms" ? "2min" : name == "health_queue_rows" ? "rubbish" : "";
  });
  EXPECT_EQ(limits.lag_ms, 120000u);
  EXPECT_EQ(limits.queue_rows, HealthLimits().queue_rows);
}

TEST(Metrics, NamesAreQuotedAndHistogramsAddUp) {
  NodeStatus status = well();
  status.servers[0].name = "a \"b\\\nc";
  ServerDetail detail;
  detail.name = "north";
  detail.meters.ship_seconds.observe_ms(3);
  detail.meters.ship_seconds.observe_ms(90000);
  Identity identity{"node", 1, "me"};
  EngineInfo engine{"sqlite", "3", "file"};
  Health health;
  std::string text = metrics_text({identity, engine, status, {detail}, {{"insert_exists", 3}}, {}, health, {}});
  EXPECT_NE(text.find(R"(rowmesh_server_up{server="a \"b\\\nc"} 1)"), text.npos) << text;
  EXPECT_NE(text.find(R"(rowmesh_server_ship_seconds_bucket{server="north",le="0.005"} 1)"), text.npos);
  EXPECT_NE(text.find(R"(rowmesh_server_ship_seconds_bucket{server="north",le="60"} 1)"), text.npos);
  EXPECT_NE(text.find(R"(rowmesh_server_ship_seconds_bucket{server="north",le="+Inf"} 2)"), text.npos);
  EXPECT_NE(text.find(R"(rowmesh_server_ship_seconds_count{server="north"} 2)"), text.npos);
  EXPECT_NE(text.find(R"(rowmesh_conflicts_total{type="insert_exists"} 3)"), text.npos);
}

TEST(RecentHistory, KeepsAnHourOfRatesAndForgetsServersThatAreGone) {
  RecentHistory history;
  NodeStatus status = well();
  std::uint64_t now_ms = 1'700'000'000'000;
  for (int i = 0; i < 1000; i++) {
    ASSERT_TRUE(history.due(now_ms));
    status.captured += 50;
    status.servers[0].rows_sent += 100;
    now_ms = history.look(now_ms, status);
  }
  auto json = history.to_json();
  EXPECT_EQ(json["captured"].size(), RecentHistory::samples);
  EXPECT_DOUBLE_EQ(json["captured"].back(), 10);
  EXPECT_DOUBLE_EQ(json["servers"]["north"]["sent"].back(), 20);
  status.captured = 5;  // the worker began anew
  status.servers.clear();
  history.look(now_ms, status);
  json = history.to_json();
  EXPECT_DOUBLE_EQ(json["captured"].back(), 1);
  EXPECT_TRUE(json["servers"].empty());
}

TEST(Credentials, AHashFitsItsOwnTextOnly) {
  std::string hash = hash_password("a long password", "salt");
  EXPECT_EQ(hash.find("a long password"), hash.npos);
  EXPECT_TRUE(password_fits("a long password", hash));
  EXPECT_FALSE(password_fits("a long passworD", hash));
  for (const char* broken : {"", "pbkdf2$", "pbkdf2$0$73616c74$", "pbkdf2$99999999999$73$00", "sha256$00"})
    EXPECT_FALSE(password_fits("", broken)) << broken;
  EXPECT_TRUE(token_fits("t", hash_token("t")));
  EXPECT_FALSE(token_fits("", hash_token("t")));
  EXPECT_NE(password_trouble("short"), "");
}

}  // namespace
}  // namespace rowmesh
