// NodeStatus as JSON and back, as a worker publishes it: sessions and processes without the worker show what it last
// said.
#pragma once
#include <string>

#include "shared/sync/status.hpp"

namespace rowmesh {

std::string status_to_json(const NodeStatus& status);
NodeStatus status_from_json(
    const std::string& json);  // fields that are missing stay as they are by default; {} on bad JSON

}  // namespace rowmesh
