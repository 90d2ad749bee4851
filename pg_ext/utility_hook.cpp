// Statements that a running worker would stand in the way of, and the one whose commit no callback sees.
#include <csignal>

#include "pg_ext/launcher.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
}

namespace rowmesh {
namespace {

ProcessUtility_hook_type previous_utility = nullptr;

constexpr int stop_wait_ms = 10000;
constexpr int ask_ms = 2000;  // the worker is asked to leave, so that it can write down what it knows; then it is told

// The database that must have no other user while the statement runs; nullptr: none.
const char* wanted_alone(Node* statement) {
  switch (nodeTag(statement)) {
    case T_DropdbStmt: return reinterpret_cast<DropdbStmt*>(statement)->dbname;
    case T_RenameStmt: {
      auto* rename = reinterpret_cast<RenameStmt*>(statement);
      return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
    }
    case T_CreatedbStmt: {
      ListCell* cell;
      foreach (cell, reinterpret_cast<CreatedbStmt*>(statement)->options) {
        auto* option = lfirst_node(DefElem, cell);
        if (strcmp(option->defname, "template") == 0 && option->arg) return defGetString(option);
      }
      return nullptr;
    }
    case T_AlterDatabaseStmt: {
      auto* alter = reinterpret_cast<AlterDatabaseStmt*>(statement);
      ListCell* cell;
      foreach (cell, alter->options)
        if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0) return alter->dbname;
      return nullptr;
    }
    default: return nullptr;
  }
}

bool worker_is_there(SharedSlot* slot) {
  auto state = static_cast<WorkerState>(pg_atomic_read_u32(&slot->worker_state));
  return slot->worker_pid != 0 || state == WorkerState::starting || state == WorkerState::running;
}

void stop_worker(SharedSlot* slot) {
  for (int waited_ms = 0; worker_is_there(slot) && waited_ms < stop_wait_ms; waited_ms += 20) {
    int pid = slot->worker_pid;
    if (pid != 0 && waited_ms < ask_ms)
      wake_worker(slot);
    else if (pid != 0 && waited_ms % 1000 == 0)
      kill(pid, SIGTERM);
    if (waited_ms % 200 == 0) poke_launcher();  // it may be starting, and must notice that it ended
    CHECK_FOR_INTERRUPTS();
    pg_usleep(20000);
  }
}

// DROP DATABASE of a database fails while our own worker is connected to it.
SharedSlot* hold_worker(Node* statement) {
  const char* name = wanted_alone(statement);
  Oid database = name ? get_database_oid(name, true) : InvalidOid;
  SharedSlot* slot = OidIsValid(database) && database != MyDatabaseId ? find_slot(database) : nullptr;
  // Whoever may not do it anyway shall not be able to stop a worker.
#if PG_VERSION_NUM >= 160000
  if (!slot || !object_ownercheck(DatabaseRelationId, database, GetUserId())) return nullptr;
#else
  if (!slot || !pg_database_ownercheck(database, GetUserId())) return nullptr;
#endif
  pg_atomic_write_u32(&slot->hold, static_cast<std::uint32_t>(MyProcPid));
  return slot;
}

void release_worker(SharedSlot* slot) {
  pg_atomic_write_u32(&slot->hold, 0);
  poke_launcher();
}

// The finishing backend has no buffer and no callback of ours: tell the worker that something came.
bool finishes_prepared(Node* statement) {
  return nodeTag(statement) == T_TransactionStmt &&
         reinterpret_cast<TransactionStmt*>(statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

void tell_worker() {
  SharedSlot* slot = OidIsValid(MyDatabaseId) ? find_slot(MyDatabaseId) : nullptr;
  if (!slot) return;
  pg_atomic_fetch_add_u64(&slot->truncates, 1);
  pg_atomic_fetch_add_u64(&slot->config_generation, 1);
  wake_worker(slot);
}

void utility(PlannedStmt* planned, const char* text, bool read_only_tree, ProcessUtilityContext context,
             ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* receiver,
             QueryCompletion* completion) {
  ProcessUtility_hook_type next = previous_utility ? previous_utility : standard_ProcessUtility;
  auto run = [&] { next(planned, text, read_only_tree, context, parameters, environment, receiver, completion); };
  bool finishes = finishes_prepared(planned->utilityStmt);
  SharedSlot* slot = hold_worker(planned->utilityStmt);
  if (!slot) {
    if (finishes) tell_worker();  // a TRUNCATE in it must be known before its lock is let go
    run();
    if (finishes) tell_worker();
    return;
  }
  PG_TRY();
  {
    stop_worker(slot);
    run();
  }
  PG_FINALLY();
  { release_worker(slot); }
  PG_END_TRY();
}

}  // namespace

void install_utility_hook() {
  previous_utility = ProcessUtility_hook;
  ProcessUtility_hook = utility;
}

}  // namespace rowmesh
