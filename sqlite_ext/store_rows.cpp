// Rows: keys, reading, finding.
#include "sqlite_ext/store_impl.hpp"

namespace rowmesh::sqlite {
namespace {

std::string column_list(const Layout& layout) {
  std::string list;
  for (std::size_t i = 0; i < layout.table.columns.size(); i++)
    list += std::string(i ? "," : "") + (layout.dropped(i) ? "NULL" : quoted_name(layout.column(i).name));
  return list;
}

std::string from(const Layout& layout) { return " FROM main." + quoted_name(layout.info.name); }

std::string key_columns(const Layout& layout) {
  std::string list;
  for (std::size_t i = 0; i < layout.table.key.size(); i++)
    list += (i ? "," : "") + quoted_name(layout.key_column(i).name);
  return list;
}

std::string marks(std::size_t count) {
  std::string list;
  for (std::size_t i = 1; i <= count; i++) list += (i > 1 ? ",?" : "?") + std::to_string(i);
  return list;
}

// Views into the statement's row.
void native_row(const Layout& layout, const Statement& query, Row& row) {
  row.clear();
  for (std::size_t i = 0; i < layout.table.columns.size(); i++) row.push_back(query.value(static_cast<int>(i)));
}

void wire_row(const Layout& layout, const Row& native, Row& row) {
  row.clear();
  for (std::size_t i = 0; i < native.size(); i++)
    row.push_back(layout.dropped(i) ? Value::of_omitted() : to_wire(native[i], layout.table.columns[i].type));
}

// What a STRICT table, or an INTEGER PRIMARY KEY, does not take.
bool fits_key(const Layout& layout, const ColumnInfo& column, const Value& value) {
  if (layout.info.rowid_alias) return value.kind == ValueKind::integer;
  if (!layout.info.strict) return true;
  switch (column.affinity) {
    case Affinity::integer: return value.kind == ValueKind::integer;
    case Affinity::real: return value.kind == ValueKind::real;
    case Affinity::text: return value.kind == ValueKind::text;
    default: return true;
  }
}

}  // namespace

// The collations are the columns' own, so a canonical key finds the row however it is spelt.
std::string SqliteStore::Impl::key_condition(const Layout& layout) {
  std::string condition;
  for (std::size_t i = 0; i < layout.table.key.size(); i++)
    condition += (i ? " AND " : "") + quoted_name(layout.key_column(i).name) + "=?" + std::to_string(i + 1);
  return condition;
}

void SqliteStore::Impl::bind_key(Statement& statement, int at, KeyView key) {
  for (const Value& value : decode_key(key)) statement.bind_value(at++, value);
}

bool SqliteStore::Impl::exists(const Layout& layout, KeyView key) {
  Statement& query = cached("SELECT 1" + from(layout) + " WHERE " + key_condition(layout));
  Resetter reset(query);
  bind_key(query, 1, key);
  return query.step();
}

Key SqliteStore::Impl::key_of_row(const Layout& layout, const Row& native, Scratch& scratch) {
  Row values;
  for (ColumnIndex at : layout.table.key) {
    const ColumnInfo& column = layout.column(at);
    values.push_back(canonical_value(native[at], column.affinity, column.collation, scratch));
  }
  return encode_key(values);
}

std::optional<Key> SqliteStore::canonical_key(const Table& table, RowView key_values,
                                              const std::vector<ColumnType>& types, std::string* reason) {
  impl_->refresh();
  const Layout& layout = impl_->layout_of(table);
  Scratch scratch;
  Row values;
  for (std::size_t i = 0; i < table.key.size(); i++) {
    const ColumnInfo& column = layout.key_column(i);
    StoredValue stored = to_stored(key_values[i], types[i], column.affinity, impl_->fraction(), scratch);
    if (stored.reason.empty() && (stored.value.is_null() || stored.value.kind == ValueKind::omitted))
      stored.reason = "a key cannot be null";
    Value value = canonical_value(stored.value, column.affinity, column.collation, scratch);
    if (stored.reason.empty() && !fits_key(layout, column, value))
      stored.reason = "the column does not take a value of this type as key";
    if (!stored.reason.empty()) {
      if (reason) *reason = "key column " + column.name + " of " + layout.info.name + ": " + stored.reason;
      return std::nullopt;
    }
    values.push_back(value);
  }
  return encode_key(values);
}

void SqliteStore::read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) {
  impl_->need(Impl::Open::read, "read_rows");
  const Layout& layout = impl_->layout_of(table);
  Statement& query =
      impl_->cached("SELECT " + column_list(layout) + from(layout) + " WHERE " + impl_->key_condition(layout));
  Row native, row;
  for (std::size_t i = 0; i < keys.size(); i++) {
    Resetter reset(query);
    impl_->bind_key(query, 1, keys[i]);
    if (!query.step()) continue;
    native_row(layout, query, native);
    wire_row(layout, native, row);
    if (!visit(i, keys[i], row)) return;
  }
}

