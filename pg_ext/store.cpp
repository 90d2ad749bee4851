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

// The worker's search path holds pg_catalog only, so this is always schema.table, quoted where needed.
constexpr char quoted_name[] =
    "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c WHERE c.oid = $1::oid";

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

Error not_open() { return Error(ErrorKind::bug, "no_transaction", "the store was used outside of a transaction"); }

}  // namespace

PgStore::PgStore(SharedSlot* slot) : slot_(slot), clock_(slot) {
  guard([] { CacheRegisterRelcacheCallback(relation_changed, 0); });
}

// ---- transactions

void PgStore::begin(TransactionKind kind, std::span<const Table* const> locked) {
  if (state_ != State::none) throw Error(ErrorKind::bug, "nested_transaction", "a transaction is open already");
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
  if (state_ == State::none) throw not_open();
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
  if (state_ == State::none) throw not_open();
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
  if (state_ != State::write) throw not_open();
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
  if (state_ != State::read) throw not_open();
  return log_.read(catalog_, GetActiveSnapshot(), visit);
}

// Committed TRUNCATEs are counted before their locks are let go, and begin(write) holds locks that no TRUNCATE passes.
bool PgStore::log_must_be_read() { return pg_atomic_read_u64(&slot_->truncates) != truncates_seen_; }

void PgStore::note_local(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) {
  if (state_ == State::none) throw not_open();
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

// ---- rows

std::optional<Key> PgStore::canonical_key(const Table& table, RowView key_values, const std::vector<ColumnType>& types,
                                          std::string* reason) {
  PgTable& described = catalog_.get(table.id);
  if (described.table.integer_key && key_values.size() == 1 && key_values[0].kind == ValueKind::integer &&
      integer_fits(described, key_values[0].integer))
    return encode_key(key_values);
  std::optional<Key> key;
  in_transaction([&] {
    AsOwner owner(described.owner);
    std::size_t count = described.key.size();
    Value values[INDEX_MAX_KEYS];
    bool any_null = key_values.size() != count;
    DatabaseRefusal refusal;
    bool fits = !any_null && attempt(
                                 [&] {
                                   MemoryContext old = MemoryContextSwitchTo(memory_);
                                   for (std::size_t i = 0; i < count; i++) {
                                     TypeIo& io = described.key_io(i);
                                     bool is_null;
                                     ColumnType wire = i < types.size() ? types[i] : io.wire;
                                     Datum datum = value_to_datum(io, key_values[i], wire, &is_null);
                                     values[i] = datum_to_value(io, datum, is_null);
                                     any_null = any_null || is_null;
                                   }
                                   MemoryContextSwitchTo(old);
                                 },
                                 refusal);
    if (fits && !any_null) {
      std::string scratch[INDEX_MAX_KEYS];
      for (std::size_t i = 0; i < count; i++)
        values[i] = canonical_key_value(described.key_io(i), values[i], scratch[i]);
      key = encode_key(RowView(values, count));
    } else if (reason) {
      *reason = refusal.refused ? refusal.text : "a key column is null or missing";
    }
  });
  return key;
}

void PgStore::read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) {
  TableAccess* opened = access(table.id);
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    for_each_leaf(opened, context, keys,
                  [&](TableAccess* leaf, std::span<const KeyView> own, const LeafPlaces& places) {
                    bool more = true;
                    rowmesh::read_rows(leaf, context, own, [&](std::size_t at, KeyView key, RowView row) {
                      return more = visit(places.of(at), key, row);
                    });
                    return more;
                  });
  });
}

void PgStore::scan_rows(const Table& table, KeyView after, const RowVisitor& visit) {
  TableAccess* opened = access(table.id);
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    if (opened->table->partitioned)
      scan_partitions(opened, context, after, visit);
    else
      rowmesh::scan_rows(opened, context, after, visit);
  });
}

