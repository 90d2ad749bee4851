// The newest status that this process can know: of its own worker, or what another process's worker wrote into the
// file.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "shared/sync/status.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

struct CurrentStatus {
  NodeStatus node;
  bool served = false;  // some process serves the file
  bool here = false;    // this one
  std::string problem;  // why this process's worker does not serve; ''
};

// Also gives servers that the worker has not seen yet, so that what was just added is in the list.
CurrentStatus current_status(sqlite3* db);
// Entries of the log that the worker has not read yet.
std::int64_t unread_log(sqlite3* db);
std::string iso_time(std::uint64_t ms);  // '2026-01-31T12:00:00.123Z'

}  // namespace rowmesh::sqlite
