// The inside of SqliteStore, shared by the files that make it up: store.cpp (configuration, transactions, history),
// fold.cpp (the log), store_rows.cpp and write_rows.cpp (rows).
#pragma once
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "sqlite_ext/capture.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/store.hpp"

namespace rowmesh::sqlite {

enum class StoredKind : std::int64_t { cut = 0, applied = 1, folded = 2 };

// While read_log folds in several transactions: entries whose times lie close together get one version.
struct Group {
  bool open = false;
  std::uint64_t first_ms = 0, last_ms = 0;
  Hlc hlc = 0;
};

class SqliteStore::Impl {
 public:
  enum class Open : unsigned char { none, read, write };

  Impl(const std::string& path, WallClock& wall, Notice notice, const char* vfs);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // ---- layouts
  std::int64_t current_schema();  // PRAGMA schema_version, as the open transaction sees it
  void refresh();                 // layouts and authorizer, if the schema changed
  Layout* find_layout(TableId id);
  Layout& layout_of(const Table& table);  // throws Error(transient) if the table is not as the core knows it
  Statement& cached(const std::string& sql);
  Fraction fraction();

  // ---- transactions
  void need(Open at_least, const char* call) const;
  void begin_immediate();
  void write_alone(const std::function<void()>& body);  // in a transaction of its own
  void roll_back() noexcept;
  Hlc promised();  // no version up to it is given again (NodeState::hlc)
  void show_before_sync();
  sqlite3_file* write_ahead_log();  // null: there is none
  void sync();

  // ---- the log
  bool log_has_rows();
  std::size_t fold(Group& group, std::size_t limit);  // in a write transaction; the number of log rows it took
  void repair();                                      // in a write transaction
  bool deliver(std::int64_t after, std::int64_t upto, const LogVisitor& visit);
  std::int64_t next_sequence();
  std::int64_t put_history(StoredKind kind, std::string_view marker, std::string_view state, std::string_view data);
  void insert_log(const Table& table, LogOp op, KeyView key, const ColumnSet& columns);

  // ---- rows
  std::string key_condition(const Layout& layout);
  void bind_key(Statement& statement, int at, KeyView key);
  bool exists(const Layout& layout, KeyView key);
  Key key_of_row(const Layout& layout, const Row& native, Scratch& scratch);
  std::optional<Key> holder(const Layout& layout, std::size_t unique_index, RowView stored);
  WriteResult write_row(const Layout& layout, const std::vector<ColumnType>& types, const RowWrite& write);
  OwnedRow whole_row(const Layout& layout, const RowWrite& write, RowView stored);
  WriteResult explain(const Layout& layout, const RowWrite& write, RowView stored, int code);
  Statement& prepared_write(const std::string& sql);  // and guards against deletes by triggers
  void register_guard();
  void guard_deletes();
  void drop_guards() noexcept;
  std::string write_sql(const Layout& layout, const RowWrite& write);

  // ---- status
  void save_status(bool now);
  void restore_busy_handler();

  sqlite3* db = nullptr;
  Notice notice;
  WallClock& wall;
  HybridClock clock;
  Open open = Open::none;
  bool syncs_itself = false;  // commits are shown before they are on disk
  bool unsynced = false;      // there is such a commit

  std::vector<Layout> layouts;
  std::set<std::string> replicated;        // names in lower case, for the authorizer
  std::set<std::string> trigger_deletes;   // of them: those from which a trigger deletes, as the authorizer saw it
  std::map<std::string, TableId> guarded;  // of them: those with a guard (guards.cpp)
  TableId deleting = 0;                    // the table from which we delete right now
  bool deleting_all = false;
  std::int64_t schema_seen = -1;      // of `layouts`
  std::int64_t schema_repaired = -1;  // triggers were in line then
  std::vector<Table> told;            // what tables() said last
  std::unordered_map<std::string, Statement> statements;
  std::uint64_t generation = 0;
  std::pair<std::int64_t, std::int64_t> generation_seen{-1, -1};
  std::optional<Fraction> fraction_seen;

  // Folded entries up to here were given to the core; `given_now` becomes `given` when the transaction that gave them
  // ends well.
  Hlc clock_at_opening = 0;
  std::int64_t given = 0, given_now = 0, last_folded = 0, last_sequence = 0;
  struct Note {
    TableId table;
    LogOp op;
    Key key;
    ColumnSet columns;
  };
  std::vector<Note> waiting_notes;             // note_local in a read transaction
  std::vector<HistoryRecord> waiting_history;  // append_history in a read transaction
  std::set<std::string> poisoned;              // rows at which a trigger rolled our whole transaction back

  mutable std::mutex status_mutex;
  NodeStatus status;
  std::string listening, inside;
  std::string status_saved;
  std::chrono::steady_clock::time_point status_saved_at{};
  std::int64_t prune_to = 0;
};

}  // namespace rowmesh::sqlite