OwnedRow PgStore::as_stored(const Table& table, const std::vector<ColumnType>& types, RowView row) {
  PgTable& described = catalog_.get(table.id);
  std::vector<Value> values(row.begin(), row.end());
  DatabaseRefusal refusal;
  bool fits = attempt(
      [&] {
        MemoryContext old = MemoryContextSwitchTo(memory_);
        for (std::size_t i = 0; i < values.size(); i++) {
          if (described.columns[i].attribute == 0 || values[i].kind == ValueKind::omitted) continue;
          TypeIo& io = described.columns[i].io;
          bool is_null;
          Datum datum = value_to_datum(io, values[i], i < types.size() ? types[i] : io.wire, &is_null);
          values[i] = datum_to_value(io, datum, is_null);
        }
        MemoryContextSwitchTo(old);
      },
      refusal);
  return OwnedRow(fits ? RowView(values) : row);
}

std::optional<Key> PgStore::find_unique(const Table& table, std::size_t unique_index, RowView row) {
  TableAccess* opened = access(table.id);
  std::optional<Key> key;
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    // A unique index of a partitioned table has the columns that say which partition a row belongs to.
    TableAccess* place = opened->table->partitioned ? leaf_of_row(opened, context, row) : opened;
    if (place) key = rowmesh::find_unique(place, context, unique_index, row);
  });
  return key;
}

void PgStore::find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) {
  TableAccess* opened = access(table.id);
  auto known = [this](TransactionId xid) { return log_.knows_writer(xid); };
  found.assign(keys.size(), {});
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    for_each_leaf(opened, context, keys,
                  [&](TableAccess* leaf, std::span<const KeyView> own, const LeafPlaces& places) {
                    std::vector<FoundRow> part;
                    rowmesh::find_rows(leaf, context, known, own, part);
                    for (std::size_t i = 0; i < part.size(); i++) found[places.of(i)] = part[i];
                    return true;
                  });
  });
}

void PgStore::write_rows(const Table& table, const std::vector<ColumnType>& types, std::span<const RowWrite> writes,
                         std::vector<WriteResult>& results) {
  if (state_ != State::write) throw not_open();
  TableAccess* opened = access(table.id);
  with_snapshot([&](const ReadContext& context) {
    AsOwner owner(opened->table->owner);
    auto note = [this](TransactionId xid) { log_.note_own_writer(xid); };
    if (opened->table->partitioned)
      write_partitions(opened, context, types, writes, results, note);
    else
      rowmesh::write_rows(opened, context, types, writes, results, note);
  });
  if (OidIsValid(opened->table->key_sequence)) move_sequence(*opened->table, writes, results);
}

// The next number that this database hands out must not be one that came from another.
void PgStore::move_sequence(PgTable& table, std::span<const RowWrite> writes, std::span<const WriteResult> results) {
  std::int64_t greatest = 0, number = 0;
  for (std::size_t i = 0; i < writes.size(); i++)
    if (writes[i].kind == WriteKind::insert && results[i].status == WriteResult::ok &&
        integer_of_key(writes[i].key, &number))
      greatest = std::max(greatest, number);
  if (greatest <= table.sequence_last || table.sequence_increment <= 0) return;
  auto rows = run_sql("SELECT coalesce(pg_catalog.pg_sequence_last_value($1::oid), 0)",
                      {SqlArgument::of_number(table.key_sequence)});
  std::int64_t last = rows.empty() ? 0 : std::stoll(*rows[0][0]);
  if (greatest > last && greatest <= table.sequence_maximum - table.sequence_increment) {
    // Steps of the increment keep the sequence in this node's share of the numbers.
    std::int64_t start = last != 0 ? last : 1;
    last =
        start + (greatest - start + table.sequence_increment - 1) / table.sequence_increment * table.sequence_increment;
    run_sql("SELECT pg_catalog.setval($1::oid::regclass, $2)",
            {SqlArgument::of_number(table.key_sequence), SqlArgument::of_number(last)});
  }
  table.sequence_last = last;
}

namespace {

std::string quoted_column(const Table& table, ColumnIndex column) {
  std::string quoted = "\"";
  for (char byte : table.columns[column].name) quoted += byte == '"' ? std::string("\"\"") : std::string(1, byte);
  return quoted + "\"";
}

std::string quoted_table(const PgTable& table) {
  auto name = run_sql(quoted_name, {SqlArgument::of_number(table.relation)});
  if (name.empty()) throw Error(ErrorKind::transient, "table_gone", "table " + table.table.local_name + " was dropped");
  return *name[0][0];
}

}  // namespace

