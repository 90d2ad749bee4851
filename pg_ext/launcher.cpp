#include "pg_ext/launcher.hpp"

#include <cstdio>

#include "pg_ext/guard.hpp"
#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PGDLLEXPORT void rowmesh_launcher_main(Datum argument);
}

namespace rowmesh {
namespace {

constexpr long look_every_ms = 10000;
constexpr std::int64_t ran_well_us = 60 * USECS_PER_SEC;

// What the launcher remembers of a database beyond its slot; a database without rowmesh has no slot.
struct Watched {
  Oid database;
  bool seen;          // in this look at pg_database
  bool no_extension;  // not tried again until poked
  BackgroundWorkerHandle* handle;
  TimestampTz started, start_at;
  int failures;
};

HTAB* databases = nullptr;
volatile sig_atomic_t stop_wanted = 0;

void on_stop(SIGNAL_ARGS) {
  (void)postgres_signal_arg;
  int saved = errno;
  stop_wanted = 1;
  SetLatch(MyLatch);
  errno = saved;
}

void make_hash() {
  HASHCTL control = {};
  control.keysize = sizeof(Oid);
  control.entrysize = sizeof(Watched);
  control.hcxt = TopMemoryContext;
  databases = hash_create("rowmesh databases", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void note_database(Oid oid) {
  bool found;
  auto* database = static_cast<Watched*>(hash_search(databases, &oid, HASH_ENTER, &found));
  if (!found) *database = {oid, false, false, nullptr, 0, 0, 0};
  database->seen = true;
}

void read_databases() {
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
  while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
    auto* form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    // datconnlimit -2: a DROP DATABASE of it was interrupted.
    if (form->datallowconn && !form->datistemplate && form->datconnlimit != -2) note_database(form->oid);
  }
  table_endscan(scan);
  table_close(catalog, AccessShareLock);
  PopActiveSnapshot();
  CommitTransactionCommand();
  MemoryContextSwitchTo(TopMemoryContext);
}

WorkerState state_of(SharedSlot* slot) { return static_cast<WorkerState>(pg_atomic_read_u32(&slot->worker_state)); }
void set_state(SharedSlot* slot, WorkerState state) {
  pg_atomic_write_u32(&slot->worker_state, static_cast<std::uint32_t>(state));
}

// Whoever holds a database back may have died meanwhile.
bool held(SharedSlot* slot) {
  auto holder = static_cast<int>(pg_atomic_read_u32(&slot->hold));
  if (holder == 0) return false;
  if (BackendPidGetProc(holder)) return true;
  pg_atomic_write_u32(&slot->hold, 0);
  return false;
}

void start_worker(Watched* database) {
  SharedSlot* slot = find_or_make_slot(database->database);
  TimestampTz now = GetCurrentTimestamp();
  if (!slot) {
    ereport(LOG, (errmsg("rowmesh: no worker for database %u: all %d places are taken", database->database,
                         shared_memory()->slots)));
    database->start_at = now + 60 * USECS_PER_SEC;
    return;
  }
  if (held(slot)) {
    database->start_at = now + USECS_PER_SEC;
    return;
  }
  BackgroundWorker worker = {};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  // The launcher restarts it: a worker whose database was dropped would otherwise be restarted for ever.
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  worker.bgw_main_arg = ObjectIdGetDatum(database->database);
  worker.bgw_notify_pid = MyProcPid;
  snprintf(worker.bgw_library_name, BGW_MAXLEN, "rowmesh");
  snprintf(worker.bgw_function_name, BGW_MAXLEN, "rowmesh_worker_main");
  snprintf(worker.bgw_name, BGW_MAXLEN, "rowmesh worker");
  snprintf(worker.bgw_type, BGW_MAXLEN, "rowmesh worker");
  set_state(slot, WorkerState::starting);
  database->started = now;
  if (RegisterDynamicBackgroundWorker(&worker, &database->handle)) return;
  database->handle = nullptr;
  database->start_at = now + 10 * USECS_PER_SEC;
  set_state(slot, WorkerState::failed);
  ereport(LOG, (errmsg("rowmesh: no worker could be started for database %u", database->database),
                errhint("Raise max_worker_processes.")));
}

void worker_ended(Watched* database) {
  pfree(database->handle);
  database->handle = nullptr;
  SharedSlot* slot = find_slot(database->database);
  if (!slot) return;
  TimestampTz now = GetCurrentTimestamp();
  if (state_of(slot) == WorkerState::no_extension) {
    database->no_extension = true;
    database->failures = 0;
    free_slot(slot);
    return;
  }
  database->failures = now - database->started > ran_well_us ? 1 : Min(database->failures + 1, 7);
  database->start_at = now + (USECS_PER_SEC << (database->failures - 1));  // 1 s, 2 s, ... about a minute
  pg_atomic_write_u32(&slot->failures, static_cast<std::uint32_t>(database->failures));
  set_state(slot, WorkerState::failed);
}

// -> microseconds until something is due
std::int64_t look_after(Watched* database) {
  pid_t pid;
  if (database->handle && GetBackgroundWorkerPid(database->handle, &pid) == BGWH_STOPPED) worker_ended(database);
  if (database->handle || database->no_extension) return look_every_ms * 1000;
  TimestampTz now = GetCurrentTimestamp();
  if (now >= database->start_at) start_worker(database);
  return database->handle ? look_every_ms * 1000 : Max(database->start_at - now, 1000);
}

void forget(Watched* database) {
  SharedSlot* slot = find_slot(database->database);
  if (slot) free_slot(slot);
  if (database->handle) pfree(database->handle);
  hash_search(databases, &database->database, HASH_REMOVE, nullptr);
}

long look_around() {
  bool poked = pg_atomic_exchange_u32(&shared_memory()->launcher_poked, 0) != 0;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, databases);
  while (auto* database = static_cast<Watched*>(hash_seq_search(&scan))) {
    database->seen = false;
    if (poked) database->no_extension = false;
    if (poked && database->failures == 0) database->start_at = 0;
  }
  read_databases();
  std::int64_t wait_us = look_every_ms * 1000;
  hash_seq_init(&scan, databases);
  while (auto* database = static_cast<Watched*>(hash_seq_search(&scan))) {
    if (database->seen)
      wait_us = Min(wait_us, look_after(database));
    else
      forget(database);
  }
  return static_cast<long>(wait_us / 1000) + 1;
}

// A database made from a template that had rowmesh is another node; one that went through pg_upgrade is the same, and
// begins a new incarnation, since nobody knows what else was copied. (A dump carries no identity at all.)
void check_identity() {
  door([] {
    run_sql(
        "UPDATE rowmesh.state s SET origin = rowmesh.random_origin(), system_identifier = c.system_identifier, "
        "database = d.oid, "
        "node = CASE WHEN s.database = d.oid THEN s.node ELSE pg_catalog.gen_random_uuid() END, "
        "name = CASE WHEN s.database = d.oid THEN s.name ELSE d.datname END "
        "FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d WHERE d.datname = "
        "pg_catalog.current_database() "
        "AND (s.system_identifier, s.database) IS DISTINCT FROM (c.system_identifier, d.oid)");
  });
}

void launcher_exit(int, Datum) {
  SharedMemory* memory = shared_memory();
  if (memory->launcher_pid != MyProcPid) return;
  memory->launcher_pid = 0;
  memory->launcher_latch = nullptr;
}

}  // namespace

void register_launcher() {
  BackgroundWorker worker = {};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;  // a standby has none until it is promoted
  worker.bgw_restart_time = 1;
  snprintf(worker.bgw_library_name, BGW_MAXLEN, "rowmesh");
  snprintf(worker.bgw_function_name, BGW_MAXLEN, "rowmesh_launcher_main");
  snprintf(worker.bgw_name, BGW_MAXLEN, "rowmesh launcher");
  snprintf(worker.bgw_type, BGW_MAXLEN, "rowmesh launcher");
  RegisterBackgroundWorker(&worker);
}

bool worker_may_run(SharedSlot* slot) {
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  bool there = OidIsValid(get_extension_oid("rowmesh", true));
  if (there) check_identity();
  PopActiveSnapshot();
  CommitTransactionCommand();
  MemoryContextSwitchTo(TopMemoryContext);
  if (!there) set_state(slot, WorkerState::no_extension);
  return there && pg_atomic_read_u32(&slot->hold) == 0;
}

}  // namespace rowmesh

void rowmesh_launcher_main(Datum) {
  using namespace rowmesh;
  pqsignal(SIGTERM, on_stop);
  pqsignal(SIGINT, SIG_IGN);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  before_shmem_exit(launcher_exit, 0);
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  SharedMemory* memory = shared_memory();
  memory->launcher_pid = MyProcPid;
  memory->launcher_latch = MyLatch;
  make_hash();
  while (!stop_wanted) {
    long wait_ms = look_around();
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait_ms, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
      ConfigReloadPending = 0;
      ProcessConfigFile(PGC_SIGHUP);
    }
  }
  proc_exit(0);
}
