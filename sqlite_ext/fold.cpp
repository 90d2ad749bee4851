// The log: from what the triggers wrote to entries with versions.
#include <algorithm>
#include <cmath>
#include <set>

#include "shared/codec/packed.hpp"
#include "shared/model/limits.hpp"
#include "sqlite_ext/store_impl.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr std::int64_t parts = 64;  // of a table's number in the log
constexpr unsigned bits_a_part = 60;
constexpr std::uint64_t close_ms = 10;  // statements of one transaction seldom lie further apart
constexpr std::uint64_t group_ms = 1000;
constexpr std::size_t more_rows = 1000;
constexpr std::size_t slice_rows = 10000;  // about 20 ms: the application's writers wait no longer than that
constexpr int rounds = 3;

std::uint64_t julian_ms(double day, std::uint64_t now_ms) {
  double ms = std::round((day - 2440587.5) * 86400000.0);
  // Nothing was written in the future: whoever wrote this had a wrong clock.
  if (!(ms > 0) || ms > static_cast<double>(now_ms)) return now_ms;
  return static_cast<std::uint64_t>(ms);
}

void place(Group& group, std::uint64_t ms, HybridClock& clock) {
  std::uint64_t gap = ms > group.last_ms ? ms - group.last_ms : group.last_ms - ms;
  if (group.open && gap <= close_ms && ms < group.first_ms + group_ms) {
    group.last_ms = ms;
    return;
  }
  group = {true, ms, ms, std::max(ms_to_hlc(ms), clock.now() + 1)};
  clock.observe(group.hlc);
}

// number of words, words: the columns of an update by their numbers in rowmesh_column; no words: all.
struct Folded {
  TableId table = 0;
  LogOp op = LogOp::insert;
  std::string_view key;
  Hlc hlc = 0;
  std::vector<std::uint64_t> numbers;
};

class FoldWriter {
 public:
  void add(const Folded& entry) {
    bytes_.number(entry.hlc - last_);
    last_ = entry.hlc;
    bytes_.number(entry.table);
    bytes_.number(static_cast<std::uint64_t>(entry.op));
    bytes_.text(entry.key);
    if (entry.op != LogOp::update) return;
    bytes_.number(entry.numbers.size());
    for (std::uint64_t word : entry.numbers) bytes_.number(word);
  }
  bool full() const { return bytes_.size() >= limits::history_chunk_bytes - 4096; }
  bool empty() const { return bytes_.size() == 0; }
  std::string take() {
    last_ = 0;
    return bytes_.take();
  }

 private:
  PackedWriter bytes_;
  Hlc last_ = 0;
};

class FoldReader {
 public:
  explicit FoldReader(std::string_view bytes) : bytes_(bytes) {}
  bool next(Folded& entry) {
    if (bytes_.done()) return false;
    entry.hlc = last_ += bytes_.number();
    entry.table = static_cast<TableId>(bytes_.number());
    entry.op = static_cast<LogOp>(bytes_.number());
    entry.key = bytes_.text();
    entry.numbers.clear();
    if (entry.op != LogOp::update) return true;
    for (std::uint64_t words = bytes_.number(); words > 0; words--) entry.numbers.push_back(bytes_.number());
    return true;
  }

 private:
  PackedReader bytes_;
  Hlc last_ = 0;
};

void add_bits(std::vector<std::uint64_t>& words, unsigned number) {
  if (words.size() <= number / 64) words.resize(number / 64 + 1);
  words[number / 64] |= 1ULL << (number % 64);
}

// A column that is gone had perhaps only been renamed: then all of the row counts as changed, rather than nothing.
ColumnSet columns_of(const Layout& layout, const Folded& entry, bool as_told) {
  if (entry.op != LogOp::update || entry.numbers.empty() || !as_told) return ColumnSet::all();
  ColumnSet columns;
  for (std::size_t word = 0; word < entry.numbers.size(); word++)
    for (unsigned bit = 0; bit < 64; bit++) {
      if (!(entry.numbers[word] >> bit & 1)) continue;
      int column = layout.column_of_number(static_cast<int>(word * 64 + bit));
      if (column < 0 || layout.dropped(static_cast<std::size_t>(column))) return ColumnSet::all();
      columns.add(static_cast<ColumnIndex>(column));
    }
  return columns;
}

