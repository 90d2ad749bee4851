// The seam over a SQLite file. It opens a connection of its own, by which everything is read and applied.
//
// How it keeps the contract of shared/sync/store.hpp:
// - The log is consumed. read_log moves what the triggers wrote into rowmesh_history (kind 2, "folded") in short write
// transactions,
//   gives the versions on the way, and ends in a read transaction in which the log is empty. The core's own cut record
//   comes later, with its next write transaction, and its marker names the last folded record that it was given:
//   load_history calls `entry` right after the cut's record, and those behind the last cut come with the next read_log.
//   Entries given in a transaction that is rolled back are given again.
// - One version stands for all entries whose times lie close together (a few milliseconds), since a transaction has no
// name in SQLite. Each
//   read_log gives versions above everything that the clock gave or saw before, so no position lies between equal ones.
// - Nothing else writes between begin(write) and commit, so find_rows never reports newer_than_log.
// - Local triggers run when rows are applied, but what they write into replicated tables and into the log is compiled
// out by an
//   authorizer: user triggers that feed a full-text index or a local table work, double writes and echoes do not
//   happen.
//
// One thread, except latest_status().
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "shared/sync/status.hpp"
#include "shared/sync/store.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

class SqliteStore : public Store {
 public:
  // `notice` gets lines for the log ('i', 'w', 'e' as NodeServices::log). The file must have rowmesh's tables
  // (ensure_schema).
  using Notice = std::function<void(char level, const std::string& text)>;
  SqliteStore(const std::string& path, WallClock& wall, Notice notice = {}, const char* vfs = nullptr);
  ~SqliteStore() override;

  // ---- for the worker
  sqlite3* connection();
  // Puts triggers back after a schema change. Cheap when nothing changed: one pragma. tables() does it as well.
  void maintain();
  NodeStatus latest_status() const;                                           // any thread
  void set_listening(const std::string& address, const std::string& inside);  // published with the status
  // Writes the newest status into rowmesh_published if publish_status could not (too soon, or somebody was writing).
  // Never waits.
  void flush_status();

  // ---- Store
  std::uint64_t config_generation() override;
  Identity identity() override;
  void set_identity(const Identity& identity) override;
  std::string place_trouble() override;
  std::vector<Table> tables() override;
  std::vector<ServerConfig> servers() override;
  void forget_old_secret(std::int64_t server) override;
  std::string setting(const std::string& name) override;
  std::vector<Request> requests() override;
  void finish_request(std::int64_t id) override;
  VersionClock& clock() override;
  Hlc given_before_opening() const override;
  void restart_clock(Hlc last) override;

  void begin(TransactionKind kind, std::span<const Table* const> locked = {}) override;
  void commit() override;
  void commit_lazily() override;
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
  void add_conflict(const ConflictRow& conflict) override;
  std::string conflict_image(std::int64_t id) override;
  void note_restored(std::int64_t id, const std::string& text) override;

  std::vector<Key> find_referencing(const Table& table, ColumnIndex column, std::int64_t number) override;
  std::int64_t next_free_key(const Table& table) override;
  std::optional<Key> canonical_key(const Table& table, RowView key_values, const std::vector<ColumnType>& types,
                                   std::string* reason) override;
  void read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) override;
  void scan_rows(const Table& table, KeyView after, const RowVisitor& visit) override;
  std::uint64_t estimate_rows(const Table& table) override;
  void find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) override;
  void write_rows(const Table& table, const std::vector<ColumnType>& types, std::span<const RowWrite> writes,
                  std::vector<WriteResult>& results) override;
  OwnedRow as_stored(const Table& table, const std::vector<ColumnType>& types, RowView row) override;
  void truncate(const Table& table) override;
  std::optional<Key> find_unique(const Table& table, std::size_t unique_index, RowView row) override;

  void publish_status(const NodeStatus& status) override;

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmesh::sqlite
