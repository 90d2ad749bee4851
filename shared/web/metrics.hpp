// /metrics: the node's counters in Prometheus' text format.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "shared/sync/node.hpp"
#include "shared/web/administration.hpp"
#include "shared/web/health.hpp"

namespace rowmesh {

struct MetricsInput {
  const Identity& identity;
  const EngineInfo& engine;
  const NodeStatus& status;
  const std::vector<ServerDetail>& details;
  const std::map<std::string, std::uint64_t>& conflicts_by_type;
  const Storage& storage;
  const Health& health;
  const Held& held;
};
std::string metrics_text(const MetricsInput& input);

}  // namespace rowmesh