// False: there is nothing to say.
bool read_mask(const Layout& layout, std::int64_t part, std::int64_t mask, Folded& entry) {
  entry.numbers.clear();
  if (mask == -1) entry.op = LogOp::insert;
  if (mask <= -2) entry.op = LogOp::remove;
  if (mask == -9) {  // no column: the core wants the key shipped as it is
    entry.op = LogOp::update;
    entry.numbers = {0};
  }
  if (mask < 0) return true;
  entry.op = LogOp::update;
  // The trigger did not know the newest columns: what they did is anybody's guess.
  if (layout.has_new_columns()) return true;
  for (unsigned bit = 0; bit < bits_a_part; bit++)
    if (mask >> bit & 1) add_bits(entry.numbers, static_cast<unsigned>(part) * bits_a_part + bit);
  return mask != 0;
}

}  // namespace

bool SqliteStore::Impl::log_has_rows() {
  Statement& query = cached("SELECT 1 FROM main.rowmesh_log LIMIT 1");
  Resetter reset(query);
  return query.step();
}

std::size_t SqliteStore::Impl::fold(Group& group, std::size_t limit) {
  std::size_t taken = 0;
  std::int64_t last = 0;
  FoldWriter out;
  auto flush = [&] {
    if (!out.empty()) last_folded = put_history(StoredKind::folded, {}, {}, out.take());
  };
  {
    std::uint64_t now_ms = wall.now_ms();
    Statement& query = cached("SELECT * FROM main.rowmesh_log ORDER BY seq LIMIT ?1");
    Resetter reset(query);
    // A little more than asked for, so that what a REPLACE noted before and after is read together.
    query.bind(1, static_cast<std::int64_t>(limit + more_rows));
    Scratch scratch;
    Row values;
    Folded entry;
    // Keys of which a statement was about to replace the row. IGNORE and upserts leave some behind: then nothing
    // happened.
    std::set<std::pair<TableId, Key>> replaced;
    while ((taken < limit || !replaced.empty()) && query.step()) {
      taken++;
      last = query.integer(0);
      Layout* layout = find_layout(static_cast<TableId>(query.integer(1) / parts));
      if (!layout || sqlite3_column_count(query.handle()) < 4 + static_cast<int>(layout->table.key.size())) continue;
      std::int64_t mask = query.integer(2);
      if (!read_mask(*layout, query.integer(1) % parts, mask, entry)) continue;
      values.clear();
      scratch.clear();
      bool null = false;
      for (std::size_t i = 0; i < layout->table.key.size(); i++) {
        const ColumnInfo& column = layout->key_column(i);
        values.push_back(
            canonical_value(query.value(4 + static_cast<int>(i)), column.affinity, column.collation, scratch));
        null = null || values.back().is_null();
      }
      if (null) continue;
      Key key = encode_key(values);
      if (mask == -3 && exists(*layout, key)) continue;
      if (mask == -4) {
        replaced.insert({layout->table.id, std::move(key)});
        continue;
      }
      place(group, julian_ms(query.real(3), now_ms), clock);
      entry.table = layout->table.id;
      entry.key = key;
      entry.hlc = group.hlc;
      if (!replaced.empty() && replaced.erase({entry.table, key}) != 0 && entry.op == LogOp::insert) {
        entry.op = LogOp::remove;
        out.add(entry);
        entry.op = LogOp::insert;
      }
      out.add(entry);
      if (out.full()) flush();
    }
  }
  flush();
  if (taken == 0) return 0;
  if (taken < limit)
    cached("DELETE FROM main.rowmesh_log").run();
  else
    cached("DELETE FROM main.rowmesh_log WHERE seq<=?1").bind(1, last).run();
  set_state_value(db, "clock", std::to_string(clock.now()));
  return taken;
}

void SqliteStore::Impl::repair() {
  if (current_schema() == schema_repaired) return;
  std::vector<std::string> sentences;
  repair_capture(db, sentences);
  statements.clear();
  schema_seen = -1;
  refresh();
  schema_repaired = schema_seen;
  if (notice)
    for (const std::string& sentence : sentences) notice('w', sentence);
}

