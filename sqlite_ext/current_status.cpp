#include "sqlite_ext/current_status.hpp"

#include <ctime>

#include "shared/sync/status_json.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

NodeStatus published(sqlite3* db) {
  Statement query(db, "SELECT status FROM main.rowmesh_published WHERE id=1");
  return query.step() ? status_from_json(query.string(0)) : NodeStatus();
}

const char* to_text(Direction direction) {
  return direction == Direction::both ? "both" : direction == Direction::push ? "push" : "pull";
}

// What is configured counts, whatever the worker knows by now.
void bring_in_line(sqlite3* db, CurrentStatus& status) {
  std::vector<ServerStatus> servers;
  bool enabled = setting_value(db, "enabled") != "off";
  for (const ServerConfig& config : read_servers(db)) {
    ServerStatus server;
    for (const ServerStatus& known : status.node.servers)
      if (known.id == config.id) server = known;
    if (server.id == 0) server.state = "catching up";
    server.id = config.id;
    server.name = config.name;
    server.url = config.url;
    server.direction = to_text(config.direction);
    server.enabled = config.enabled;
    if (!config.enabled || !enabled) {
      server.state = "disabled";
    } else if (!status.served) {
      server.state = "blocked";
      server.last_error = !status.problem.empty()
                              ? status.problem
                              : "no process serves this file: call rowmesh_start() or rowmesh_run()";
    } else if (!status.node.blocked.empty() || (status.here && !status.problem.empty())) {
      server.state = status.node.blocked.empty() ? server.state : "blocked";
      if (server.last_error.empty())
        server.last_error = status.node.blocked.empty() ? status.problem : status.node.blocked;
    } else if (server.state == "disabled") {
      server.state = "catching up";
    }
    servers.push_back(std::move(server));
  }
  status.node.servers = std::move(servers);
}

}  // namespace

CurrentStatus current_status(sqlite3* db) {
  CurrentStatus status;
  std::string path = database_path(db);
  bool starting = false;  // rowmesh_start was called a moment ago
  if (auto worker = find_worker(path)) {
    starting = worker->phase() == WorkerPhase::starting;
    if (auto own = worker->status()) {
      status.node = *own;
      status.served = status.here = true;
    }
    if (worker->phase() != WorkerPhase::standing_by) status.problem = worker->problem();
  }
  if (!status.here) {
    status.node = published(db);
    status.served = starting || (lease_holder(path).held && status.problem.empty());
  }
  bring_in_line(db, status);
  return status;
}

std::int64_t unread_log(sqlite3* db) { return query_integer(db, "SELECT count(*) FROM main.rowmesh_log"); }

std::string iso_time(std::uint64_t ms) {
  std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts;
  char text[40];
  gmtime_r(&seconds, &parts);
  std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03uZ", static_cast<unsigned>(ms % 1000));
  return text;
}

}  // namespace rowmesh::sqlite
