// A database in memory behind the seam: the oracle of the contract suite and the disk of the simulator. It behaves like
// PostgreSQL (versions taken before the commit shows, prepared transactions, row locks) or, as Flavour::single_writer,
// like SQLite (versions given when the log is read). Deterministic; not thread-safe.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "shared/sync/status.hpp"
#include "shared/sync/store.hpp"

namespace rowmesh::testing {

enum class Flavour : std::uint8_t {
  snapshot,       // others write while the core decides: find_rows reports what the log read did not give
  single_writer,  // nobody else writes between begin(write) and commit, so the log is read to its end first
};

// Where a test may step in: throw Error(transient) or Crash, or run a local transaction (at_begin and before_find only:
// later the core holds locks that a real one would wait for).
enum class Point : std::uint8_t { at_begin, before_find, before_write, before_commit, after_commit, at_read_log };

// Thrown by a test through the core to end the process at a point. Not a std::exception, so nobody handles it by
// accident.
struct Crash {
  std::size_t node = 0;
};

class MemoryStore : public Store {
 public:
  MemoryStore(Identity identity, WallClock& wall, Flavour flavour = Flavour::snapshot);
  ~MemoryStore() override;

  // ---- what SQL functions and settings do
  using Check = std::function<bool(RowView)>;
  const Table& create_table(Table table);                                                 // gives the id
  void alter_table(const std::string& table, const std::function<void(Table&)>& change);  // rows stay as they are
  void add_check(const std::string& table, std::string name, Check holds);
  void remove_checks(const std::string& table);
  std::int64_t add_server(ServerConfig server);  // gives the id and the start state
  void change_server(std::int64_t id, const std::function<void(ServerConfig&)>& change);
  void remove_server(std::int64_t id);
  void set(const std::string& name, const std::string& value);
  std::int64_t request(std::string kind, std::string argument);

  // ---- the application. Errors are Error(permanent) with a SQLSTATE, or Error(transient) where a real one would wait.
  void begin_local();
  void insert(const std::string& table, RowView row);
  void update(const std::string& table, RowView key, RowView row);  // a changed key is remove and insert
  void remove(const std::string& table, RowView key);
  void truncate(const std::string& table);
  Hlc commit_local();  // 0: nothing was changed, or it gets its version when the log is read
  void abort_local() noexcept;
  // PREPARE TRANSACTION: the version is taken now, rows show and the log grows at commit_prepared. Survives a crash.
  std::uint64_t prepare_local();
  void commit_prepared(std::uint64_t id);
  void abort_prepared(std::uint64_t id);
  std::vector<std::uint64_t> prepared() const;

  // ---- the machine
  std::function<void(Point)> on_point;
  // prune_history removes something only so often, as with PostgreSQL: a restart finds records of what was forgotten.
  std::uint64_t prune_interval_ms = 0;
  void prune_now();  // what is left of that
  void crash();      // what was not committed is gone; the next user of the store loads it anew
  // What is on its disk now; calling the result, while no node runs on the store, puts it back.
  std::function<void()> backup();
  // Is from now on what is on the disk of the other one. `elsewhere`: and finds that it does not lie where its identity
  // was made, as a file does.
  void become_copy_of(const MemoryStore& other, bool elsewhere);

  // ---- what tests look at
  struct StoredRow {
    OwnedRow values;
    std::uint64_t id = 0;
    std::uint64_t written = 0;  // number of the local transaction that wrote it last; 0: the core did
  };
  const Table& table(const std::string& name) const;
  const std::map<Key, StoredRow>& rows(const std::string& table) const;
  const std::vector<ConflictRow>& conflicts() const { return conflicts_; }
  const NodeStatus& status() const { return status_; }
  std::string stored_state() const;  // NodeState, as a start would find it; empty: there is none
  std::size_t history_size() const { return history_.size(); }
  std::size_t log_size() const { return log_.size(); }
  Flavour flavour() const { return flavour_; }
  bool log_unread() const { return given_ != last_transaction_; }
  std::uint64_t rows_written() const { return rows_written_; }  // by the core
  std::uint64_t idle_writes() const { return idle_writes_; }    // updates by the core that changed nothing
  bool in_local() const { return local_ != nullptr; }
  bool in_transaction() const { return open_ != Open::none; }  // of the core

