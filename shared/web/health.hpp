// Is this node well? Named checks, the worst one decides. The same for /health, for health() in SQL and for the
// dashboard.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "shared/sync/status.hpp"

namespace rowmesh {

enum class Verdict : std::uint8_t {
  ok,
  degraded,  // works, and a person should look: 200
  failing,   // something stands still or soon will: 503
};
const char* to_string(Verdict verdict);

struct HealthCheck {
  std::string check;
  Verdict verdict = Verdict::ok;
  std::string text;  // one sentence
};

// From which on a check is `degraded`. Settings of these names with the prefix 'health_' (docs/settings.md).
struct HealthLimits {
  std::uint64_t lag_ms = 60000;
  std::uint64_t queue_rows = 100000;
  std::uint64_t quarantine_rows = 1;
  std::uint64_t clock_ms = 5000;
  std::uint64_t disk_mb = 1024;  // free; a tenth of it: failing
};
HealthLimits health_limits(const std::function<std::string(const std::string&)>& setting);

// What the status does not say.
struct HealthFacts {
  std::string worker_trouble;    // why no worker is at work; empty: one is
  std::string database_trouble;  // why the database cannot be read; empty: it can
  std::uint64_t disk_free_bytes = ~0ULL;
  bool enabled = true;  // replication as a whole
};

struct Health {
  Verdict verdict = Verdict::ok;
  std::vector<HealthCheck> checks;
};
Health judge_health(const NodeStatus& status, const HealthFacts& facts, const HealthLimits& limits);

// `only`: names of checks, separated by commas ("server" means all servers); empty: all. Throws Error(config) for a
// name that is none: nobody must take for healthy what was never looked at.
Health only_checks(const Health& health, const std::string& only);
nlohmann::json health_to_json(const Health& health, const std::string& node_name);

}  // namespace rowmesh
