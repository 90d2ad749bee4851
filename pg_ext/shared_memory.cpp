#include "pg_ext/shared_memory.hpp"

#include <cstring>

#include "pg_ext/guard.hpp"
#include "pg_ext/statement.hpp"
#include "shared/sync/node_state.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "datatype/timestamp.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

namespace rowmesh {
namespace {

// Not a setting: without preloading nobody could know its value.
constexpr int slot_count = 64;

struct StatusText {
  LWLock lock;
  std::uint32_t size;
  char text[status_bytes];
};

SharedMemory* shared = nullptr;
SharedSlot* slots = nullptr;
StatusText* texts = nullptr;  // only when preloaded: two megabytes
SharedSlot* own_slot = nullptr;
bool preloading = false;
#if ROWMESH_HAS_SHMEM_REQUEST_HOOK
shmem_request_hook_type previous_request = nullptr;
#endif
shmem_startup_hook_type previous_startup = nullptr;

Size slots_size() { return MAXALIGN(sizeof(SharedMemory)) + sizeof(SharedSlot) * slot_count; }
Size texts_size() { return sizeof(StatusText) * slot_count; }

void clear_slot(SharedSlot* slot, Oid database) {
  slot->database = database;
  pg_atomic_write_u64(&slot->hlc, 0);
  pg_atomic_write_u32(&slot->hlc_ready, 0);
  pg_atomic_write_u32(&slot->worker_state, static_cast<std::uint32_t>(WorkerState::none));
  pg_atomic_write_u32(&slot->hold, 0);
  pg_atomic_write_u32(&slot->failures, 0);
  slot->worker_pid = 0;
  slot->worker_latch = nullptr;
  slot->started_at_us = 0;
  pg_atomic_write_u64(&slot->truncates, 0);
  pg_atomic_write_u32(&slot->log_index, 0);
  pg_atomic_write_u64(&slot->wait_requested, 0);
  pg_atomic_write_u64(&slot->wait_served, 0);
  pg_atomic_write_u64(&slot->wait_position, 0);
  pg_atomic_write_u64(&slot->last_id_tick, 0);
}

void initialise_slots() {
  memset(static_cast<void*>(shared), 0, slots_size());
  shared->slots = slot_count;
  shared->tranche = LWLockNewTrancheId();
  LWLockInitialize(&shared->lock, shared->tranche);
  pg_atomic_init_u32(&shared->launcher_poked, 0);
  pg_atomic_init_u32(&shared->preloaded, preloading);
  unsigned char random[32];
  if (!pg_strong_random(random, sizeof random))
    memset(shared->local_key, 0, sizeof shared->local_key);  // empty: none
  else
    for (int i = 0; i < 32; i++) snprintf(shared->local_key + 2 * i, 3, "%02x", random[i]);
  for (int i = 0; i < slot_count; i++) {
    SharedSlot* slot = &slots[i];
    slot->reference = i;
    pg_atomic_init_u64(&slot->hlc, 0);
    pg_atomic_init_u32(&slot->hlc_ready, 0);
    pg_atomic_init_u32(&slot->worker_state, 0);
    pg_atomic_init_u32(&slot->hold, 0);
    pg_atomic_init_u32(&slot->failures, 0);
    pg_atomic_init_u32(&slot->heeds_commits, 0);
    pg_atomic_init_u64(&slot->config_generation, 1);
    pg_atomic_init_u64(&slot->truncates, 0);
    pg_atomic_init_u32(&slot->log_index, 0);
    pg_atomic_init_u64(&slot->wait_requested, 0);
    pg_atomic_init_u64(&slot->wait_served, 0);
    pg_atomic_init_u64(&slot->wait_position, 0);
    pg_atomic_init_u64(&slot->last_id_tick, 0);
  }
}

void attach(bool with_texts) {
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  auto* memory = static_cast<char*>(ShmemInitStruct("rowmesh", slots_size(), &found));
  shared = reinterpret_cast<SharedMemory*>(memory);
  slots = reinterpret_cast<SharedSlot*>(memory + MAXALIGN(sizeof(SharedMemory)));
  if (!found) initialise_slots();
  if (with_texts) {
    texts = static_cast<StatusText*>(ShmemInitStruct("rowmesh status", texts_size(), &found));
    if (!found)
      for (int i = 0; i < slot_count; i++) {
        texts[i].size = 0;
        LWLockInitialize(&texts[i].lock, shared->tranche);
      }
  }
  LWLockRelease(AddinShmemInitLock);
  LWLockRegisterTranche(shared->tranche, "rowmesh");
}

void on_request() {
#if ROWMESH_HAS_SHMEM_REQUEST_HOOK
  if (previous_request) previous_request();
#endif
  RequestAddinShmemSpace(slots_size());
  RequestAddinShmemSpace(texts_size());
}

void on_startup() {
  if (previous_startup) previous_startup();
  attach(true);
}

void worker_exit(int, Datum slot) { detach_worker(reinterpret_cast<SharedSlot*>(DatumGetPointer(slot))); }

SharedSlot* find_locked(Oid database) {
  for (int i = 0; i < shared->slots; i++)
    if (slots[i].database == database) return &slots[i];
  return nullptr;
}

Hlc wall_clock() {
  constexpr std::int64_t epoch_ms =
      (static_cast<std::int64_t>(POSTGRES_EPOCH_JDATE) - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
  return ms_to_hlc(static_cast<std::uint64_t>(GetCurrentTimestamp() / 1000 + epoch_ms));
}

}  // namespace

void request_shared_memory() {
  preloading = true;
#if ROWMESH_HAS_SHMEM_REQUEST_HOOK
  previous_request = shmem_request_hook;
  shmem_request_hook = on_request;
#else
  on_request();
#endif
  previous_startup = shmem_startup_hook;
  shmem_startup_hook = on_startup;
}

SharedMemory* shared_memory() {
  if (unlikely(!shared)) attach(preloading);
  return shared;
}

SharedSlot* shared_slot(int number) {
  shared_memory();
  return &slots[number];
}

SharedSlot* find_slot(Oid database) {
  LWLockAcquire(&shared_memory()->lock, LW_SHARED);
  SharedSlot* slot = find_locked(database);
  LWLockRelease(&shared->lock);
  return slot;
}

SharedSlot* find_or_make_slot(Oid database) {
  SharedSlot* slot = find_slot(database);
  if (slot) return slot;
  LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
  slot = find_locked(database);
  if (!slot) {
    slot = find_locked(InvalidOid);
    if (slot) clear_slot(slot, database);
  }
  LWLockRelease(&shared->lock);
  if (slot && texts) {
    LWLockAcquire(&texts[slot->reference].lock, LW_EXCLUSIVE);
    texts[slot->reference].size = 0;
    LWLockRelease(&texts[slot->reference].lock);
  }
  return slot;
}

void free_slot(SharedSlot* slot) {
  LWLockAcquire(&shared_memory()->lock, LW_EXCLUSIVE);
  slot->database = InvalidOid;
  slot->worker_latch = nullptr;
  slot->worker_pid = 0;
  LWLockRelease(&shared->lock);
}

SharedSlot* my_slot() {
  if (likely(own_slot && own_slot->database == MyDatabaseId)) return own_slot;
  own_slot = find_or_make_slot(MyDatabaseId);
  if (!own_slot)
    ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("rowmesh serves at most %d databases of one PostgreSQL server", slot_count),
                    errhint("Drop the extension in a database that does not need it.")));
  return own_slot;
}

