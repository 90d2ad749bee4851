#include "pg_ext/store.hpp"

#include <algorithm>
#include <unordered_set>

#include "pg_ext/as_owner.hpp"
#include "pg_ext/capture.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/partitions.hpp"
#include "pg_ext/settings.hpp"
#include "pg_ext/statement.hpp"
#include "pg_ext/subtransaction.hpp"
#include "pg_ext/table_access.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace rowmesh {
namespace {

// Counts changes of the replicated tables' descriptions, by whomever. Not an object with a destructor at exit.
std::uint64_t schema_changes = 0;
std::unordered_set<Oid>& watched_relations() {
  static auto& watched = *new std::unordered_set<Oid>();
  return watched;
}

void relation_changed(Datum, Oid relation) {
  if (!OidIsValid(relation) || watched_relations().contains(relation)) schema_changes++;
}

// RAISES. A synchronous standby is waited for as an application's commit would.
void flush_own_commit() {
  XLogFlush(XactLastCommitEnd);
  HOLD_INTERRUPTS();
  SyncRepWaitForLSN(XactLastCommitEnd, true);
  RESUME_INTERRUPTS();
}

// While it lives, a commit does not wait for the disk.
class AsynchronousCommit {
 public:
  AsynchronousCommit() : before_(synchronous_commit) { synchronous_commit = SYNCHRONOUS_COMMIT_OFF; }
  ~AsynchronousCommit() { synchronous_commit = before_; }
  AsynchronousCommit(const AsynchronousCommit&) = delete;

 private:
  int before_;
};

}  // namespace

PgStore::PgStore(SharedSlot* slot) : slot_(slot), clock_(slot) {
  static bool registered = false;  // for the life of the process, and there are few places
  if (registered) return;
  guard([] { CacheRegisterRelcacheCallback(relation_changed, 0); });
  registered = true;
}

// ---- transactions

void PgStore::begin(TransactionKind kind, std::span<const Table* const> locked) {
  if (state_ != State::none) throw Error(ErrorKind::bug, "nested_transaction", "a transaction is open already");
  try {
    begin_locked(kind, locked);
  } catch (...) {
    // Symptom: "cannot execute SQL without an outer snapshot or portal" from whatever came next. Mechanism: a lock was
    // not to be had in time, and the transaction stayed open. Mend: as if it had not begun.
    rollback();
    throw;
  }
}

