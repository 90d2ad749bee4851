#include "sqlite_ext/store.hpp"

#include <algorithm>
#include <cctype>
#include <thread>

#include "shared/sync/node_state.hpp"
#include "sqlite_ext/place.hpp"
#include "sqlite_ext/store_impl.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr std::size_t kept_statements = 500;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& letter : result) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return result;
}

// SQLite's own handler sleeps up to 100 ms at a time and so starves; this one asks again soon, and gives up after about
// a second, since the core has other things to do meanwhile.
int wait_for_lock(void*, int attempt) {
  static constexpr int sleeps_ms[] = {1, 1, 2, 2, 5, 5, 10, 10, 20};
  constexpr int last = static_cast<int>(std::size(sleeps_ms)) - 1;
  if (attempt > 55) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(sleeps_ms[std::min(attempt, last)]));
  return 1;
}

// What local triggers do to replicated tables was done by the origin's triggers too, and comes from there.
int authorize(void* context, int action, const char* table, const char*, const char* schema, const char* trigger) {
  if (!trigger || !table) return SQLITE_OK;
  if (action != SQLITE_INSERT && action != SQLITE_UPDATE && action != SQLITE_DELETE) return SQLITE_OK;
  if (!schema || std::string_view(schema) != "main") return SQLITE_OK;
  auto& impl = *static_cast<SqliteStore::Impl*>(context);
  std::string name = lower(table);
  if (name.starts_with("rowmesh_")) return SQLITE_IGNORE;
  if (!impl.replicated.count(name)) return SQLITE_OK;
  // IGNORE does nothing to a DELETE; guards.cpp does.
  if (action == SQLITE_DELETE) impl.trigger_deletes.insert(name);
  return SQLITE_IGNORE;
}

}  // namespace

SqliteStore::Impl::Impl(const std::string& path, WallClock& wall_clock, Notice lines, const char* vfs)
    : notice(std::move(lines)), wall(wall_clock), clock(wall_clock, 0) {
  int code = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);
  try {
    if (code != SQLITE_OK) throw_error(db, code, "cannot open " + path);
    sqlite3_extended_result_codes(db, 1);
    restore_busy_handler();
    // The last to close would checkpoint, which may take long, and is the application's business.
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    execute(db, "PRAGMA foreign_keys=OFF; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000");
    if (!is_enabled(db))
      throw Error(ErrorKind::config, "not_enabled", path + " has no rowmesh tables: add a table or a server first");
    show_before_sync();
    sqlite3_set_authorizer(db, authorize, this);
    register_guard();
    clock.observe(
        static_cast<Hlc>(query_integer(db, "SELECT CAST(value AS INTEGER) FROM main.rowmesh_state WHERE key='clock'")));
    clock_at_opening = clock.now();
    clock.observe(promised());
    given = given_now = query_integer(
        db, "SELECT CAST(marker AS INTEGER) FROM main.rowmesh_history WHERE kind=0 ORDER BY sequence DESC LIMIT 1");
    last_folded = query_integer(db, "SELECT max(sequence) FROM main.rowmesh_history WHERE kind=2");
  } catch (...) {
    statements.clear();
    sqlite3_close(db);
    throw;
  }
}

// Symptom: after a kill -9 a row was there twice, or a deleted one was back. Mechanism: opening reads the tables, which
// empties the log, before the core has loaded its state; so what had been written last got versions below some that
// this node had given before. Mend: the clock goes on from what was promised before anything is read.
Hlc SqliteStore::Impl::promised() {
  Statement& newest =
      cached("SELECT state FROM main.rowmesh_history WHERE kind<2 AND length(state)>0 ORDER BY sequence DESC LIMIT 1");
  Resetter reset(newest);
  try {
    return newest.step() ? NodeState::decode(std::string(newest.bytes(0))).hlc : 0;
  } catch (const Error&) {
    return 0;  // whoever loads it says what is wrong with it
  }
}

SqliteStore::Impl::~Impl() {
  roll_back();
  statements.clear();
  sqlite3_close(db);
}

// A commit that is FULL is shown only when the disk has it, so that readers wait for the disk with us. In a write-ahead
// log NORMAL shows it at once, and sync() does the rest. (Nobody can take the file out of WAL while we are connected.)
void SqliteStore::Impl::show_before_sync() {
  Statement mode(db, "PRAGMA main.journal_mode");
  if (!mode.step() || mode.text(0) != "wal" || !write_ahead_log()) return;
  execute(db, "PRAGMA synchronous=NORMAL");
  syncs_itself = true;
}

