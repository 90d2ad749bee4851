#include "shared/testing/memory_store.hpp"

#include <algorithm>
#include <utility>

#include "shared/sync/node_state.hpp"

namespace rowmesh::testing {

MemoryStore::MemoryStore(Identity identity, WallClock& wall, Flavour flavour)
    : identity_(std::move(identity)), flavour_(flavour), wall_(wall), clock_(wall, 0) {}

MemoryStore::~MemoryStore() = default;

// ---- configuration

const Table& MemoryStore::create_table(Table table) {
  table.id = static_cast<TableId>(tables_.size()) + 1;
  if (table.local_name.empty()) table.local_name = table.wire_name;
  generation_++;
  return (tables_[table.id] = Stored{table, {}, {}}).table;
}

void MemoryStore::alter_table(const std::string& table, const std::function<void(Table&)>& change) {
  Stored& altered = stored(table);
  change(altered.table);
  for (auto& [key, row] : altered.rows) {
    Row values(row.values.view().begin(), row.values.view().end());
    values.resize(altered.table.columns.size());
    row.values = OwnedRow(values);
  }
  generation_++;
}

void MemoryStore::add_check(const std::string& table, std::string name, Check holds) {
  stored(table).checks.emplace_back(std::move(name), std::move(holds));
  generation_++;
}

void MemoryStore::remove_checks(const std::string& table) {
  stored(table).checks.clear();
  generation_++;
}

std::int64_t MemoryStore::add_server(ServerConfig server) {
  server.id = ++last_server_;
  for (auto record = history_.rbegin(); record != history_.rend() && server.start_state.empty(); ++record)
    server.start_state = record->state;
  servers_.push_back(std::move(server));
  generation_++;
  return last_server_;
}

void MemoryStore::change_server(std::int64_t id, const std::function<void(ServerConfig&)>& change) {
  for (ServerConfig& server : servers_)
    if (server.id == id) change(server);
  generation_++;
}

void MemoryStore::forget_old_secret(std::int64_t id) {
  need_transaction(true, "forget_old_secret");
  for (ServerConfig& server : servers_)
    if (server.id == id) server.old_secret.clear();
}

void MemoryStore::remove_server(std::int64_t id) {
  std::erase_if(servers_, [id](const ServerConfig& server) { return server.id == id; });
  generation_++;
}

void MemoryStore::set(const std::string& name, const std::string& value) {
  settings_[name] = value;
  generation_++;
}

std::string MemoryStore::setting(const std::string& name) {
  auto found = settings_.find(name);
  return found == settings_.end() ? "" : found->second;
}

std::int64_t MemoryStore::request(std::string kind, std::string argument) {
  requests_.push_back({++last_request_, std::move(kind), std::move(argument)});
  return last_request_;
}

void MemoryStore::finish_request(std::int64_t id) {
  need_transaction(true, "finish_request");
  auto found =
      std::find_if(requests_.begin(), requests_.end(), [id](const Request& request) { return request.id == id; });
  if (found == requests_.end()) return;
  undo_.push_back([this, request = *found] { requests_.push_back(request); });
  requests_.erase(found);
}

std::vector<Table> MemoryStore::tables() {
  give_versions();  // SQLite brings the triggers in line with the schema, and reads what the old ones noted before
  std::vector<Table> tables;
  for (auto& [id, stored] : tables_) tables.push_back(stored.table);
  return tables;
}

MemoryStore::Stored& MemoryStore::stored(TableId id) {
  auto found = tables_.find(id);
  if (found == tables_.end()) throw Error(ErrorKind::bug, "no_table", "no table has the id " + std::to_string(id));
  return found->second;
}

const MemoryStore::Stored& MemoryStore::stored(const std::string& name) const {
  for (auto& [id, stored] : tables_)
    if (stored.table.wire_name == name) return stored;
  throw Error(ErrorKind::bug, "no_table", "no table is called " + name);
}

MemoryStore::Stored& MemoryStore::stored(const std::string& name) {
  return const_cast<Stored&>(std::as_const(*this).stored(name));
}

const Table& MemoryStore::table(const std::string& name) const { return stored(name).table; }
const std::map<Key, MemoryStore::StoredRow>& MemoryStore::rows(const std::string& table) const {
  return stored(table).rows;
}

// ---- transactions of the core

std::function<void()> MemoryStore::backup() {
  return [this, identity = identity_, settings = settings_, servers = servers_, requests = requests_, tables = tables_,
          log = log_, given = given_, forgotten = forgotten_, prepared = prepared_, history = history_, side = side_,
          conflicts = conflicts_, clock = clock_stored_] {
    identity_ = identity;
    settings_ = settings;
    servers_ = servers;
    requests_ = requests;
    tables_ = tables;
    log_ = log;
    given_ = given;
    forgotten_ = forgotten;
    prepared_ = prepared;
    history_ = history;
    side_ = side;
    conflicts_ = conflicts;
    clock_stored_ = clock;
    generation_++;
    crash();
  };
}

void MemoryStore::become_copy_of(const MemoryStore& other, bool elsewhere) {
  identity_ = other.identity_;
  elsewhere_ = elsewhere;
  flavour_ = other.flavour_;
  settings_ = other.settings_;
  servers_ = other.servers_;
  last_server_ = other.last_server_;
  tables_ = other.tables_;
  last_row_ = other.last_row_;
  log_ = other.log_;
  last_transaction_ = other.last_transaction_;
  given_ = other.given_;
  forgotten_ = other.forgotten_;
  history_ = other.history_;
  last_history_ = other.last_history_;
  side_ = other.side_;
  last_side_ = other.last_side_;
  conflicts_ = other.conflicts_;
  clock_stored_ = other.clock_stored_;
  generation_++;
  crash();
}

void MemoryStore::reach(Point point) {
  if (on_point) on_point(point);
}

void MemoryStore::need_transaction(bool write, const char* call) const {
  if (open_ == Open::none || (write && open_ != Open::write))
    throw Error(ErrorKind::bug, "no_transaction",
                std::string(call) + " outside of a " + (write ? "write " : "") + "transaction");
}

void MemoryStore::run_back(Undo& undo) noexcept {
  for (auto step = undo.rbegin(); step != undo.rend(); ++step) (*step)();
  undo.clear();
}

void MemoryStore::begin(TransactionKind kind, std::span<const Table* const> locked) {
  if (open_ != Open::none) throw Error(ErrorKind::bug, "nested", "begin inside of a transaction");
  reach(Point::at_begin);
  if (local_) throw Error(ErrorKind::transient, "55P03", "another transaction is writing");
  for (const Table* table : locked)
    for (auto& [id, prepared] : prepared_)
      if (prepared.truncated.count(table->id))
        throw Error(ErrorKind::transient, "55P03", "a prepared transaction truncates " + table->local_name);
  open_ = kind == TransactionKind::read ? Open::read : Open::write;
}

void MemoryStore::commit() {
  need_transaction(false, "commit");
  reach(Point::before_commit);
  if (open_ == Open::write) {
    for (HistoryRecord& record : history_waiting_) history_.push_back(std::move(record));
    history_waiting_.clear();
    if (!noted_.empty()) {
      for (Entry& entry : noted_) {
        auto& rows = stored(entry.table).rows;
        if (auto row = rows.find(entry.key); row != rows.end()) row->second.written = last_transaction_ + 1;
      }
      take_versions(noted_);
      enter_log(std::move(noted_), ++last_transaction_);
    }
  }
  undo_.clear();
  noted_.clear();
  locked_rows_ = false;
  open_ = Open::none;
  reach(Point::after_commit);
}

void MemoryStore::rollback() noexcept {
  if (open_ == Open::none) return;
  run_back(undo_);
  noted_.clear();
  locked_rows_ = false;
  open_ = Open::none;
}

std::string MemoryStore::stored_state() const {
  for (auto record = history_.rbegin(); record != history_.rend(); ++record)
    if (!record->state.empty()) return record->state;
  return "";
}

void MemoryStore::crash() {
  rollback();
  abort_local();
  history_waiting_.clear();
  prune_to_ = 0;
  clock_.restart(clock_on_disk());
}

// As PostgreSQL does at its start: whatever else the clock had given is lost. What the history has read from the log is
// below what it promises, unless it was given anew since: the clock had been wrong.
Hlc MemoryStore::clock_on_disk() const {
  Hlc last = clock_stored_;
  std::uint64_t read = forgotten_;
  for (const HistoryRecord& record : history_)
    if (record.kind == HistoryKind::cut && !record.marker.empty())
      read = std::max<std::uint64_t>(read, std::stoull(record.marker));
  for (const Entry& entry : log_)
    if (entry.transaction > read) last = std::max(last, entry.hlc);
  auto newest = std::find_if(history_.rbegin(), history_.rend(), [](auto& record) { return !record.state.empty(); });
  try {
    if (newest != history_.rend()) last = std::max(last, NodeState::decode(newest->state).hlc);
  } catch (const Error&) {}  // the contract suite keeps other texts there
  return last;
}

// ---- the log

// PostgreSQL's trigger takes it. SQLite's is plain SQL: it notes the time.
Hlc MemoryStore::take_versions(std::vector<Entry>& entries) {
  Hlc version = flavour_ == Flavour::single_writer ? 0 : clock_.tick();
  for (Entry& entry : entries) {
    entry.hlc = version;
    entry.written_ms = wall_.now_ms();
  }
  return version;
}

// As sqlite_ext/fold.cpp: what was written within a moment counts as one.
void MemoryStore::give_versions() {
  constexpr std::uint64_t close_ms = 10, group_ms = 1000;
  std::uint64_t first_ms = 0, last_ms = 0;
  Hlc version = 0;
  for (Entry& entry : log_) {
    if (entry.hlc != 0) continue;
    std::uint64_t ms = std::min(entry.written_ms, wall_.now_ms()), gap = ms > last_ms ? ms - last_ms : last_ms - ms;
    if (version == 0 || gap > close_ms || ms >= first_ms + group_ms) {
      first_ms = ms;
      version = std::max(ms_to_hlc(ms), clock_.now() + 1);
      clock_.observe(version);
    }
    last_ms = ms;
    entry.hlc = clock_stored_ = version;
  }
}

void MemoryStore::give(const Entry& entry, const LogVisitor& visit) const {
  visit({entry.table, entry.op, entry.key, entry.columns, entry.hlc});
}

void MemoryStore::enter_log(std::vector<Entry> entries, std::uint64_t transaction) {
  for (Entry& entry : entries) {
    entry.transaction = transaction;
    log_.push_back(std::move(entry));
  }
}

bool MemoryStore::has_local(Hlc version) {
  return std::any_of(log_.begin(), log_.end(), [&](const Entry& entry) { return entry.hlc == version; });
}

void MemoryStore::set_identity(const Identity& identity) {
  need_transaction(true, "set_identity");
  undo_.push_back([this, before = identity_, elsewhere = elsewhere_] {
    identity_ = before;
    elsewhere_ = elsewhere;
  });
  identity_ = identity;
  elsewhere_ = false;
  generation_++;
}

void MemoryStore::restart_clock(Hlc last) {
  undo_.push_back([this, before = clock_stored_] { clock_stored_ = before; });
  clock_.restart(last);
  if (flavour_ == Flavour::single_writer) clock_stored_ = last;
}

LogRead MemoryStore::read_log(const LogVisitor& visit) {
  need_transaction(false, "read_log");
  reach(Point::at_read_log);
  LogRead read;
  give_versions();
  for (const Entry& entry : log_) {
    if (entry.transaction <= given_) continue;
    read.any = true;
    give(entry, visit);
  }
  given_ = last_transaction_;
  read.watermark = clock_.tick();
  for (auto& [id, prepared] : prepared_)
    if (!prepared.entries.empty()) read.watermark = std::min(read.watermark, prepared.entries.front().hlc - 1);
  read.marker = std::to_string(given_);
  return read;
}

bool MemoryStore::log_must_be_read() {
  need_transaction(true, "log_must_be_read");
  return std::any_of(log_.begin(), log_.end(), [this](const Entry& entry) {
    return entry.transaction > given_ && (flavour_ == Flavour::single_writer || entry.op == LogOp::truncate);
  });
}

void MemoryStore::unread_log(const LogVisitor& visit) {
  need_transaction(true, "unread_log");
  for (const Entry& entry : log_)
    if (entry.transaction > given_) give(entry, visit);
}

void MemoryStore::note_local(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) {
  need_transaction(true, "note_local");
  noted_.push_back({0, table.id, op, Key(key), columns, 0});
}

// ---- history, side rows, conflicts

std::int64_t MemoryStore::append_history(std::span<const HistoryRecord> records) {
  need_transaction(false, "append_history");
  if (open_ == Open::read) {
    for (const HistoryRecord& record : records) {
      history_waiting_.push_back(record);
      history_waiting_.back().sequence = ++last_history_;
    }
    return last_history_;
  }
  std::vector<HistoryRecord> waiting = std::move(history_waiting_);
  history_waiting_.clear();
  undo_.push_back([this, size = history_.size(), waiting] {
    history_.resize(size);
    history_waiting_ = waiting;
  });
  for (HistoryRecord& record : waiting) history_.push_back(std::move(record));
  for (const HistoryRecord& record : records) {
    history_.push_back(record);
    history_.back().sequence = ++last_history_;
  }
  return last_history_;
}

void MemoryStore::load_history(const std::function<void(const HistoryRecord&)>& record, const LogVisitor& entry) {
  history_waiting_.clear();
  given_ = forgotten_;
  auto next = log_.begin();
  for (const HistoryRecord& stored : history_) {
    record(stored);
    if (stored.kind != HistoryKind::cut || stored.marker.empty()) continue;
    given_ = std::max<std::uint64_t>(given_, std::stoull(stored.marker));
    for (; next != log_.end() && next->transaction <= given_; ++next) give(*next, entry);
  }
}

void MemoryStore::prune_history(std::int64_t sequence) {
  prune_to_ = std::max(prune_to_, sequence);
  if (wall_.now_ms() - pruned_ms_ < prune_interval_ms) return;
  pruned_ms_ = wall_.now_ms();
  prune_now();
}

void MemoryStore::prune_now() {
  std::int64_t sequence = prune_to_;
  for (const HistoryRecord& record : history_)
    if (record.sequence <= sequence && record.kind == HistoryKind::cut && !record.marker.empty())
      forgotten_ = std::max<std::uint64_t>(forgotten_, std::stoull(record.marker));
  std::int64_t newest_state = 0;  // what a restart begins with, settled or not
  for (const HistoryRecord& record : history_)
    if (!record.state.empty()) newest_state = record.sequence;
  std::erase_if(history_, [&](const HistoryRecord& record) {
    return record.sequence <= sequence && record.sequence != newest_state;
  });
  while (!log_.empty() && log_.front().transaction <= forgotten_) log_.pop_front();
}

std::int64_t MemoryStore::put_side(const SideRow& row) {
  need_transaction(true, "put_side");
  auto at = std::make_pair(row.table, row.key);
  auto found = side_.find(at);
  std::optional<SideRow> old;
  if (found != side_.end()) old = found->second;
  undo_.push_back([this, at, old] {
    if (old)
      side_[at] = *old;
    else
      side_.erase(at);
  });
  SideRow& here = side_[at] = row;
  here.id = old ? old->id : ++last_side_;
  return here.id;
}

void MemoryStore::remove_side(TableId table, KeyView key) {
  need_transaction(true, "remove_side");
  auto found = side_.find({table, Key(key)});
  if (found == side_.end()) return;
  undo_.push_back([this, old = *found] { side_.insert(old); });
  side_.erase(found);
}

std::vector<SideRow> MemoryStore::load_side() {
  std::vector<SideRow> rows;
  for (auto& [key, row] : side_) rows.push_back(row);
  return rows;
}

void MemoryStore::add_conflict(const ConflictRow& conflict) {
  need_transaction(true, "add_conflict");
  undo_.push_back([this, size = conflicts_.size()] { conflicts_.resize(size); });
  conflicts_.push_back(conflict);
}

std::string MemoryStore::conflict_image(std::int64_t id) {
  auto at = static_cast<std::size_t>(id - 1);
  return at < conflicts_.size() ? conflicts_[at].image : "";
}

void MemoryStore::note_restored(std::int64_t id, const std::string& text) {
  need_transaction(true, "note_restored");
  auto at = static_cast<std::size_t>(id - 1);
  if (at >= conflicts_.size()) return;
  undo_.push_back([this, at, before = conflicts_[at].restored] { conflicts_[at].restored = before; });
  conflicts_[at].restored = text;
}

}  // namespace rowmesh::testing