std::vector<Key> PgStore::find_referencing(const Table& table, ColumnIndex column, std::int64_t number) {
  if (state_ != State::write) throw not_open();
  PgTable& described = catalog_.get(table.id);
  AsOwner owner(described.owner);  // turning a key into text may call a function of the table's owner
  std::string columns;
  std::vector<ColumnType> types;
  for (ColumnIndex key : table.key) {
    columns += (columns.empty() ? "" : ", ") + quoted_column(table, key) + "::text";
    types.push_back(table.columns[key].type);
  }
  std::vector<Key> keys;
  for (const SqlRow& row : run_made_sql("SELECT " + columns + " FROM " + quoted_table(described) + " WHERE " +
                                            quoted_column(table, column) + " OPERATOR(pg_catalog.=) $1",
                                        {SqlArgument::of_number(number)})) {
    Row values;
    for (std::size_t i = 0; i < types.size(); i++)
      values.push_back(types[i] == ColumnType::integer ? Value::of_integer(std::stoll(*row[i]))
                                                       : Value::of_text(*row[i]));
    if (auto key = canonical_key(table, values, types, nullptr)) keys.push_back(std::move(*key));
  }
  return keys;
}

std::int64_t PgStore::next_free_key(const Table& table) {
  if (state_ != State::write) throw not_open();
  PgTable& described = catalog_.get(table.id);
  auto rows = run_made_sql("SELECT coalesce(pg_catalog.max(" + quoted_column(table, table.key[0]) +
                           "), 0)::bigint FROM " + quoted_table(described));
  std::int64_t free = std::stoll(*rows[0][0]) + 1;
  if (described.key_sequence == InvalidOid) return free;
  // The sequence gives it away, so that no session gets it as well.
  auto given =
      run_sql("SELECT pg_catalog.nextval($1::oid::regclass)", {SqlArgument::of_number(described.key_sequence)});
  std::int64_t number = std::stoll(*given[0][0]);
  if (number >= free) return number;
  run_sql("SELECT pg_catalog.setval($1::oid::regclass, $2)",
          {SqlArgument::of_number(described.key_sequence), SqlArgument::of_number(free)});
  return free;
}

void PgStore::truncate(const Table& table) {
  if (state_ != State::write) throw not_open();
  PgTable& described = catalog_.get(table.id);
  forget_access(table.id);  // TRUNCATE refuses a table that this session has open
  auto name = run_sql(quoted_name, {SqlArgument::of_number(described.relation)});
  if (name.empty()) throw Error(ErrorKind::transient, "table_gone", "table " + table.local_name + " was dropped");
  // A table that others refer to cannot be truncated, whatever the session's role; without the references' triggers
  // deleting is the same.
  auto referenced =
      run_sql("SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1::oid LIMIT 1",
              {SqlArgument::of_number(described.relation)});
  AsOwner owner(described.owner);  // a trigger on TRUNCATE may be enabled for replicas
  run_made_sql((referenced.empty() ? "TRUNCATE " : "DELETE FROM ") + *name[0][0]);
  if (!referenced.empty()) log_.note_own_writer(GetCurrentTransactionIdIfAny());
}

std::uint64_t PgStore::estimate_rows(const Table& table) {
  PgTable& described = catalog_.get(table.id);
  std::uint64_t estimate = 0;
  in_transaction([&] {
    auto rows = run_sql("SELECT reltuples::bigint FROM pg_catalog.pg_class WHERE oid = $1::oid",
                        {SqlArgument::of_number(described.relation)});
    if (rows.empty()) return;
    std::int64_t tuples = std::stoll(*rows[0][0]);
    if (tuples <= 0) {
      auto name = run_sql(quoted_name, {SqlArgument::of_number(described.relation)});
      tuples = std::stoll(*run_made_sql("SELECT pg_catalog.count(*) FROM " + *name[0][0])[0][0]);
    }
    estimate = static_cast<std::uint64_t>(tuples);
  });
  return estimate;
}

}  // namespace rowmesh