void SqliteStore::scan_rows(const Table& table, KeyView after, const RowVisitor& visit) {
  impl_->need(Impl::Open::read, "scan_rows");
  const Layout& layout = impl_->layout_of(table);
  std::string keys = key_columns(layout), not_null;
  for (std::size_t i = 0; i < layout.table.key.size(); i++)
    not_null += (i ? " AND " : "") + quoted_name(layout.key_column(i).name) + " IS NOT NULL";
  std::string where = " WHERE " + not_null;
  if (!after.empty()) where += " AND (" + keys + ")>(" + marks(layout.table.key.size()) + ")";
  // Prepared anew: the visitor may scan another table meanwhile.
  Statement query(impl_->db, "SELECT " + column_list(layout) + from(layout) + where + " ORDER BY " + keys);
  if (!after.empty()) impl_->bind_key(query, 1, after);
  Row native, row;
  for (std::size_t index = 0; query.step(); index++) {
    Scratch scratch;
    native_row(layout, query, native);
    wire_row(layout, native, row);
    Key key = impl_->key_of_row(layout, native, scratch);
    if (!visit(index, key, row)) return;
  }
}

std::uint64_t SqliteStore::estimate_rows(const Table& table) {
  impl_->refresh();
  return static_cast<std::uint64_t>(query_integer(impl_->db, "SELECT count(*)" + from(impl_->layout_of(table))));
}

void SqliteStore::find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) {
  impl_->need(Impl::Open::write, "find_rows");
  const Layout& layout = impl_->layout_of(table);
  Statement& query = impl_->cached("SELECT 1" + from(layout) + " WHERE " + impl_->key_condition(layout));
  found.assign(keys.size(), {});
  for (std::size_t i = 0; i < keys.size(); i++) {
    Resetter reset(query);
    impl_->bind_key(query, 1, keys[i]);
    found[i].exists = query.step();
  }
}

// `stored`: values as SQLite holds them.
std::optional<Key> SqliteStore::Impl::holder(const Layout& layout, std::size_t unique_index, RowView stored) {
  const UniqueIndex& unique = layout.table.uniques.at(unique_index);
  const IndexInfo& index = layout.info.uniques[layout.unique_index[unique_index]];
  if (unique.columns.empty()) return std::nullopt;
  std::string condition;
  for (std::size_t i = 0; i < unique.columns.size(); i++) {
    if (stored[unique.columns[i]].is_null() || stored[unique.columns[i]].kind == ValueKind::omitted)
      return std::nullopt;
    condition += (i ? " AND " : " WHERE ") + quoted_name(index.columns[i]) + "=?" + std::to_string(i + 1) +
                 " COLLATE " + quoted_name(index.collations[i]);
  }
  Statement& query = cached("SELECT " + column_list(layout) + from(layout) + condition);
  Resetter reset(query);
  for (std::size_t i = 0; i < unique.columns.size(); i++)
    query.bind_value(static_cast<int>(i) + 1, stored[unique.columns[i]]);
  if (!query.step()) return std::nullopt;
  Row native;
  Scratch scratch;
  native_row(layout, query, native);
  return key_of_row(layout, native, scratch);
}

OwnedRow SqliteStore::as_stored(const Table& table, const std::vector<ColumnType>& types, RowView row) {
  const Layout& layout = impl_->layout_of(table);
  OwnedRow stored(row);
  for (std::size_t i = 0; i < row.size(); i++) {
    if (layout.dropped(i) || row[i].kind == ValueKind::omitted) continue;
    Scratch scratch;
    StoredValue value = to_stored(row[i], i < types.size() ? types[i] : layout.table.columns[i].type,
                                  layout.column(i).affinity, impl_->fraction(), scratch);
    if (value.reason.empty()) stored.set(i, to_wire(value.value, layout.table.columns[i].type));
  }
  return stored;
}

std::optional<Key> SqliteStore::find_unique(const Table& table, std::size_t unique_index, RowView row) {
  impl_->need(Impl::Open::read, "find_unique");
  const Layout& layout = impl_->layout_of(table);
  Scratch scratch;
  Row stored;
  for (std::size_t i = 0; i < row.size(); i++) {
    if (layout.dropped(i)) {
      stored.push_back(Value::of_omitted());
      continue;
    }
    StoredValue value =
        to_stored(row[i], layout.table.columns[i].type, layout.column(i).affinity, impl_->fraction(), scratch);
    stored.push_back(value.reason.empty() ? value.value : Value::of_null());
  }
  return impl_->holder(layout, unique_index, stored);
}

std::vector<Key> SqliteStore::find_referencing(const Table& table, ColumnIndex column, std::int64_t number) {
  impl_->need(Impl::Open::write, "find_referencing");
  const Layout& layout = impl_->layout_of(table);
  Statement& query = impl_->cached("SELECT " + column_list(layout) + from(layout) + " WHERE " +
                                   quoted_name(layout.column(column).name) + "=?1");
  Resetter reset(query);
  query.bind(1, number);
  std::vector<Key> keys;
  Row native;
  Scratch scratch;
  while (query.step()) {
    native_row(layout, query, native);
    keys.push_back(impl_->key_of_row(layout, native, scratch));
  }
  return keys;
}

std::int64_t SqliteStore::next_free_key(const Table& table) {
  impl_->need(Impl::Open::write, "next_free_key");
  const Layout& layout = impl_->layout_of(table);
  std::int64_t last =
      query_integer(impl_->db, "SELECT coalesce(max(" + quoted_name(layout.key_column(0).name) + "),0)" + from(layout));
  // AUTOINCREMENT never gives a number again, also when its row is gone.
  if (query_integer(impl_->db, "SELECT count(*) FROM main.sqlite_master WHERE name='sqlite_sequence'"))
    last = std::max(last, query_integer(impl_->db, "SELECT coalesce((SELECT seq FROM main.sqlite_sequence WHERE name=" +
                                                       quoted_text(layout.info.name) + "),0)"));
  return last + 1;
}

}  // namespace rowmesh::sqlite
