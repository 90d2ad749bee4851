// Rows of the memory store, as the core reads and writes them.
#include <algorithm>

#include "shared/testing/memory_store.hpp"

namespace rowmesh::testing {
namespace {

// What the column can hold. Everything that is not named here takes any value, as SQLite does.
bool fits(ColumnType type, const Value& value) {
  if (value.is_null()) return true;
  switch (type) {
    case ColumnType::integer: return value.kind == ValueKind::integer;
    case ColumnType::real: return value.kind == ValueKind::real || value.kind == ValueKind::integer;
    case ColumnType::boolean: return value.kind == ValueKind::boolean;
    case ColumnType::text: return value.kind == ValueKind::text;
    case ColumnType::bytes: return value.kind == ValueKind::bytes;
    default: return true;
  }
}

bool same_in(const UniqueIndex& index, RowView left, RowView right) {
  return std::all_of(index.columns.begin(), index.columns.end(), [&](ColumnIndex column) {
    return !left[column].is_null() && same_value(left[column], right[column]);
  });
}

WriteResult refused(std::string code, std::string reason) {
  return {WriteResult::refused, 0, std::move(code), std::move(reason)};
}

}  // namespace

Key key_of(const Table& table, RowView row) {
  Row key;
  for (ColumnIndex column : table.key) key.push_back(row[column]);
  return encode_key(key);
}

void MemoryStore::put(Stored& in, const Key& key, OwnedRow values, std::uint64_t written, Undo& undo) {
  auto found = in.rows.find(key);
  if (found == in.rows.end()) {
    undo.push_back([&in, key] { in.rows.erase(key); });
    in.rows[key] = {std::move(values), ++last_row_, written};
    return;
  }
  undo.push_back([&in, key, old = found->second] { in.rows[key] = old; });
  found->second.values = std::move(values);
  found->second.written = written;
}

void MemoryStore::erase(Stored& in, const Key& key, Undo& undo) {
  auto found = in.rows.find(key);
  undo.push_back([&in, key, old = found->second] { in.rows[key] = old; });
  in.rows.erase(found);
}

std::optional<WriteResult> MemoryStore::why_not(Stored& in, KeyView key, RowView row) {
  const Table& table = in.table;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    const Column& column = table.columns[i];
    if (row[i].is_null() && column.not_null) return refused("23502", "column " + column.name + " must have a value");
    if (!fits(column.type, row[i])) return refused("42804", "column " + column.name + " does not take such a value");
  }
  for (auto& [name, holds] : in.checks)
    if (!holds(row)) return refused("23514", "the row breaks the check " + name);
  for (std::size_t i = 0; i < table.uniques.size(); i++)
    for (auto& [other, stored] : in.rows)
      if (other != key && same_in(table.uniques[i], row, stored.values.view()))
        return WriteResult{WriteResult::unique, i, "23505", "another row has the value of " + table.uniques[i].name};
  return std::nullopt;
}

std::optional<Key> MemoryStore::canonical_key(const Table& table, RowView key_values, const std::vector<ColumnType>&,
                                              std::string* reason) {
  for (std::size_t i = 0; i < table.key.size(); i++) {
    const Column& column = table.columns[table.key[i]];
    if (!key_values[i].is_null() && fits(column.type, key_values[i])) continue;
    if (reason) *reason = "column " + column.name + " of " + table.local_name + " cannot hold this key";
    return std::nullopt;
  }
  return encode_key(key_values);
}

void MemoryStore::read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) {
  need_transaction(false, "read_rows");
  auto& rows = stored(table.id).rows;
  for (std::size_t i = 0; i < keys.size(); i++) {
    if (i > 0 && !(keys[i - 1] < keys[i])) throw Error(ErrorKind::bug, "unsorted", "read_rows wants sorted keys");
    auto row = rows.find(Key(keys[i]));
    if (row != rows.end() && !visit(i, keys[i], row->second.values.view())) return;
  }
}

void MemoryStore::scan_rows(const Table& table, KeyView after, const RowVisitor& visit) {
  need_transaction(false, "scan_rows");
  auto& rows = stored(table.id).rows;
  std::size_t index = 0;
  for (auto row = after.empty() ? rows.begin() : rows.upper_bound(Key(after)); row != rows.end(); ++row)
    if (!visit(index++, row->first, row->second.values.view())) return;
}

