// One worker per file in this process, however many connections load the extension. A worker lives until rowmesh_stop,
// until its file is gone or until the process ends, not until the last connection closes: programs with a connection
// per request would otherwise start and stop it all the time.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "sqlite_ext/statement.hpp"
#include "sqlite_ext/worker.hpp"

namespace rowmesh::sqlite {

// On load: starts the worker if rowmesh_start was called for this file before. Throws nothing: a file that cannot be
// read now is not our business yet.
void start_if_wanted(sqlite3* db) noexcept;

// The worker of this connection's file; started if there is none. Throws Error(config) when this process cannot have
// one.
std::shared_ptr<Worker> ensure_worker(sqlite3* db, bool foreground = false);
// null: this process has none.
std::shared_ptr<Worker> find_worker(const std::string& path);
// The files that this process has workers for.
std::vector<std::string> worker_paths();
// Stops this process's worker of the file and waits for its end.
void stop_worker(const std::string& path);

// Registers the handler that stops all workers when the process ends. The one registered last runs first, so this is
// called again after libraries with handlers of their own have been set up.
void stop_at_exit();

}  // namespace rowmesh::sqlite
