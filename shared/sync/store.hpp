// THE SEAM between the core and a database. Row-shaped: no SQL text crosses it. Implemented by the memory store
// (shared/testing), PostgreSQL (pg_ext) and SQLite (sqlite_ext); shared/testing/store_contract.hpp runs the same tests
// on all.
//
// One thread. Views given to a visitor or returned by reference live until the next call on the store. Every method may
// throw Error; transient ones (deadlock, lock timeout, serialization, BUSY, disk full) mean: roll back and try again.
#pragma once
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "shared/model/clock.hpp"
#include "shared/model/error.hpp"
#include "shared/model/key.hpp"
#include "shared/model/table.hpp"
#include "shared/model/value.hpp"
#include "shared/model/version.hpp"

namespace rowmesh {

struct Identity {
  std::string node;   // UUID, lower case; stays for the life of the database
  Origin origin = 0;  // this incarnation
  std::string name;   // for people
};

enum class Direction : std::uint8_t { both, push, pull };  // push: we only ship to it; pull: we only take from it

// What alter_server sets for one server. The value that stands here means: as the node sees fit.
struct ServerOptions {
  std::uint64_t batch_rows = 0, batch_bytes = 0;  // of one document of a copy from here
  std::uint64_t timeout_ms = 0;                   // for the answer to a request; a document has more by its length
  enum class Compression : std::uint8_t { automatic, on, off } compression = Compression::automatic;
  std::uint64_t rate_limit = 0;  // bytes of documents a second
  struct Hours {
    std::uint16_t from = 0, to = 0;  // minutes since midnight, UTC; from > to: over midnight
  };
  std::vector<Hours> schedule;        // when documents are shipped to it; empty: always
  bool first_copy = true;             // if this database is new, it takes what the server has (add_server's copy)
  std::uint64_t retention_hours = 0;  // shorter than the setting `retention`: silent for so long, it is given up
};

struct ServerConfig {
  std::int64_t id = 0;
  std::string name;
  std::string url;         // "http://host:port", no trailing slash; empty: it comes to us
  std::string secret;      // never in logs, errors, views
  std::string old_secret;  // the one before: still taken until the server uses the new one
  Direction direction = Direction::both;
  bool all_tables = true;
  std::set<std::string> tables;  // if not all: wire names of those that are shipped to it and taken from it
  bool enabled = true;
  ServerOptions options;
  // HistoryRecord::state of the newest history record when add_server was called: every change after it is shipped.
  // Empty: there was none.
  std::string start_state;

  bool exchanges(const std::string& table) const { return all_tables || tables.contains(table); }
};

// ---- the log ----

enum class LogOp : std::uint8_t { insert, update, remove, truncate };

struct LogEntry {
  TableId table = 0;
  LogOp op = LogOp::insert;
  KeyView key;        // empty for truncate
  ColumnSet columns;  // update: the columns that changed
  Hlc hlc = 0;  // of the transaction: all entries of one transaction bear the same, and no two transactions of one
                // node that touch the same row do, unless the store knows that no position lies between them
};
using LogVisitor = std::function<void(const LogEntry&)>;

struct LogRead {
  bool any = false;  // there were entries
  // Promise: every local change with a version <= watermark has been given by this read or an earlier one (model, H2).
  Hlc watermark = 0;
  std::string marker;  // what the store needs to find the end of this read again; kept in the cut's history record
};

// ---- history: what this node must remember to rebuild its window, in one order ----

enum class HistoryKind : std::uint8_t { cut, applied };

struct HistoryRecord {
  std::int64_t sequence = 0;  // given by the store, ascending
  HistoryKind kind = HistoryKind::cut;
  std::string marker;  // cut: LogRead::marker
  std::string state;   // encoded by the core: the node's state after it; empty in continuation records
  std::string data;    // encoded by the core
};

// Quarantined, hidden and held rows: a row of the side table per key (docs/model.md). `packed` is the core's; the rest
// is for people, shown by the view `quarantine` (kind 'quarantined') and `tables`.
struct SideRow {
  std::int64_t id = 0;  // given by the store on the first put, stable for the key
  TableId table = 0;
  Key key;
  std::string packed;
  std::string kind;    // 'quarantined', 'hidden', 'held'
  std::string reason;  // a sentence
  std::string code;    // SQLSTATE or name
  std::string key_text;
  std::string payload;  // JSON object: column -> value
  std::string origin;   // hex of the origin that wrote the newest value
  std::uint64_t since_ms = 0;
};

// What a person asked for by SQL: read by the core at its next tick, removed in the transaction that carries it out.
struct Request {
  std::int64_t id = 0;
  std::string kind;  // 'retry', 'discard' (argument: side row id; 0 = all), 'copy' (argument: JSON), 'restore'
  std::string argument;
};

struct ConflictRow {
  std::uint64_t time_ms = 0;
  std::string table;
  std::string key_text;
  std::string type;        // 'update_origin_differs', 'insert_exists', 'update_deleted', 'delete_origin_differs',
                           // 'multiple_unique', ...
  std::string resolution;  // 'apply_remote', 'keep_local', 'hidden', 'held'
  std::string winner;      // JSON object, columns that won; empty: a delete
  std::string loser;       // JSON object, the values that lost
  std::string winner_version, loser_version;  // "hlc-ms/origin hex" for people
  std::string image = {};                     // encoded by the core: what restore needs; empty: nothing to restore
  std::string restored = {};                  // what came of restore, as a sentence; empty: it was not asked for
};

// ---- applying ----

struct FoundRow {
  bool exists = false;
  std::uint64_t handle = 0;  // for write_rows in the same transaction
  bool newer_than_log =
      false;  // last written by a local transaction that the last read_log did not give: read the log again
};

enum class WriteKind : std::uint8_t { insert, update, remove };

struct RowWrite {
  WriteKind kind = WriteKind::insert;
  KeyView key;
  std::uint64_t handle = 0;  // update, remove: of find_rows
  // insert, update: all columns of the table in its order. `omitted` (the other side has no such column): an insert
  // takes the column's default; an update never names it.
  RowView values;
  const ColumnSet* columns = nullptr;  // update: which of them to write
};

struct WriteResult {
  enum Status : std::uint8_t {
    ok,
    raced,    // the row appeared or vanished since find_rows: read the log again and decide anew
    unique,   // another row has a value that must be unique (not the key): `unique_index` of Table::uniques
    refused,  // the database will not take this row as things stand; `code` and `reason` say why
  } status = ok;
  std::size_t unique_index = 0;
  std::string code;
  std::string reason;  // one sentence for a person
};

// `index` counts in the span that was asked for. Return false to stop.
using RowVisitor = std::function<bool(std::size_t index, KeyView key, RowView row)>;

enum class TransactionKind : std::uint8_t {
  read,   // a snapshot; read_log and read_rows. What append_history is given here may be written by a later transaction
  write,  // as another writer would; SQLite: BEGIN IMMEDIATE
};

class Store {
 public:
  virtual ~Store() = default;