sqlite3_file* SqliteStore::Impl::write_ahead_log() {
  sqlite3_file* log = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) != SQLITE_OK) return nullptr;
  return log && log->pMethods ? log : nullptr;
}

// Brings to disk what we committed, and what the application committed before it, whatever setting it uses: nothing is
// shipped or confirmed that a crash could undo.
void SqliteStore::Impl::sync() {
  if (!unsynced) return;
  if (syncs_itself) {
    sqlite3_file* log = write_ahead_log();
    int code = log ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : SQLITE_IOERR_FSYNC;
    if (code != SQLITE_OK)
      throw Error(ErrorKind::transient, code_name(code), "the write-ahead log could not be brought to disk");
  }
  unsynced = false;
}

void SqliteStore::Impl::restore_busy_handler() { sqlite3_busy_handler(db, wait_for_lock, nullptr); }

// ---- layouts

std::int64_t SqliteStore::Impl::current_schema() {
  Statement& query = cached("PRAGMA main.schema_version");
  Resetter reset(query);
  query.step();
  return query.integer(0);
}

void SqliteStore::Impl::refresh() {
  // Here and not in cached(): between transactions nobody holds one.
  if (statements.size() > kept_statements) statements.clear();
  std::int64_t now = current_schema();
  if (now == schema_seen) return;
  statements.clear();
  drop_guards();
  layouts = read_layouts(db);
  replicated.clear();
  for (const Layout& layout : layouts) replicated.insert(lower(layout.info.name));
  schema_seen = now;
}

Layout* SqliteStore::Impl::find_layout(TableId id) {
  auto at = std::find_if(layouts.begin(), layouts.end(), [id](const Layout& layout) { return layout.table.id == id; });
  return at == layouts.end() ? nullptr : &*at;
}

Layout& SqliteStore::Impl::layout_of(const Table& table) {
  Layout* layout = find_layout(table.id);
  bool same = layout && layout->table.columns.size() == table.columns.size() && layout->table.key == table.key &&
              layout->table.uniques.size() == table.uniques.size();
  for (std::size_t i = 0; same && i < table.columns.size(); i++)
    same = layout->table.columns[i].name == table.columns[i].name;
  if (!same)
    throw Error(ErrorKind::transient, "schema_changed",
                "table " + table.local_name + " has changed since it was described: describe it anew");
  return *layout;
}

Statement& SqliteStore::Impl::cached(const std::string& sql) {
  auto at = statements.find(sql);
  if (at == statements.end()) at = statements.emplace(sql, Statement(db, sql)).first;
  return at->second;
}

Fraction SqliteStore::Impl::fraction() {
  if (!fraction_seen)
    fraction_seen = setting_value(db, "datetime_fraction") == "nonzero" ? Fraction::nonzero : Fraction::always;
  return *fraction_seen;
}

// ---- transactions

void SqliteStore::Impl::need(Open at_least, const char* call) const {
  if (open < at_least) throw Error(ErrorKind::bug, "no_transaction", std::string(call) + " outside of its transaction");
}

void SqliteStore::Impl::begin_immediate() {
  execute(db, "BEGIN IMMEDIATE");
  refresh();
}

void SqliteStore::Impl::write_alone(const std::function<void()>& body) {
  begin_immediate();
  try {
    body();
    execute(db, "COMMIT");
    unsynced = true;
  } catch (...) {
    sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
    schema_seen = -1;
    throw;
  }
}