void PgStore::begin_locked(TransactionKind kind, std::span<const Table* const> locked) {
  bool read = kind == TransactionKind::read;
  state_ = read ? State::read : State::write;
  guard([&] {
    SetCurrentStatementStartTimestamp();
    pgstat_report_activity(STATE_RUNNING, read ? "rowmesh: reading what changed here"
                                               : "rowmesh: writing what came, and what it remembers");
    StartTransactionCommand();
  });
  if (read) {
    truncates_seen_ = pg_atomic_read_u64(&slot_->truncates);
    log_.before_snapshot(clock_.now());
  }
  guard([&] {
    XactReadOnly = false;
    XactIsoLevel = read ? XACT_REPEATABLE_READ : XACT_READ_COMMITTED;
    memory_ = AllocSetContextCreate(TopTransactionContext, "rowmesh transaction", ALLOCSET_DEFAULT_SIZES);
    scratch_ = AllocSetContextCreate(TopTransactionContext, "rowmesh row", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(memory_);
    // Locks come before the snapshot: what was committed while we waited for them is then seen.
    if (read) PushActiveSnapshot(GetTransactionSnapshot());
    if (!read) fire_triggers_at_once();
  });
  std::vector<TableId> ids;
  for (const Table* table : locked) ids.push_back(table->id);
  std::sort(ids.begin(), ids.end());
  for (TableId id : ids) access(id);
  if (!read) guard([&] { PushActiveSnapshot(GetTransactionSnapshot()); });
}

void PgStore::commit() {
  bool read = state_ == State::read;
  commit_lazily();
  guard([&] {
    if (read && log_.flush_to() != InvalidXLogRecPtr) XLogFlush(log_.flush_to());
    // Whatever synchronous_commit says: an answer before it is on disk would be a lie to the sender's pruning.
    if (!read) flush_own_commit();
  });
}

// Shown before it is on disk: readers here need not wait for the disk, only the answer must (measured.md, PG2 2.2).
void PgStore::commit_lazily() {
  if (state_ == State::none) throw store_not_open();
  std::vector<TableAccess*> accesses;
  for (auto& [id, one] : open_) accesses.push_back(one);
  AsynchronousCommit asynchronous;
  guard([&] {
    for (TableAccess* one : accesses) close_table(one);
    PopActiveSnapshot();
    CommitTransactionCommand();
    MemoryContextSwitchTo(TopMemoryContext);
    pgstat_report_stat(false);
  });
  open_.clear();
  state_ = State::none;
}

void PgStore::rollback() noexcept {
  open_.clear();
  if (state_ == State::none) return;
  state_ = State::none;
  try {
    guard([] {
      AbortCurrentTransaction();
      MemoryContextSwitchTo(TopMemoryContext);
    });
  } catch (const Error& error) {
    elog(LOG, "rowmesh: rolling back failed: %s", error.what());
  }
}

void PgStore::in_transaction(const std::function<void()>& work) {
  if (state_ != State::none) return work();
  begin(TransactionKind::write);
  try {
    work();
    commit();
  } catch (...) {
    rollback();
    throw;
  }
}

TableAccess* PgStore::access(TableId id) {
  if (state_ == State::none) throw store_not_open();
  if (auto at = open_.find(id); at != open_.end()) return at->second;
  PgTable& table = catalog_.get(id);
  LOCKMODE lock = state_ == State::write ? RowExclusiveLock : AccessShareLock;
  TableAccess* opened = nullptr;
  guard([&] {
    MemoryContext old = MemoryContextSwitchTo(memory_);
    opened = open_table(table, lock);
    MemoryContextSwitchTo(old);
  });
  return open_[id] = opened;
}

void PgStore::forget_access(TableId id) {
  auto at = open_.find(id);
  if (at == open_.end()) return;
  TableAccess* one = at->second;
  open_.erase(at);
  guard([&] { close_table(one); });
}

void PgStore::with_snapshot(const std::function<void(const ReadContext&)>& work) {
  ReadContext context{nullptr, memory_, scratch_};
  if (state_ == State::read) {
    context.snapshot = GetActiveSnapshot();
    return work(context);
  }
  guard([&] {
    MemoryContext old = MemoryContextSwitchTo(memory_);
    CommandCounterIncrement();
    context.snapshot = RegisterSnapshot(GetLatestSnapshot());
    MemoryContextSwitchTo(old);
  });
  work(context);
  guard([&] { UnregisterSnapshot(context.snapshot); });
}

// ---- configuration

std::uint64_t PgStore::config_generation() {
  if (state_ == State::none)
    guard([] {
      // Nothing but hearing of what others changed in the catalogs.
      StartTransactionCommand();
      CommitTransactionCommand();
      MemoryContextSwitchTo(TopMemoryContext);
    });
  return pg_atomic_read_u64(&slot_->config_generation) + schema_changes + setting_changes_;
}

Identity PgStore::identity() {
  Identity identity;
  in_transaction([&] { identity = read_identity(); });
  return identity;
}

void PgStore::set_identity(const Identity& identity) {
  if (state_ != State::write) throw store_not_open();
  run_sql("UPDATE rowmesh.state SET node = $1::uuid, origin = $2, name = $3",
          {SqlArgument::of_text(identity.node), SqlArgument::of_text(to_hex(identity.origin)),
           SqlArgument::of_text(identity.name)});
}

void PgStore::restart_clock(Hlc last) {
  pg_atomic_write_u64(&slot_->hlc, last);
  log_.forget_promises();
}

bool PgStore::has_local(Hlc version) {
  bool found = false;
  in_transaction([&] {
    found = !run_sql(
                 "SELECT 1 FROM (SELECT hlc FROM rowmesh.log_0 UNION ALL SELECT hlc FROM rowmesh.log_1) l WHERE hlc = "
                 "$1 LIMIT 1",
                 {SqlArgument::of_number(static_cast<std::int64_t>(version))})
                 .empty();
  });
  return found;
}

std::vector<Table> PgStore::tables() {
  std::vector<Table> tables;
  in_transaction([&] {
    catalog_.load();
    watched_relations().clear();
    for (const auto& table : catalog_.tables()) {
      watched_relations().insert(table->relation);
      for (const auto& leaf : table->leaves) watched_relations().insert(leaf->relation);
      tables.push_back(table->table);
    }
  });
  return tables;
}

std::vector<ServerConfig> PgStore::servers() {
  std::vector<ServerConfig> servers;
  in_transaction([&] { servers = read_servers(); });
  return servers;
}

void PgStore::forget_old_secret(std::int64_t server) {
  run_sql("UPDATE rowmesh.server SET old_secret = '' WHERE id = $1", {SqlArgument::of_number(server)});
}

std::string PgStore::setting(const std::string& name) {
  std::string value;
  if (name != "enabled") {
    std::uint64_t generation = pg_atomic_read_u64(&slot_->config_generation) + schema_changes + setting_changes_ + 1;
    if (generation != settings_generation_) in_transaction([&] { settings_ = read_settings(); });
    settings_generation_ = generation;
    auto found = settings_.find(name);
    return found == settings_.end() ? "" : found->second;
  }
  in_transaction([&] {
    // Not a setting but what enable() and disable() say.
    auto rows = run_sql("SELECT enabled FROM rowmesh.state");
    value = !rows.empty() && rows[0][0] == "f" ? "off" : "on";
  });
  return value;
}

std::vector<Request> PgStore::requests() {
  std::vector<Request> requests;
  in_transaction([&] { requests = read_requests(); });
  return requests;
}

// ---- the log

LogRead PgStore::read_log(const LogVisitor& visit) {
  if (state_ != State::read) throw store_not_open();
  return log_.read(catalog_, GetActiveSnapshot(), visit);
}

// Committed TRUNCATEs are counted before their locks are let go, and begin(write) holds locks that no TRUNCATE passes.
bool PgStore::log_must_be_read() { return pg_atomic_read_u64(&slot_->truncates) != truncates_seen_; }

void PgStore::unread_log(const LogVisitor& visit) {
  if (state_ != State::write) throw store_not_open();
  with_snapshot([&](const ReadContext& context) { log_.unread(catalog_, context.snapshot, visit); });
}

void PgStore::note_local(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) {
  if (state_ == State::none) throw store_not_open();
  PgTable& described = catalog_.get(table.id);
  std::vector<unsigned char> mask;
  if (op == LogOp::update && !columns.is_all()) {
    mask.assign(described.column_of.size() / 8 + 1, 0);
    for (std::size_t i = 0; i < described.columns.size(); i++) {
      if (described.columns[i].attribute == 0) continue;
      auto bit = static_cast<std::size_t>(described.columns[i].attribute - 1);
      if (columns.has(static_cast<ColumnIndex>(i))) mask[bit / 8] |= static_cast<unsigned char>(1 << bit % 8);
    }
  }
  guard([&] {
    note_change(table.id, op, key.data(), key.size(), mask.empty() ? nullptr : mask.data(),
                static_cast<std::uint16_t>(mask.size()));
  });
}

}  // namespace rowmesh