  // ---- configuration. Changed by SQL functions in other sessions; read outside of a transaction.
  // Grows whenever identity, tables, servers or settings changed. Cheap: called at every wake-up.
  virtual std::uint64_t config_generation() = 0;
  virtual Identity identity() = 0;
  virtual void set_identity(const Identity& identity) = 0;  // in a write transaction
  // Outside of a transaction. Why this database is not where its identity belongs, as a sentence: it is a copy; '' if
  // it is.
  virtual std::string place_trouble() { return ""; }
  virtual std::vector<Table> tables() = 0;  // also: columns, keys and indexes as they are now
  virtual std::vector<ServerConfig> servers() = 0;
  virtual void forget_old_secret(std::int64_t server) = 0;  // in a write transaction; the generation may stay
  // '' when not set. Names: 'listen', 'enabled' ('on'/'off'), and those of docs/settings.md.
  virtual std::string setting(const std::string& name) = 0;
  virtual std::vector<Request> requests() = 0;
  virtual void finish_request(std::int64_t id) = 0;  // in a write transaction

  virtual VersionClock& clock() = 0;
  // Versions up to this are those of whoever had this database before it was opened here. Only of a store that gives
  // versions when it reads the log (SQLite): what was read lies in the file, and a copy of it is not the one that gave
  // them.
  virtual Hlc given_before_opening() const { return 0; }
  virtual void restart_clock(
      Hlc last) = 0;  // in a write transaction: versions and watermarks begin again above `last`, lower as it may be

  // ---- transactions, one at a time. `locked`: tables that will be written, locked so that no TRUNCATE passes.
  virtual void begin(TransactionKind kind, std::span<const Table* const> locked = {}) = 0;
  // Read: returns when every local transaction seen is on disk, so nothing is shipped that a crash could undo.
  // Write: returns when this one is on disk.
  virtual void commit() = 0;
  // Write: shown to everybody, but a crash may undo it, together with whatever came after it. For what only says again
  // what the log knows.
  virtual void commit_lazily() { commit(); }
  virtual void rollback() noexcept = 0;  // also when no transaction is open

  // ---- the log
  // All entries that no earlier read_log gave, in an order that keeps each row's own. Begin a read transaction first;
  // once this has returned they have been given, also if that transaction ends in a rollback. SQLite consumes them: it
  // opens its own short write transactions, writes `HistoryRecord`s itself through `append`, and ends in the read
  // transaction.
  virtual LogRead read_log(const LogVisitor& visit) = 0;
  // In a write transaction, after begin: true if entries wait that must be read before anything is decided (SQLite:
  // any, since no more can come while this transaction lasts; PostgreSQL: a TRUNCATE). Then: roll back, read the log,
  // begin again.
  virtual bool log_must_be_read() = 0;
  // In a write transaction: what read_log would give now. It is given again then. (SQLite: nothing, once the log need
  // not be read.)
  virtual void unread_log(const LogVisitor& visit) = 0;
  // Outside of a transaction: is there still an entry of this version in the log? (Of any that prune_history was not
  // asked to remove.)
  virtual bool has_local(Hlc version) = 0;
  // In any transaction. Makes the entry as the capture trigger would: it comes with a later read_log.
  virtual void note_local(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) = 0;

