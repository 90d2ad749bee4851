// NodeStatus as JSON and back, for rowmesh_published: a process without the worker shows what the worker last said.
#pragma once
#include <string>

#include "shared/sync/status.hpp"

namespace rowmesh::sqlite {

std::string status_to_json(const NodeStatus& status);
NodeStatus status_from_json(
    const std::string& json);  // fields that are missing stay as they are by default; {} on bad JSON

}  // namespace rowmesh::sqlite