Hlc clock_tick(SharedSlot* slot) {
  Hlc wall = wall_clock();
  std::uint64_t last = pg_atomic_read_u64(&slot->hlc);
  for (;;) {
    std::uint64_t next = wall > last ? wall : last + 1;
    if (pg_atomic_compare_exchange_u64(&slot->hlc, &last, next)) return next;
  }
}

Hlc clock_now(SharedSlot* slot) { return pg_atomic_read_u64(&slot->hlc); }

void clock_observe(SharedSlot* slot, Hlc seen) {
  std::uint64_t last = pg_atomic_read_u64(&slot->hlc);
  while (last < seen && !pg_atomic_compare_exchange_u64(&slot->hlc, &last, seen)) {}
}

// What was given last is in the newest history state and in log records that came after it. (Not in those before it:
// when a clock that was wrong has been set right, they still have the versions of the wrong time.)
void make_clock_ready(SharedSlot* slot) {
  if (likely(pg_atomic_read_u32(&slot->hlc_ready) != 0)) return;
  // The application's role may have no right on our tables.
  Oid user;
  int context;
  GetUserIdAndSecContext(&user, &context);
  SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
  bool pushed = false;
  if (!ActiveSnapshotSet()) {
    PushActiveSnapshot(GetTransactionSnapshot());
    pushed = true;
  }
  door([slot] {
    auto rows = run_sql(
        "SELECT (SELECT h.state FROM rowmesh.history h WHERE h.state OPERATOR(pg_catalog.<>) '' ORDER BY h.sequence "
        "DESC LIMIT 1), "
        "(SELECT pg_catalog.max(l.hlc) FROM (SELECT xid, hlc FROM rowmesh.log_0 UNION ALL SELECT xid, hlc FROM "
        "rowmesh.log_1) l WHERE pg_catalog.pg_visible_in_snapshot(l.xid, (SELECT h.marker::pg_catalog.pg_snapshot FROM "
        "rowmesh.history h WHERE h.marker OPERATOR(pg_catalog.<>) '' ORDER BY h.sequence DESC LIMIT 1)) IS NOT TRUE)");
    if (rows.empty()) return;
    if (rows[0].at(0)) clock_observe(slot, NodeState::decode(*rows[0][0]).hlc);
    if (rows[0].at(1)) clock_observe(slot, std::stoull(*rows[0][1]));
  });
  if (pushed) PopActiveSnapshot();
  SetUserIdAndSecContext(user, context);
  pg_atomic_write_u32(&slot->hlc_ready, 1);
}