  // ---- history and side rows. In a write transaction, except where said.
  // Returns the sequence of the last one.
  virtual std::int64_t append_history(std::span<const HistoryRecord> records) = 0;
  // Outside of a transaction, once, before anything else: all records in order; for a cut record of PostgreSQL `entry`
  // is called with its log entries after `record`. (In SQLite they are in HistoryRecord::data.) What comes after the
  // last cut is left to read_log.
  virtual void load_history(const std::function<void(const HistoryRecord&)>& record, const LogVisitor& entry) = 0;
  // Records up to and including `sequence`, and log entries that belong to these cuts, are no longer needed. Except
  // that the newest cut's marker must stay usable, and the newest record with a state stays: a restart begins with it.
  // Any time outside of a transaction; may do its work later.
  virtual void prune_history(std::int64_t sequence) = 0;
  virtual std::int64_t put_side(const SideRow& row) = 0;  // insert or replace by (table, key); returns the id
  virtual void remove_side(TableId table, KeyView key) = 0;
  virtual std::vector<SideRow> load_side() = 0;  // outside of a transaction
  virtual void add_conflict(const ConflictRow& conflict) = 0;
  virtual std::string conflict_image(std::int64_t id) = 0;  // outside of a transaction; '' if there is none
  virtual void note_restored(std::int64_t id, const std::string& text) = 0;

  // ---- rows
  // In a write transaction: the key of a row in this store's canonical form, from values that came from another engine.
  // nullopt: this table cannot hold such a key (`reason` says why).
  virtual std::optional<Key> canonical_key(const Table& table, RowView key_values, const std::vector<ColumnType>& types,
                                           std::string* reason) = 0;
  // In a transaction: the rows as its snapshot shows them. Keys sorted ascending; absent rows are not visited.
  virtual void read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) = 0;
  // In key order of the engine, beginning after `after` (empty: from the start). `index` counts visited rows.
  virtual void scan_rows(const Table& table, KeyView after, const RowVisitor& visit) = 0;
  virtual std::uint64_t estimate_rows(const Table& table) = 0;
  // In a write transaction: looks the rows up and locks them; keys sorted ascending. found.size() == keys.size()
  // afterwards.
  virtual void find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) = 0;
  // In a write transaction, captured by nobody, local foreign keys and triggers silent (docs/guarantees.md). `types`:
  // column types on the wire, for conversion. Each refused row leaves no trace and does not hinder the others.
  // results.size() == writes.size() afterwards.
  virtual void write_rows(const Table& table, const std::vector<ColumnType>& types, std::span<const RowWrite> writes,
                          std::vector<WriteResult>& results) = 0;
  // In a write transaction: the row as read_rows would give it back once it is written: to compare it with what is
  // here. A value that the table cannot hold stays as it is.
  virtual OwnedRow as_stored(const Table& table, const std::vector<ColumnType>& types, RowView row) {
    (void)table, (void)types;
    return OwnedRow(row);
  }
  virtual void truncate(const Table& table) = 0;  // in a write transaction: removes all rows, captured by nobody
  // The row that has these values in the columns of the index; nullopt if none, or if a value is null.
  virtual std::optional<Key> find_unique(const Table& table, std::size_t unique_index, RowView row) = 0;
  // The keys of the rows that have this number in the column, in any order. In a write transaction.
  virtual std::vector<Key> find_referencing(const Table& table, ColumnIndex column, std::int64_t number) = 0;
  // Of a table with an integer key: a number that no row has and that the engine will not hand out. In a write
  // transaction.
  virtual std::int64_t next_free_key(const Table& table) = 0;

  // ---- what people see. Called at every change of it, at most some times a second; may be written to memory only.
  virtual void publish_status(const struct NodeStatus& status) = 0;
};

// A transaction that ends with its scope: committed, or rolled back, also when something throws. Left open, it would
// hold its snapshot and its locks until the next one fails to begin.
class StoreTransaction {
 public:
  StoreTransaction(Store& store, TransactionKind kind) : store_(store) { store.begin(kind); }
  StoreTransaction(const StoreTransaction&) = delete;
  StoreTransaction& operator=(const StoreTransaction&) = delete;
  ~StoreTransaction() {
    if (open_) store_.rollback();
  }
  void commit() {
    store_.commit();
    open_ = false;
  }

 private:
  Store& store_;
  bool open_ = true;
};

}  // namespace rowmesh