std::uint64_t MemoryStore::estimate_rows(const Table& table) { return stored(table.id).rows.size(); }

void MemoryStore::find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) {
  need_transaction(true, "find_rows");
  reach(Point::before_find);
  found.assign(keys.size(), {});
  auto& rows = stored(table.id).rows;
  for (std::size_t i = 0; i < keys.size(); i++) {
    if (i > 0 && !(keys[i - 1] < keys[i])) throw Error(ErrorKind::bug, "unsorted", "find_rows wants sorted keys");
    wait_for_prepared(table.id, keys[i]);
    auto row = rows.find(Key(keys[i]));
    if (row != rows.end()) found[i] = {true, row->second.id, row->second.written > given_};
  }
  locked_rows_ = true;
}

void MemoryStore::write_rows(const Table& table, const std::vector<ColumnType>&, std::span<const RowWrite> writes,
                             std::vector<WriteResult>& results) {
  need_transaction(true, "write_rows");
  reach(Point::before_write);
  Stored& in = stored(table.id);
  results.assign(writes.size(), {});
  for (std::size_t i = 0; i < writes.size(); i++) {
    const RowWrite& write = writes[i];
    Key key(write.key);
    wait_for_prepared(table.id, key);
    auto here = in.rows.find(key);
    bool there = here != in.rows.end();
    if (write.kind == WriteKind::insert ? there : !there || here->second.id != write.handle) {
      results[i].status = WriteResult::raced;
      continue;
    }
    if (write.kind == WriteKind::remove) {
      erase(in, key, undo_);
      rows_written_++;
      continue;
    }
    if (write.values.size() != table.columns.size())
      throw Error(ErrorKind::bug, "bad_write", "a row write has not as many values as the table has columns");
    OwnedRow row = there ? here->second.values : OwnedRow(write.values);
    bool changes = !there;
    for (ColumnIndex column = 0; column < write.values.size(); column++) {
      if (there && write.columns && !write.columns->has(column)) continue;
      Value value = write.values[column];
      if (value.kind == ValueKind::omitted) {
        if (there) throw Error(ErrorKind::bug, "bad_write", "an update writes an omitted value");
        value = Value::of_null();  // the default of every column here
      }
      changes = changes || !same_value(row[column], value);
      row.set(column, value);
    }
    if (key_of(table, row.view()) != key)
      throw Error(ErrorKind::bug, "bad_write", "the values of a row write name another key");
    wait_for_unique(in, key, row.view());
    if (auto hindrance = why_not(in, key, row.view())) {
      results[i] = *hindrance;
      continue;
    }
    put(in, key, std::move(row), 0, undo_);
    (changes ? rows_written_ : idle_writes_)++;
  }
}

void MemoryStore::truncate(const Table& table) {
  need_transaction(true, "truncate");
  Stored& in = stored(table.id);
  for (auto& [id, prepared] : prepared_)
    for (auto& [at, row] : prepared.after)
      if (at.first == table.id)
        throw Error(ErrorKind::transient, "55P03", "a prepared transaction holds " + table.local_name);
  undo_.push_back([&in, rows = in.rows] { in.rows = rows; });
  in.rows.clear();
}

std::optional<Key> MemoryStore::find_unique(const Table& table, std::size_t unique_index, RowView row) {
  need_transaction(false, "find_unique");
  for (auto& [key, stored] : stored(table.id).rows)
    if (same_in(table.uniques.at(unique_index), row, stored.values.view())) return key;
  return std::nullopt;
}

std::vector<Key> MemoryStore::find_referencing(const Table& table, ColumnIndex column, std::int64_t number) {
  need_transaction(true, "find_referencing");
  std::vector<Key> keys;
  for (auto& [key, row] : stored(table.id).rows)
    if (same_value(row.values[column], Value::of_integer(number))) keys.push_back(key);
  return keys;
}

std::int64_t MemoryStore::next_free_key(const Table& table) {
  need_transaction(true, "next_free_key");
  auto& rows = stored(table.id).rows;
  return rows.empty() ? 1 : decode_key(rows.rbegin()->first)[0].integer + 1;
}

}  // namespace rowmesh::testing
