// Functions about this node: who it is, how it is, how it is set.
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "shared/sync/refusals_json.hpp"
#include "shared/web/health.hpp"
#include "sqlite_ext/administration.hpp"
#include "sqlite_ext/current_status.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/settings.hpp"
#include "sqlite_ext/system.hpp"

namespace rowmesh::sqlite {
namespace {

using nlohmann::json;

void version_function(sqlite3*, const Arguments&, Result result) { result.text(ROWMESH_VERSION); }

void debug_function(sqlite3* db, const Arguments&, Result result) {
  json debug = {{"version", ROWMESH_VERSION},
                {"sqlite", sqlite3_libversion()},
                {"sqlite_built_for", SQLITE_VERSION},
                {"sqlite_source", sqlite3_sourceid()},
                {"compiler", __VERSION__},
                {"threads", sqlite3_threadsafe() != 0 && sqlite3_db_mutex(db) != nullptr},
                {"pid", getpid()}};
  const char* path = sqlite3_db_filename(db, "main");
  debug["file"] = path ? path : "";
  if (path && *path) {
    auto worker = find_worker(path);
    debug["worker"] = worker ? to_string(worker->phase()) : "none";
    if (worker) debug["problem"] = worker->problem();
    LeaseHolder holder = lease_holder(path);
    if (holder.held) debug["served_by"] = holder.pid;
  }
  result.text(debug.dump(-1, ' ', false, json::error_handler_t::replace));
}

// 42 bits of milliseconds since 2020 and 21 random bits; ascending within a process. A node hands out so few in one
// millisecond that two nodes meet on one with a chance of one in two million for each pair made in the same
// millisecond.
void id_function(sqlite3*, const Arguments&, Result result) {
  static std::atomic<std::int64_t> last = 0;
  constexpr std::int64_t year_2020_ms = 1577836800000;
  std::int64_t ms = static_cast<std::int64_t>(SystemClock().now_ms()) - year_2020_ms;
  std::int64_t id = ((ms & 0x3ffffffffff) << 21) | static_cast<std::int64_t>(random_number() & 0x1fffff);
  for (std::int64_t before = last;;) {
    if (id <= before) id = before + 1 + static_cast<std::int64_t>(random_number() & 0xff);
    if (last.compare_exchange_weak(before, id)) break;
  }
  result.integer(id);
}

void config_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string key = arguments.text(0, "the setting's name");
  if (arguments.count() == 1) return result.text(read_setting(db, key));
  read_setting(db, key);  // an unknown name must not enable the file
  require_writable(db);
  change_setting(db, key, arguments.text_or(1, ""));
  result.text(read_setting(db, key));
}

void enable_function(sqlite3* db, const Arguments&, Result result) {
  require_writable(db);
  set_setting(db, "enabled", "on");
  result.null();
}

void disable_function(sqlite3* db, const Arguments&, Result result) {
  require_writable(db);
  set_setting(db, "enabled", "off");
  result.null();
}

void node_function(sqlite3* db, const Arguments&, Result result) {
  require_enabled(db);
  Identity identity = read_identity(db);
  CurrentStatus status = current_status(db);
  json node = {{"node", identity.node},         {"incarnation", to_hex(identity.origin)},
               {"name", identity.name},         {"engine", "sqlite"},
               {"version", ROWMESH_VERSION},    {"listening", status.node.listening},
               {"refused", status.node.refused}};
  result.text(node.dump(-1, ' ', false, json::error_handler_t::replace));
}

// The same as GET /health.
void health_function(sqlite3* db, const Arguments&, Result result) {
  require_enabled(db);
  CurrentStatus status = current_status(db);
  HealthFacts facts;
  if (!status.served)
    facts.worker_trouble =
        status.problem.empty() ? "no process serves this file: call rowmesh_start() or rowmesh_run()" : status.problem;
  status.node.listen_problem = status.problem;
  facts.disk_free_bytes = free_bytes(database_path(db));
  facts.enabled = setting_value(db, "enabled") != "off";
  Health health =
      judge_health(status.node, facts, health_limits([&](const std::string& name) { return setting_value(db, name); }));
  result.text(health_to_json(health, read_identity(db).name).dump(-1, ' ', false, json::error_handler_t::replace));
}

void queue_size_function(sqlite3* db, const Arguments&, Result result) {
  require_enabled(db);
  std::int64_t queued = 0;
  bool ships = false;
  for (const ServerStatus& server : current_status(db).node.servers) {
    queued += static_cast<std::int64_t>(server.queued);
    ships |= server.direction != "pull";
  }
  result.integer(queued + (ships ? unread_log(db) : 0));
}

}  // namespace

void register_node_functions(sqlite3* db) {
  define(db, "version", 0, 0, Safety::innocuous, version_function);
  define(db, "id", 0, 0, Safety::innocuous, id_function);
  define(db, "debug", 0, 0, Safety::direct_only, debug_function);
  define(db, "config", 1, 2, Safety::direct_only, config_function);
  define(db, "enable", 0, 0, Safety::direct_only, enable_function);
  define(db, "disable", 0, 0, Safety::direct_only, disable_function);
  define(db, "node", 0, 0, Safety::direct_only, node_function);
  define(db, "health", 0, 0, Safety::direct_only, health_function);
  define(db, "queue_size", 0, 0, Safety::direct_only, queue_size_function);
}

}  // namespace rowmesh::sqlite
