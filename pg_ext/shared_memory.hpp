// What the backends, the workers and the launcher share: one slot for each database that has rowmesh. No pointer of one
// process in it, except to latches, which lie in shared memory themselves.
//
// Works also when the library is not in shared_preload_libraries (made at first use, from the reserve that the server
// keeps), so that capture never depends on it; then there is no worker and no place for the status text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/model/version.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "port/atomics.h"
#include "storage/lwlock.h"
}

namespace rowmesh {

// What the launcher knows of a database; launcher.cpp draws the machine.
enum class WorkerState : std::uint32_t { none, starting, running, no_extension, failed };

struct SharedSlot {
  Oid database;   // InvalidOid: free. Set and cleared under SharedMemory::lock
  int reference;  // the slot's place in the array

  pg_atomic_uint64 hlc;        // the node's hybrid logical clock
  pg_atomic_uint32 hlc_ready;  // 0: this server has just started, and the clock must first learn what was given before

  pg_atomic_uint32 worker_state;
  pg_atomic_uint32 hold;           // DROP DATABASE is at work: stop and do not start
  pg_atomic_uint32 failures;       // since the worker last ran for a while
  int worker_pid;                  // 0: none. Under SharedMemory::lock
  Latch* worker_latch;             // of the worker, or nullptr. Under SharedMemory::lock for changes
  pg_atomic_uint32 heeds_commits;  // the worker: a commit is worth a wake-up now
  std::int64_t started_at_us;      // launcher only

  pg_atomic_uint64 config_generation;            // counts committed changes of configuration
  pg_atomic_uint64 truncates;                    // counts captured TRUNCATEs that committed
  pg_atomic_uint32 log_index;                    // capture writes to log_<this>
  pg_atomic_uint64 wait_requested, wait_served;  // wait(): cuts asked for, and how many of them have been made
  pg_atomic_uint64 last_id_tick;                 // id()
  pg_atomic_uint64 wait_position;  // own position after the newest cut that was asked for. Set before wait_served
};

struct SharedMemory {
  LWLock lock;
  int slots;
  int tranche;
  Latch* launcher_latch;
  int launcher_pid;
  pg_atomic_uint32 launcher_poked;
  pg_atomic_uint32 preloaded;
  char local_key[65];  // by which the workers of this server know each other (shared/web/neighbours.cpp)
};

constexpr std::size_t status_bytes = 32768;

// Called by _PG_init while the server preloads.
void request_shared_memory();

// RAISE when shared memory is exhausted.
SharedMemory* shared_memory();
SharedSlot* shared_slot(int number);
// The slot of the database that this process is connected to; made on first use. Raises when all are taken.
SharedSlot* my_slot();
// nullptr: none. Takes the lock.
SharedSlot* find_slot(Oid database);
SharedSlot* find_or_make_slot(Oid database);
void free_slot(SharedSlot* slot);

// The clock. Never raise.
Hlc clock_tick(SharedSlot* slot);
Hlc clock_now(SharedSlot* slot);
void clock_observe(SharedSlot* slot, Hlc seen);
// Unless done since the server started: reads what this node gave or saw before from the tables (SPI; in a
// transaction).
void make_clock_ready(SharedSlot* slot);

// The worker of this database says that it is there (called in the worker), and that it is gone (also at any exit, by
// itself).
void attach_worker(SharedSlot* slot);
void detach_worker(SharedSlot* slot);
// Any process; cheap, never raises, safe in commit callbacks.
void wake_worker(SharedSlot* slot);
void wake_worker_for_commit(SharedSlot* slot);  // unless it would not look at it now
void poke_launcher();

// The status as JSON text. Longer texts than status_bytes are refused (false).
bool publish_status_text(SharedSlot* slot, std::string_view json);
// palloc'd; "" when there is none.
char* read_status_text(SharedSlot* slot);

}  // namespace rowmesh
