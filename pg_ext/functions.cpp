// The small functions behind the SQL interface (sql/rowmesh--*.sql).
#include <sys/random.h>

#include <nlohmann/json.hpp>

#include "shared/model/version.hpp"
#include "shared/sync/lost_row.hpp"
#include "shared/sync/server_options.hpp"
#include "shared/sync/status_json.hpp"
#include "shared/web/credentials.hpp"
#include "shared/web/health.hpp"

#include "pg_ext/administration.hpp"
#include "pg_ext/clock.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/settings.hpp"
#include "pg_ext/shared_memory.hpp"
#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(rowmesh_resolve_table);
PG_FUNCTION_INFO_V1(rowmesh_worker_trouble);
PG_FUNCTION_INFO_V1(rowmesh_preloaded);
PG_FUNCTION_INFO_V1(rowmesh_check_server_settings);
PG_FUNCTION_INFO_V1(rowmesh_published_status);
PG_FUNCTION_INFO_V1(rowmesh_random_origin);
PG_FUNCTION_INFO_V1(rowmesh_version);
PG_FUNCTION_INFO_V1(rowmesh_id);
PG_FUNCTION_INFO_V1(rowmesh_wait);
PG_FUNCTION_INFO_V1(rowmesh_health);
PG_FUNCTION_INFO_V1(rowmesh_hash_password);
PG_FUNCTION_INFO_V1(rowmesh_nothing_to_restore);
}

namespace rowmesh {
namespace {

bool preloaded() { return pg_atomic_read_u32(&shared_memory()->preloaded) != 0; }

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  while (getrandom(&bits, sizeof bits, 0) != sizeof bits || bits == 0) {}
  return bits;
}

const char* worker_trouble() {
  if (!preloaded())
    return "rowmesh is not in shared_preload_libraries; put it there in postgresql.conf and restart PostgreSQL";
  if (RecoveryInProgress()) return "this server is a standby; the worker starts when it is promoted";
  SharedSlot* slot = find_slot(MyDatabaseId);
  auto state = slot ? static_cast<WorkerState>(pg_atomic_read_u32(&slot->worker_state)) : WorkerState::none;
  if (slot && pg_atomic_read_u32(&slot->hold) != 0)
    return "the worker is stopped while somebody changes the database itself";
  switch (state) {
    case WorkerState::running: return "";
    case WorkerState::failed:
      return psprintf("the worker ended with an error (%u in a row) and will be started again; see the server's log",
                      pg_atomic_read_u32(&slot->failures));
    case WorkerState::none:
    case WorkerState::starting:
    case WorkerState::no_extension: break;
  }
  return "the worker is starting; if it stays so, see the server's log and max_worker_processes";
}

// ---- id()

constexpr int node_bits = 16, tick_us = 32;
constexpr std::uint64_t most_ahead_us = 1000000;

std::uint64_t now_ticks() { return static_cast<std::uint64_t>(GetCurrentTimestamp()) / tick_us; }

// Ticks of 32 microseconds since 2000, each given once, and 16 bits of the origin: 47 + 16 bits, enough for 140 years.
std::int64_t unique_id(std::uint64_t origin) {
  SharedSlot* slot = my_slot();
  std::uint64_t last = pg_atomic_read_u64(&slot->last_id_tick), next;
  do {
    std::uint64_t now = now_ticks();
    next = now > last ? now : last + 1;
  } while (!pg_atomic_compare_exchange_u64(&slot->last_id_tick, &last, next));
  // A restarted server begins with the time of day again: never run far ahead of it.
  for (std::uint64_t now = now_ticks(); next > now + most_ahead_us / tick_us; now = now_ticks()) {
    CHECK_FOR_INTERRUPTS();
    pg_usleep(static_cast<long>((next - now) * tick_us - most_ahead_us));
  }
  std::uint64_t node = (origin ^ origin >> 16 ^ origin >> 32 ^ origin >> 48) & ((1u << node_bits) - 1);
  return static_cast<std::int64_t>((next << node_bits | node) & INT64_MAX);
}

// The identity changes rarely; a session reads it again when the configuration changed.
std::uint64_t own_origin() {
  static std::uint64_t origin = 0, generation = ~0ULL;
  std::uint64_t now = pg_atomic_read_u64(&my_slot()->config_generation);
  if (origin != 0 && generation == now) return origin;
  // The application's role has no right on our tables.
  Oid user;
  int context;
  GetUserIdAndSecContext(&user, &context);
  SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
  door([] {
    auto rows = run_sql("SELECT s.origin FROM rowmesh.state s");
    if (!rows.empty()) origin = from_hex(rows[0][0].value_or("0"));
  });
  SetUserIdAndSecContext(user, context);
  generation = now;
  return origin;
}

// ---- wait()

bool wait_until(TimestampTz deadline) {
  TimestampTz now = GetCurrentTimestamp();
  if (now >= deadline) return false;
  long ms = static_cast<long>(Min((deadline - now) / 1000 + 1, 10));
  (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
  ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
  return true;
}

// Whether every server asked for has our position. `server`: nullptr for all that are enabled and take something from
// us.
bool all_have(SharedSlot* slot, const char* server, std::uint64_t position) {
  char* text = read_status_text(slot);
  return door([&] {
    nlohmann::json node = nlohmann::json::parse(text, nullptr, false);
    if (!node.is_object() || !node.contains("servers")) return false;
    bool found = false;
    for (const auto& one : node["servers"]) {
      bool named = server && one.value("name", "") == server;
      if (server ? !named : !one.value("enabled", true) || one.value("direction", "") == "pull") continue;
      found = true;
      if (one.value("acked", std::uint64_t{0}) < position) return false;
    }
    return found || !server;
  });
}

bool wait_for_servers(const char* server, int timeout_ms) {
  if (const char* trouble = worker_trouble(); *trouble)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("nothing is shipped: %s", trouble)));
  SharedSlot* slot = my_slot();
  TimestampTz deadline = GetCurrentTimestamp() + static_cast<std::int64_t>(timeout_ms) * 1000;
  std::uint64_t asked = pg_atomic_fetch_add_u64(&slot->wait_requested, 1) + 1;
  wake_worker(slot);
  while (pg_atomic_read_u64(&slot->wait_served) < asked)
    if (!wait_until(deadline)) return false;
  pg_read_barrier();
  std::uint64_t position = pg_atomic_read_u64(&slot->wait_position);
  while (!all_have(slot, server, position))
    if (!wait_until(deadline)) return false;
  return true;
}