void SqliteStore::Impl::roll_back() noexcept {
  for (auto& [sql, statement] : statements) sqlite3_reset(statement.handle());
  if (!sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
  open = Open::none;
  given_now = given;
  waiting_notes.clear();
  waiting_history.clear();
  schema_seen = -1;  // what was read in this transaction may never have been
}

void SqliteStore::begin(TransactionKind kind, std::span<const Table* const>) {
  if (impl_->open != Impl::Open::none) throw Error(ErrorKind::bug, "nested", "begin inside of a transaction");
  try {
    if (kind == TransactionKind::read) {
      execute(impl_->db, "BEGIN");
      impl_->refresh();  // reads the file, and so fixes the snapshot
      impl_->open = Impl::Open::read;
    } else {
      impl_->begin_immediate();
      impl_->open = Impl::Open::write;
    }
  } catch (...) {
    impl_->roll_back();
    throw;
  }
}

void SqliteStore::commit() {
  commit_lazily();
  impl_->sync();
}

void SqliteStore::commit_lazily() {
  if (impl_->open == Impl::Open::none) throw Error(ErrorKind::bug, "no_transaction", "commit outside of a transaction");
  bool wrote = sqlite3_txn_state(impl_->db, "main") == SQLITE_TXN_WRITE;
  execute(impl_->db, "COMMIT");
  impl_->unsynced |= wrote;
  impl_->open = Impl::Open::none;
  impl_->given = impl_->given_now;
  if (impl_->waiting_notes.empty() && impl_->waiting_history.empty()) return;
  impl_->write_alone([&] {
    for (auto& note : impl_->waiting_notes)
      if (Layout* layout = impl_->find_layout(note.table))
        impl_->insert_log(layout->table, note.op, note.key, note.columns);
    for (auto& record : impl_->waiting_history)
      impl_->put_history(static_cast<StoredKind>(record.kind), record.marker, record.state, record.data);
  });
  impl_->waiting_notes.clear();
  impl_->waiting_history.clear();
}

void SqliteStore::rollback() noexcept { impl_->roll_back(); }

// ---- configuration

SqliteStore::SqliteStore(const std::string& path, WallClock& wall, Notice notice, const char* vfs)
    : impl_(std::make_unique<Impl>(path, wall, std::move(notice), vfs)) {}
SqliteStore::~SqliteStore() = default;

sqlite3* SqliteStore::connection() { return impl_->db; }

void SqliteStore::maintain() {
  if (impl_->current_schema() == impl_->schema_repaired) return;
  Group group;
  impl_->write_alone([&] {
    while (impl_->fold(group, 10000) > 0) {}
    impl_->repair();
  });
}

std::uint64_t SqliteStore::config_generation() {
  Statement& query = impl_->cached("SELECT CAST(value AS INTEGER) FROM main.rowmesh_state WHERE key='generation'");
  std::pair<std::int64_t, std::int64_t> now{0, impl_->current_schema()};
  Resetter reset(query);
  if (query.step()) now.first = query.integer(0);
  if (now != impl_->generation_seen) {
    impl_->generation_seen = now;
    impl_->generation++;
    impl_->fraction_seen.reset();
  }
  return impl_->generation;
}

Identity SqliteStore::identity() { return read_identity(impl_->db); }

void SqliteStore::set_identity(const Identity& identity) {
  impl_->need(Impl::Open::write, "set_identity");
  write_identity(impl_->db, identity);
}

std::string SqliteStore::place_trouble() { return check_place(impl_->db); }

Hlc SqliteStore::given_before_opening() const { return impl_->clock_at_opening; }

void SqliteStore::restart_clock(Hlc last) {
  impl_->need(Impl::Open::write, "restart_clock");
  impl_->clock.restart(last);
  set_state_value(impl_->db, "clock", std::to_string(last));
}

std::vector<Table> SqliteStore::tables() {
  maintain();
  // Options may have changed without the schema.
  impl_->schema_seen = -1;
  impl_->refresh();
  impl_->told.clear();
  for (const Layout& layout : impl_->layouts) impl_->told.push_back(layout.table);
  return impl_->told;
}

std::vector<ServerConfig> SqliteStore::servers() { return read_servers(impl_->db); }
void SqliteStore::forget_old_secret(std::int64_t server) {
  impl_->need(Impl::Open::write, "forget_old_secret");
  impl_->cached("UPDATE main.rowmesh_server SET old_secret='' WHERE id=?1").bind(1, server).run();
}

std::string SqliteStore::setting(const std::string& name) { return setting_value(impl_->db, name); }

std::vector<Request> SqliteStore::requests() {
  std::vector<Request> requests;
  Statement& query = impl_->cached("SELECT id, kind, argument FROM main.rowmesh_request ORDER BY id");
  Resetter reset(query);
  while (query.step()) requests.push_back({query.integer(0), query.string(1), query.string(2)});
  return requests;
}

void SqliteStore::finish_request(std::int64_t id) {
  impl_->need(Impl::Open::write, "finish_request");
  impl_->cached("DELETE FROM main.rowmesh_request WHERE id=?1").bind(1, id).run();
}

VersionClock& SqliteStore::clock() { return impl_->clock; }

}  // namespace rowmesh::sqlite
