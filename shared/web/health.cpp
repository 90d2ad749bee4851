#include "shared/web/health.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "shared/model/error.hpp"
#include "shared/model/settings.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t megabyte = 1 << 20;

std::string plural(std::uint64_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

std::string duration(std::uint64_t ms) {
  if (ms < 10000) return std::to_string(ms) + " ms";
  if (ms < 600000) return std::to_string(ms / 1000) + " s";
  if (ms < 36000000) return std::to_string(ms / 60000) + " min";
  return std::to_string(ms / 3600000) + " h";
}

HealthCheck judge_server(const ServerStatus& server, const HealthLimits& limits) {
  HealthCheck check{"server " + server.name, Verdict::ok, server.state};
  if (server.state == "blocked" || server.state == "needs copy")
    check.verdict = Verdict::failing;
  else if (server.state == "backing off" || (server.state != "disabled" && server.lag_ms >= limits.lag_ms))
    check.verdict = Verdict::degraded;
  if (server.state != "disabled" && server.lag_ms >= limits.lag_ms)
    check.text += ", " + duration(server.lag_ms) + " behind";
  if (!server.last_error.empty() && server.state != "disabled") check.text += ": " + server.last_error;
  return check;
}

HealthCheck judge_queue(const NodeStatus& status, const HealthLimits& limits) {
  std::uint64_t longest = 0;
  std::string name;
  for (const ServerStatus& server : status.servers) {
    if (server.state == "disabled" || server.queued <= longest) continue;
    longest = server.queued;
    name = server.name;
  }
  HealthCheck check{"queue", longest >= limits.queue_rows ? Verdict::degraded : Verdict::ok,
                    "nothing waits to be shipped"};
  if (longest > 0) check.text = plural(longest, "changed row waits", "changed rows wait") + " for '" + name + "'";
  return check;
}

HealthCheck judge_clock(const NodeStatus& status, const HealthLimits& limits) {
  HealthCheck check{"clock", Verdict::ok, "agrees with the servers that were heard"};
  std::uint64_t worst = 0;
  for (const ServerStatus& server : status.servers) {
    std::uint64_t apart =
        static_cast<std::uint64_t>(server.clock_ahead_ms < 0 ? -server.clock_ahead_ms : server.clock_ahead_ms);
    if (apart < limits.clock_ms || apart <= worst) continue;
    worst = apart;
    check.verdict = Verdict::degraded;
    check.text = "the clock of '" + server.name + "' is " + duration(apart) +
                 (server.clock_ahead_ms < 0 ? " behind" : " ahead of") + " ours: set both by NTP";
  }
  return check;
}

HealthCheck judge_disk(const HealthFacts& facts, const HealthLimits& limits) {
  if (facts.disk_free_bytes == ~0ULL) return {"disk", Verdict::ok, "not looked at"};
  std::uint64_t free_mb = facts.disk_free_bytes / megabyte;
  Verdict verdict = free_mb < limits.disk_mb / 10 ? Verdict::failing
                    : free_mb < limits.disk_mb    ? Verdict::degraded
                                                  : Verdict::ok;
  return {"disk", verdict, std::to_string(free_mb) + " MB are free where the database lies"};
}

}  // namespace

const char* to_string(Verdict verdict) {
  return verdict == Verdict::ok ? "ok" : verdict == Verdict::degraded ? "degraded" : "failing";
}

HealthLimits health_limits(const std::function<std::string(const std::string&)>& setting) {
  HealthLimits limits;
  auto take = [&](const char* name, std::uint64_t& limit) {
    std::string full = std::string("health_") + name, text = setting(full);
    const Setting* known = find_setting(full);
    if (text.empty() || !known) return;
    try {
      limit = static_cast<std::uint64_t>(setting_number(*known, text));
    } catch (const Error&) {
      // It was checked when it was set; what got around that leaves the default.
    }
  };
  take("lag_ms", limits.lag_ms);
  take("queue_rows", limits.queue_rows);
  take("quarantine_rows", limits.quarantine_rows);
  take("clock_ms", limits.clock_ms);
  take("disk_mb", limits.disk_mb);
  return limits;
}

Health judge_health(const NodeStatus& status, const HealthFacts& facts, const HealthLimits& limits) {
  Health health;
  auto& checks = health.checks;
  checks.push_back({"database", facts.database_trouble.empty() ? Verdict::ok : Verdict::failing,
                    facts.database_trouble.empty() ? "answers" : facts.database_trouble});
  HealthCheck worker{"worker", Verdict::ok, "at work"};
  if (!facts.worker_trouble.empty())
    worker = {"worker", Verdict::failing, facts.worker_trouble};
  else if (!status.blocked.empty())
    worker = {"worker", Verdict::failing, status.blocked};
  else if (!status.listen_problem.empty())
    worker = {"worker", Verdict::degraded, status.listen_problem};
  else if (!facts.enabled)
    worker = {"worker", Verdict::degraded, "replication is switched off here; enable() switches it on"};
  checks.push_back(worker);
  checks.push_back(judge_queue(status, limits));
  std::uint64_t quarantined = status.quarantined;
  checks.push_back(
      {"quarantine",
       quarantined >= std::max<std::uint64_t>(limits.quarantine_rows, 1) ? Verdict::degraded : Verdict::ok,
       quarantined == 0 ? "empty" : plural(quarantined, "row waits", "rows wait") + " that this database refuses"});
  checks.push_back(judge_clock(status, limits));
  checks.push_back(judge_disk(facts, limits));
  for (const ServerStatus& server : status.servers) checks.push_back(judge_server(server, limits));
  for (const HealthCheck& check : checks) health.verdict = std::max(health.verdict, check.verdict);
  return health;
}

Health only_checks(const Health& health, const std::string& only) {
  if (only.empty()) return health;
  constexpr const char* names = "database,worker,queue,quarantine,clock,disk,server";
  for (std::size_t begin = 0; begin <= only.size();) {
    std::size_t end = std::min(only.find(',', begin), only.size());
    std::string name = only.substr(begin, end - begin);
    if (("," + std::string(names) + ",").find("," + name + ",") == std::string::npos)
      throw Error(ErrorKind::config, "bad_request", "there is no check '" + name + "'; there are: " + names);
    begin = end + 1;
  }
  Health chosen;
  for (const HealthCheck& check : health.checks) {
    bool wanted =
        ("," + only + ",").find("," + check.check.substr(0, check.check.find(' ')) + ",") != std::string::npos;
    if (!wanted) continue;
    chosen.checks.push_back(check);
    chosen.verdict = std::max(chosen.verdict, check.verdict);
  }
  return chosen;
}

nlohmann::json health_to_json(const Health& health, const std::string& node_name) {
  nlohmann::json checks = nlohmann::json::array();
  for (const HealthCheck& check : health.checks)
    checks.push_back({{"check", check.check}, {"status", to_string(check.verdict)}, {"text", check.text}});
  return {{"status", to_string(health.verdict)}, {"node", node_name}, {"checks", checks}};
}

}  // namespace rowmesh