// ---- health()

// From what the worker last published, judged as its /health does.
text* health_text() {
  SharedSlot* slot = find_slot(MyDatabaseId);
  const char* published = slot ? read_status_text(slot) : "";
  const char* trouble = worker_trouble();
  return door([&] {
    NodeStatus status = status_from_json(published);
    HealthFacts facts;
    facts.worker_trouble = trouble;
    facts.disk_free_bytes = free_bytes();
    auto rows = run_sql("SELECT s.enabled::text, s.name FROM rowmesh.state s");
    facts.enabled = rows.empty() || rows[0][0].value_or("true") == "true";
    auto settings = read_settings();
    Health health = judge_health(status, facts, health_limits([&](const std::string& name) { return settings[name]; }));
    std::string json = health_to_json(health, rows.empty() ? "" : rows[0][1].value_or(""))
                           .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text* result = nullptr;
    guard([&] { result = cstring_to_text(json.c_str()); });
    return result;
  });
}

text* hash_of_password(const char* password) {
  return door([&] {
    if (std::string trouble = password_trouble(password); !trouble.empty())
      throw Error(ErrorKind::config, "weak_password", trouble);
    SystemRandom random;
    std::string hash = hash_password(password, random_text(random, 2));
    text* result = nullptr;
    guard([&] { result = cstring_to_text(hash.c_str()); });
    return result;
  });
}

void require_server(const char* name) {
  bool known = door([name] {
    return !run_sql("SELECT 1 FROM rowmesh.server s WHERE s.name = $1", {SqlArgument::of_text(name)}).empty();
  });
  if (!known)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("there is no server '%s'; the view rowmesh.status lists those that there are", name)));
}

}  // namespace
}  // namespace rowmesh

extern "C" {

PGDLLEXPORT Datum rowmesh_resolve_table(PG_FUNCTION_ARGS) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  text* name = PG_GETARG_TEXT_PP(0);
  if (strcmp(text_to_cstring(name), "*") == 0) PG_RETURN_NULL();
  RangeVar* parsed = makeRangeVarFromNameList(textToQualifiedNameList(name));
  PG_RETURN_OID(RangeVarGetRelid(parsed, NoLock, false));
}

PGDLLEXPORT Datum rowmesh_worker_trouble(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_TEXT_P(cstring_to_text(rowmesh::worker_trouble()));
}

PGDLLEXPORT Datum rowmesh_check_server_settings(PG_FUNCTION_ARGS) {
  const char* options = text_to_cstring(PG_GETARG_TEXT_PP(0));
  rowmesh::door([options] { (void)rowmesh::parse_server_options(options); });
  PG_RETURN_VOID();
}

PGDLLEXPORT Datum rowmesh_preloaded(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_BOOL(rowmesh::preloaded());
}

PGDLLEXPORT Datum rowmesh_published_status(PG_FUNCTION_ARGS) {
  rowmesh::SharedSlot* slot = rowmesh::find_slot(MyDatabaseId);
  char* status = slot ? rowmesh::read_status_text(slot) : nullptr;
  if (!status || !*status) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(status));
}

PGDLLEXPORT Datum rowmesh_random_origin(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_TEXT_P(cstring_to_text(psprintf("%016llx", static_cast<unsigned long long>(rowmesh::random_bits()))));
}

PGDLLEXPORT Datum rowmesh_version(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_TEXT_P(cstring_to_text(ROWMESH_VERSION));
}

PGDLLEXPORT Datum rowmesh_id(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_INT64(rowmesh::unique_id(rowmesh::own_origin()));
}

PGDLLEXPORT Datum rowmesh_health(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  PG_RETURN_TEXT_P(rowmesh::health_text());
}

PGDLLEXPORT Datum rowmesh_hash_password(PG_FUNCTION_ARGS) {
  PG_RETURN_TEXT_P(rowmesh::hash_of_password(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

PGDLLEXPORT Datum rowmesh_nothing_to_restore(PG_FUNCTION_ARGS) {
  PG_RETURN_TEXT_P(cstring_to_text(rowmesh::nothing_to_restore(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}

PGDLLEXPORT Datum rowmesh_wait(PG_FUNCTION_ARGS) {
  char* server = PG_ARGISNULL(0) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(0));
  if (server) rowmesh::require_server(server);
  PG_RETURN_BOOL(rowmesh::wait_for_servers(server, PG_ARGISNULL(1) ? 10000 : PG_GETARG_INT32(1)));
}
}
