// The seam (shared/sync/store.hpp) on PostgreSQL. Lives in the worker of one database.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "pg_ext/catalog.hpp"
#include "pg_ext/clock.hpp"
#include "pg_ext/log_reader.hpp"
#include "pg_ext/row_reader.hpp"
#include "pg_ext/row_writer.hpp"
#include "shared/sync/status.hpp"
#include "shared/sync/store.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

class PgStore : public Store {
 public:
  explicit PgStore(SharedSlot* slot);

  std::uint64_t config_generation() override;
  Identity identity() override;
  void set_identity(const Identity& identity) override;
  std::vector<Table> tables() override;
  std::vector<ServerConfig> servers() override;
  void forget_old_secret(std::int64_t server) override;
  std::string setting(const std::string& name) override;
  std::vector<Request> requests() override;
  void finish_request(std::int64_t id) override;
  VersionClock& clock() override { return clock_; }
  void restart_clock(Hlc last) override;

  void begin(TransactionKind kind, std::span<const Table* const> locked = {}) override;
  void commit() override;
  void commit_lazily() override;
  void rollback() noexcept override;

  LogRead read_log(const LogVisitor& visit) override;
  bool log_must_be_read() override;
  void unread_log(const LogVisitor& visit) override;
  bool has_local(Hlc version) override;
  std::vector<Key> find_referencing(const Table& table, ColumnIndex column, std::int64_t number) override;
  std::int64_t next_free_key(const Table& table) override;
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

  // A configuration file was read again.
  void settings_changed() { setting_changes_++; }
  // What the worker listens on, or why it does not: shown with the status.
  void set_listening(const std::string& address, const std::string& inside, const std::string& problem);
  void add_listener(NodeStatus& status) const;

 private:
  enum class State : std::uint8_t { none, read, write };

  // A short transaction of its own around `work`, or the one that is open.
  void in_transaction(const std::function<void()>& work);
  void begin_locked(TransactionKind kind, std::span<const Table* const> locked);
  TableAccess* access(TableId id);
  void forget_access(TableId id);
  ReadContext reading();  // with a snapshot that shows what this transaction may see now
  // A write transaction sees the newest state at each call, a read transaction its one snapshot.
  void with_snapshot(const std::function<void(const ReadContext&)>& work);
  void move_sequence(PgTable& table, std::span<const RowWrite> writes, std::span<const WriteResult> results);
  void prune_now();
  void rotate_log(const std::string& pruned_marker);

  SharedSlot* slot_;
  SharedClock clock_;
  Catalog catalog_;
  LogReader log_;
  State state_ = State::none;
  std::unordered_map<TableId, TableAccess*> open_;
  MemoryContext memory_ = nullptr;   // of the transaction
  MemoryContext scratch_ = nullptr;  // of one row
  std::uint64_t truncates_seen_ = 0;
  std::int64_t prune_to_ = 0, pruned_to_ = 0;
  std::uint64_t pruned_at_ms_ = 0;
  std::string listening_, inside_, listen_problem_;
  std::map<std::string, std::string> settings_;  // as read at this generation
  std::uint64_t settings_generation_ = 0, setting_changes_ = 0;
};

// For calls that need a transaction.
inline Error store_not_open() {
  return Error(ErrorKind::bug, "no_transaction", "the store was used outside of a transaction");
}

}  // namespace rowmesh