bool SqliteStore::Impl::deliver(std::int64_t after, std::int64_t upto, const LogVisitor& visit) {
  bool any = false;
  Statement& query =
      cached("SELECT data FROM main.rowmesh_history WHERE kind=2 AND sequence>?1 AND sequence<=?2 ORDER BY sequence");
  Resetter reset(query);
  query.bind(1, after).bind(2, upto);
  while (query.step()) {
    FoldReader reader(query.bytes(0));
    Folded folded;
    while (reader.next(folded)) {
      Layout* layout = find_layout(folded.table);
      if (!layout) continue;
      auto known = std::find_if(told.begin(), told.end(), [&](const Table& table) { return table.id == folded.table; });
      bool as_told = known == told.end() || known->columns.size() == layout->table.columns.size();
      LogEntry entry;
      entry.table = folded.table;
      entry.op = folded.op;
      entry.key = folded.key;
      entry.columns = columns_of(*layout, folded, as_told);
      entry.hlc = folded.hlc;
      visit(entry);
      any = true;
    }
  }
  return any;
}

LogRead SqliteStore::read_log(const LogVisitor& visit) {
  Impl& impl = *impl_;
  impl.need(Impl::Open::read, "read_log");
  Group group;
  for (int round = 0; impl.log_has_rows(); round++) {
    execute(impl.db, "COMMIT");
    if (round >= rounds) {
      // Writers that never pause: keep their lock for the length of this read.
      impl.begin_immediate();
      while (impl.fold(group, slice_rows) > 0) {}
      break;
    }
    std::size_t taken = slice_rows;
    while (taken >= slice_rows) impl.write_alone([&] { taken = impl.fold(group, slice_rows); });
    execute(impl.db, "BEGIN");
    impl.refresh();
  }
  LogRead read;
  read.any = impl.deliver(impl.given, impl.last_folded, visit);
  impl.given_now = std::max(impl.given, impl.last_folded);
  read.marker = std::to_string(impl.given_now);
  // All that is written from now on gets a version above it when it is folded.
  read.watermark = impl.clock.tick();
  return read;
}

bool SqliteStore::log_must_be_read() {
  impl_->need(Impl::Open::write, "log_must_be_read");
  return impl_->log_has_rows() || impl_->last_folded > impl_->given;
}

void SqliteStore::unread_log(const LogVisitor&) { impl_->need(Impl::Open::write, "unread_log"); }

bool SqliteStore::has_local(Hlc version) {
  Statement& query = impl_->cached("SELECT data FROM main.rowmesh_history WHERE kind=2 ORDER BY sequence DESC");
  Resetter reset(query);
  while (query.step()) {
    FoldReader reader(query.bytes(0));
    for (Folded folded; reader.next(folded);)
      if (folded.hlc == version) return true;
  }
  return false;
}

void SqliteStore::Impl::insert_log(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) {
  const Layout* layout = find_layout(table.id);
  if (!layout || op == LogOp::truncate) return;
  Row values = decode_key(key);
  std::string names, marks;
  for (std::size_t i = 1; i <= values.size(); i++) {
    names += ",k" + std::to_string(i);
    marks += ",?" + std::to_string(i + 2);
  }
  Statement& insert =
      cached("INSERT INTO main.rowmesh_log(tbl,mask,ts" + names + ") VALUES(?1,?2,julianday('now')" + marks + ")");
  auto put = [&](std::int64_t part, std::int64_t mask) {
    insert.bind(1, static_cast<std::int64_t>(table.id) * parts + part).bind(2, mask);
    for (std::size_t i = 0; i < values.size(); i++) insert.bind_value(static_cast<int>(i) + 3, values[i]);
    insert.run();
  };
  if (op != LogOp::update) {
    put(0, op == LogOp::insert ? -1 : -2);
    return;
  }
  if (columns.empty()) {
    put(0, -9);
    return;
  }
  std::vector<std::int64_t> masks;
  for (std::size_t i = 0; i < layout->table.columns.size(); i++) {
    int number = layout->number[i];
    if (number < 0 || layout->dropped(i) || !columns.has(static_cast<ColumnIndex>(i))) continue;
    std::size_t part = static_cast<unsigned>(number) / bits_a_part;
    if (masks.size() <= part) masks.resize(part + 1);
    masks[part] |= std::int64_t{1} << (static_cast<unsigned>(number) % bits_a_part);
  }
  for (std::size_t part = 0; part < masks.size(); part++)
    if (masks[part] != 0) put(static_cast<std::int64_t>(part), masks[part]);
}

void SqliteStore::note_local(const Table& table, LogOp op, KeyView key, const ColumnSet& columns) {
  impl_->need(Impl::Open::read, "note_local");
  if (impl_->open == Impl::Open::read)
    impl_->waiting_notes.push_back({table.id, op, Key(key), columns});
  else
    impl_->insert_log(table, op, key, columns);
}

}  // namespace rowmesh::sqlite
