// The application's side of the memory store: transactions that capture what they change.
#include <algorithm>

#include "shared/testing/memory_store.hpp"

namespace rowmesh::testing {
namespace {

Error waits() { return Error(ErrorKind::transient, "55P03", "another transaction holds this row"); }

}  // namespace

void MemoryStore::begin_local() {
  if (local_) throw Error(ErrorKind::bug, "nested", "begin_local inside of a local transaction");
  if (open_ == Open::write && (flavour_ == Flavour::single_writer || locked_rows_ || !undo_.empty())) throw waits();
  if (open_ == Open::read)
    throw Error(ErrorKind::bug, "snapshot", "the memory store has no snapshots: no local writes now");
  local_ = std::make_unique<Local>();
}

MemoryStore::Local& MemoryStore::local() {
  if (!local_) throw Error(ErrorKind::bug, "no_transaction", "a local change outside of a local transaction");
  return *local_;
}

void MemoryStore::note(Local& local, TableId table, LogOp op, KeyView key, const ColumnSet& columns) {
  local.entries.push_back({0, table, op, Key(key), columns, 0});
}

void MemoryStore::insert(const std::string& name, RowView row) {
  Stored& in = stored(name);
  Key key = key_of(in.table, row);
  wait_for_prepared(in.table.id, key);
  wait_for_unique(in, key, row);
  if (in.rows.count(key)) throw Error(ErrorKind::permanent, "23505", "the key " + key_to_text(key) + " is taken");
  if (auto hindrance = why_not(in, key, row)) throw Error(ErrorKind::permanent, hindrance->code, hindrance->reason);
  put(in, key, OwnedRow(row), last_transaction_ + 1, local().undo);
  note(local(), in.table.id, LogOp::insert, key, ColumnSet::all());
}

void MemoryStore::update(const std::string& name, RowView key_values, RowView row) {
  Stored& in = stored(name);
  Key key = encode_key(key_values);
  auto here = in.rows.find(key);
  if (here == in.rows.end()) throw Error(ErrorKind::bug, "no_row", "there is no row " + key_to_text(key));
  if (key_of(in.table, row) != key) {
    OwnedRow moved(row);
    remove(name, key_values);
    return insert(name, moved.view());
  }
  wait_for_prepared(in.table.id, key);
  wait_for_unique(in, key, row);
  if (auto hindrance = why_not(in, key, row)) throw Error(ErrorKind::permanent, hindrance->code, hindrance->reason);
  ColumnSet changed;
  for (ColumnIndex column = 0; column < row.size(); column++)
    if (!same_value(here->second.values[column], row[column])) changed.add(column);
  if (changed.empty()) return;
  put(in, key, OwnedRow(row), last_transaction_ + 1, local().undo);
  note(local(), in.table.id, LogOp::update, key, changed);
}

void MemoryStore::remove(const std::string& name, RowView key_values) {
  Stored& in = stored(name);
  Key key = encode_key(key_values);
  if (!in.rows.count(key)) throw Error(ErrorKind::bug, "no_row", "there is no row " + key_to_text(key));
  wait_for_prepared(in.table.id, key);
  erase(in, key, local().undo);
  note(local(), in.table.id, LogOp::remove, key, ColumnSet::all());
}

void MemoryStore::truncate(const std::string& name) {
  Stored& in = stored(name);
  if (open_ == Open::write) throw waits();
  for (auto& [id, prepared] : prepared_)
    for (auto& [at, row] : prepared.after)
      if (at.first == in.table.id) throw waits();
  local().undo.push_back([&in, rows = in.rows] { in.rows = rows; });
  in.rows.clear();
  // What the transaction did to the table before is undone by this: rows born in it must not outlive a truncate of
  // their version.
  std::erase_if(local().entries, [&](const Entry& entry) { return entry.table == in.table.id; });
  note(local(), in.table.id, LogOp::truncate, {}, ColumnSet::all());
}

Hlc MemoryStore::commit_local() {
  std::vector<Entry> entries = std::move(local().entries);
  local_.reset();
  if (entries.empty()) return 0;
  Hlc version = take_versions(entries);
  enter_log(std::move(entries), ++last_transaction_);
  return version;
}

void MemoryStore::abort_local() noexcept {
  if (!local_) return;
  run_back(local_->undo);
  local_.reset();
}

std::uint64_t MemoryStore::prepare_local() {
  Prepared prepared;
  prepared.entries = std::move(local().entries);
  if (!prepared.entries.empty()) {
    Hlc version = clock_.tick();
    for (Entry& entry : prepared.entries) {
      entry.hlc = version;
      if (entry.op == LogOp::truncate) {
        prepared.truncated.insert(entry.table);
        continue;
      }
      auto& rows = stored(entry.table).rows;
      auto row = rows.find(entry.key);
      auto& after = prepared.after[{entry.table, entry.key}];
      if (row == rows.end())
        after.reset();
      else
        after = row->second.values;
    }
  }
  abort_local();
  prepared_[++last_prepared_] = std::move(prepared);
  return last_prepared_;
}

void MemoryStore::commit_prepared(std::uint64_t id) {
  if (local_ || open_ != Open::none) throw Error(ErrorKind::bug, "nested", "commit_prepared inside of a transaction");
  auto found = prepared_.find(id);
  if (found == prepared_.end()) throw Error(ErrorKind::bug, "no_transaction", "no such prepared transaction");
  Prepared prepared = std::move(found->second);
  prepared_.erase(found);
  if (prepared.entries.empty()) return;
  std::uint64_t transaction = ++last_transaction_;
  Undo never;
  for (TableId table : prepared.truncated) stored(table).rows.clear();
  for (auto& [at, row] : prepared.after) {
    Stored& in = stored(at.first);
    if (row)
      put(in, at.second, *row, transaction, never);
    else if (in.rows.count(at.second))
      erase(in, at.second, never);
  }
  enter_log(std::move(prepared.entries), transaction);
}

void MemoryStore::abort_prepared(std::uint64_t id) { prepared_.erase(id); }

std::vector<std::uint64_t> MemoryStore::prepared() const {
  std::vector<std::uint64_t> ids;
  for (auto& [id, prepared] : prepared_) ids.push_back(id);
  return ids;
}

void MemoryStore::wait_for_prepared(TableId table, KeyView key) const {
  for (auto& [id, prepared] : prepared_)
    if (prepared.truncated.count(table) || prepared.after.count({table, Key(key)})) throw waits();
}

// A real index makes the second writer of a value wait until the first has decided, also when the first gives the value
// up.
void MemoryStore::wait_for_unique(const Stored& in, KeyView key, RowView row) const {
  auto same = [&](const UniqueIndex& index, RowView other) {
    return std::all_of(index.columns.begin(), index.columns.end(), [&](ColumnIndex column) {
      return !row[column].is_null() && same_value(row[column], other[column]);
    });
  };
  for (auto& [id, prepared] : prepared_)
    for (auto& [at, after] : prepared.after) {
      if (at.first != in.table.id || at.second == key) continue;
      auto now = in.rows.find(at.second);
      for (const UniqueIndex& index : in.table.uniques)
        if ((after && same(index, after->view())) || (now != in.rows.end() && same(index, now->second.values.view())))
          throw waits();
    }
}

}  // namespace rowmesh::testing