void attach_worker(SharedSlot* slot) {
  LWLockAcquire(&shared_memory()->lock, LW_EXCLUSIVE);
  slot->worker_pid = MyProcPid;
  slot->worker_latch = MyLatch;
  LWLockRelease(&shared->lock);
  pg_atomic_write_u32(&slot->worker_state, static_cast<std::uint32_t>(WorkerState::running));
  before_shmem_exit(worker_exit, PointerGetDatum(slot));
}

void detach_worker(SharedSlot* slot) {
  LWLockAcquire(&shared_memory()->lock, LW_EXCLUSIVE);
  if (slot->worker_pid == MyProcPid) {
    slot->worker_pid = 0;
    slot->worker_latch = nullptr;
    std::uint32_t running = static_cast<std::uint32_t>(WorkerState::running);
    pg_atomic_compare_exchange_u32(&slot->worker_state, &running, static_cast<std::uint32_t>(WorkerState::none));
  }
  LWLockRelease(&shared->lock);
}

void wake_worker(SharedSlot* slot) {
  Latch* latch = *const_cast<Latch* volatile*>(&slot->worker_latch);
  if (latch) SetLatch(latch);
}

// A wake-up costs the application's server two changes of context, and the one who commits a signal.
void wake_worker_for_commit(SharedSlot* slot) {
  pg_memory_barrier();  // the commit shows to others before this looks; Worker::heed() is the other half
  if (pg_atomic_read_u32(&slot->heeds_commits) != 0) wake_worker(slot);
}

void poke_launcher() {
  SharedMemory* memory = shared_memory();
  pg_atomic_write_u32(&memory->launcher_poked, 1);
  Latch* latch = *const_cast<Latch* volatile*>(&memory->launcher_latch);
  if (latch) SetLatch(latch);
}

bool publish_status_text(SharedSlot* slot, std::string_view json) {
  if (!texts || json.size() > status_bytes) return false;
  StatusText* text = &texts[slot->reference];
  LWLockAcquire(&text->lock, LW_EXCLUSIVE);
  memcpy(text->text, json.data(), json.size());
  text->size = static_cast<std::uint32_t>(json.size());
  LWLockRelease(&text->lock);
  return true;
}

char* read_status_text(SharedSlot* slot) {
  if (!texts) return pstrdup("");
  char* copy = static_cast<char*>(palloc(status_bytes + 1));
  StatusText* text = &texts[slot->reference];
  LWLockAcquire(&text->lock, LW_SHARED);
  memcpy(copy, text->text, text->size);
  copy[text->size] = 0;
  LWLockRelease(&text->lock);
  return copy;
}

}  // namespace rowmesh