  // ---- Store
  std::uint64_t config_generation() override { return generation_; }
  Identity identity() override { return identity_; }
  void set_identity(const Identity& identity) override;
  std::string place_trouble() override {
    return elsewhere_ ? "this database is a copy of another; call new_identity('copied')" : "";
  }
  std::vector<Table> tables() override;
  std::vector<ServerConfig> servers() override { return servers_; }
  void forget_old_secret(std::int64_t server) override;
  std::string setting(const std::string& name) override;
  std::vector<Request> requests() override { return requests_; }
  void finish_request(std::int64_t id) override;
  VersionClock& clock() override { return clock_; }
  void restart_clock(Hlc last) override;
  void begin(TransactionKind kind, std::span<const Table* const> locked = {}) override;
  void commit() override;
  void rollback() noexcept override;
  LogRead read_log(const LogVisitor& visit) override;
  bool log_must_be_read() override;
  void unread_log(const LogVisitor& visit) override;
  bool has_local(Hlc version) override;
  void note_local(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) override;
  std::int64_t append_history(std::span<const HistoryRecord> records) override;
  void load_history(const std::function<void(const HistoryRecord&)>& record, const LogVisitor& entry) override;
  void prune_history(std::int64_t sequence) override;
  std::int64_t put_side(const SideRow& row) override;
  void remove_side(TableId table, KeyView key) override;
  std::vector<SideRow> load_side() override;
  void add_conflict(const ConflictRow& conflict) override;  // their ids are 1, 2, 3, ...
  std::string conflict_image(std::int64_t id) override;
  void note_restored(std::int64_t id, const std::string& text) override;
  std::optional<Key> canonical_key(const Table& table, RowView key_values, const std::vector<ColumnType>& types,
                                   std::string* reason) override;
  void read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) override;
  void scan_rows(const Table& table, KeyView after, const RowVisitor& visit) override;
  std::uint64_t estimate_rows(const Table& table) override;
  void find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) override;
  void write_rows(const Table& table, const std::vector<ColumnType>& types, std::span<const RowWrite> writes,
                  std::vector<WriteResult>& results) override;
  void truncate(const Table& table) override;
  std::optional<Key> find_unique(const Table& table, std::size_t unique_index, RowView row) override;
  std::vector<Key> find_referencing(const Table& table, ColumnIndex column, std::int64_t number) override;
  std::int64_t next_free_key(const Table& table) override;
  void publish_status(const NodeStatus& status) override { status_ = status; }

 private:
  struct Entry {
    std::uint64_t transaction = 0;  // number of the local transaction, in commit order
    TableId table = 0;
    LogOp op = LogOp::insert;
    Key key;
    ColumnSet columns;
    Hlc hlc = 0;  // 0: not given yet
    std::uint64_t written_ms = 0;
  };
  struct Stored {
    Table table;
    std::map<Key, StoredRow> rows;
    std::vector<std::pair<std::string, Check>> checks;
  };
  using Undo = std::vector<std::function<void()>>;
  struct Local {
    std::vector<Entry> entries;
    Undo undo;
  };
  struct Prepared {
    std::vector<Entry> entries;
    std::map<std::pair<TableId, Key>, std::optional<OwnedRow>> after;  // nullopt: removed
    std::set<TableId> truncated;
  };

  Stored& stored(TableId id);
  Stored& stored(const std::string& name);
  const Stored& stored(const std::string& name) const;
  void reach(Point point);
  void need_transaction(bool write, const char* call) const;
  // Row changes for both kinds of transaction: undone by running `undo` backwards.
  void put(Stored& in, const Key& key, OwnedRow values, std::uint64_t written, Undo& undo);
  void erase(Stored& in, const Key& key, Undo& undo);
  static void run_back(Undo& undo) noexcept;
  std::optional<WriteResult> why_not(Stored& in, KeyView key, RowView row);
  void wait_for_prepared(TableId table, KeyView key) const;  // throws Error(transient) where a lock is held
  void wait_for_unique(const Stored& in, KeyView key, RowView row) const;
  void note(Local& local, TableId table, LogOp op, KeyView key, const ColumnSet& columns);
  Local& local();
  void give(const Entry& entry, const LogVisitor& visit) const;
  Hlc take_versions(std::vector<Entry>& entries);
  void give_versions();
  void enter_log(std::vector<Entry> entries, std::uint64_t transaction);

  Identity identity_;
  bool elsewhere_ = false;
  Flavour flavour_;
  WallClock& wall_;
  Hlc clock_on_disk() const;
  HybridClock clock_;
  Hlc clock_stored_ = 0;  // as of the last versions that were given at reading
  std::uint64_t generation_ = 1;
  std::map<std::string, std::string> settings_;
  std::vector<ServerConfig> servers_;
  std::int64_t last_server_ = 0;
  std::vector<Request> requests_;
  std::int64_t last_request_ = 0;

  std::map<TableId, Stored> tables_;
  std::uint64_t last_row_ = 0;
  std::deque<Entry> log_;
  std::uint64_t last_transaction_ = 0;  // commit number of the newest local transaction
  std::uint64_t given_ = 0;             // read_log gave all up to here
  std::uint64_t forgotten_ = 0;         // prune_history dropped all up to here
  std::map<std::uint64_t, Prepared> prepared_;
  std::uint64_t last_prepared_ = 0;
  std::vector<HistoryRecord> history_;
  std::vector<HistoryRecord> history_waiting_;  // given in a read transaction
  std::int64_t last_history_ = 0;
  std::int64_t prune_to_ = 0;  // of this run
  std::uint64_t pruned_ms_ = 0;
  std::map<std::pair<TableId, Key>, SideRow> side_;
  std::int64_t last_side_ = 0;
  std::vector<ConflictRow> conflicts_;
  NodeStatus status_;

  enum class Open : std::uint8_t { none, read, write } open_ = Open::none;
  bool locked_rows_ = false;
  Undo undo_;
  std::vector<Entry> noted_;
  std::unique_ptr<Local> local_;
  std::uint64_t rows_written_ = 0, idle_writes_ = 0;
};

// Key columns of `row`, as bytes.
Key key_of(const Table& table, RowView row);

}  // namespace rowmesh::testing
