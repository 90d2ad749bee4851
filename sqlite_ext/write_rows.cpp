// Rows: writing what others changed.
#include "sqlite_ext/store_impl.hpp"

namespace rowmesh::sqlite {
namespace {

bool written(const RowWrite& write, std::size_t column) {
  if (write.values[column].kind == ValueKind::omitted) return false;
  return write.kind == WriteKind::insert || !write.columns || write.columns->has(static_cast<ColumnIndex>(column));
}

WriteResult refused(std::string code, std::string reason) {
  return {WriteResult::refused, 0, std::move(code), std::move(reason)};
}

// Errors of this one row; everything else ends the transaction.
bool of_the_row(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE:
    case SQLITE_ERROR: return true;
    default: return false;
  }
}

}  // namespace

// Parameters: the written columns in their order; update: then the key. The key's parameters come first in
// key_condition, so they do here too, and the columns follow.
std::string SqliteStore::Impl::write_sql(const Layout& layout, const RowWrite& write) {
  std::string table = "main." + quoted_name(layout.info.name),
              or_abort = layout.info.conflict_clause ? " OR ABORT" : "";
  if (write.kind == WriteKind::remove) return "DELETE FROM " + table + " WHERE " + key_condition(layout);
  int mark = write.kind == WriteKind::insert ? 0 : static_cast<int>(layout.table.key.size());
  std::string names, marks;
  for (std::size_t i = 0; i < layout.table.columns.size(); i++) {
    if (!written(write, i) || layout.dropped(i)) continue;
    std::string parameter = "?" + std::to_string(++mark);
    if (!names.empty()) names += ",", marks += ",";
    names += quoted_name(layout.column(i).name);
    if (write.kind == WriteKind::update)
      names += "=" + parameter;
    else
      marks += parameter;
  }
  if (write.kind == WriteKind::insert)
    return "INSERT" + or_abort + " INTO " + table + "(" + names + ") VALUES(" + marks + ")";
  return names.empty() ? "" : "UPDATE" + or_abort + " " + table + " SET " + names + " WHERE " + key_condition(layout);
}

WriteResult SqliteStore::Impl::write_row(const Layout& layout, const std::vector<ColumnType>& types,
                                         const RowWrite& write) {
  if (poisoned.count(layout.table.wire_name + '\0' + std::string(write.key)))
    return refused("trigger_rollback", "a trigger of this database answers this row with RAISE(ROLLBACK)");
  Scratch scratch;
  Row stored(layout.table.columns.size(), Value::of_omitted());
  if (write.kind != WriteKind::remove)
    for (std::size_t i = 0; i < stored.size(); i++) {
      if (!written(write, i) || layout.dropped(i)) continue;
      StoredValue value = to_stored(write.values[i], types[i], layout.column(i).affinity, fraction(), scratch);
      if (!value.reason.empty()) return refused("cannot_hold", "column " + layout.column(i).name + ": " + value.reason);
      stored[i] = value.value;
    }
  std::string sql = write_sql(layout, write);
  if (sql.empty()) return {};
  Statement* statement = nullptr;
  try {
    statement = &prepared_write(sql);
  } catch (const Error& error) {
    // A trigger may call a function that only the application has: nothing can be written here until it is changed.
    if (error.kind() != ErrorKind::permanent) throw;
    return refused(error.code(), std::string("this connection cannot write the table: ") + sqlite3_errmsg(db));
  }
  Resetter reset(*statement);
  int at = 1;
  if (write.kind != WriteKind::insert) {
    bind_key(*statement, 1, write.key);
    at += static_cast<int>(layout.table.key.size());
  }
  for (const Value& value : stored)
    if (value.kind != ValueKind::omitted) statement->bind_value(at++, value);
  deleting = write.kind == WriteKind::remove ? layout.table.id : 0;
  int code = statement->try_step();
  deleting = 0;
  if (code == SQLITE_DONE && sqlite3_changes(db) > 0) return {};
  return explain(layout, write, stored, code);
}

// What the row would have been: the columns that were not to be written are those of the table.
OwnedRow SqliteStore::Impl::whole_row(const Layout& layout, const RowWrite& write, RowView stored) {
  OwnedRow whole(stored);
  if (write.kind != WriteKind::update) return whole;
  for (std::size_t i = 0; i < stored.size(); i++) {
    if (stored[i].kind != ValueKind::omitted || layout.dropped(i)) continue;
    Statement& query = cached("SELECT " + quoted_name(layout.column(i).name) + " FROM main." +
                              quoted_name(layout.info.name) + " WHERE " + key_condition(layout));
    Resetter reset(query);
    bind_key(query, 1, write.key);
    if (query.step()) whole.set(i, query.value(0));
  }
  return whole;
}

WriteResult SqliteStore::Impl::explain(const Layout& layout, const RowWrite& write, RowView stored, int code) {
  std::string text = sqlite3_errmsg(db);
  if (sqlite3_get_autocommit(db)) {
    poisoned.insert(layout.table.wire_name + '\0' + std::string(write.key));
    throw Error(ErrorKind::transient, "trigger_rollback",
                "a trigger of table " + layout.info.name + " rolled the transaction back: " + text);
  }
  if (code != SQLITE_DONE && !of_the_row(code)) throw_error(db, code, "cannot write a row of " + layout.info.name);
  bool there = exists(layout, write.key);
  if (write.kind == WriteKind::insert ? there : !there) return {WriteResult::raced, 0, "", ""};
  if (code == SQLITE_DONE)
    return refused("trigger_ignores", "a trigger of table " + layout.info.name + " ignores the row with RAISE(IGNORE)");
  if (code == SQLITE_CONSTRAINT_UNIQUE) {
    OwnedRow whole = whole_row(layout, write, stored);
    for (std::size_t i = 0; i < layout.table.uniques.size(); i++)
      if (auto other = holder(layout, i, whole.view()); other && *other != write.key)
        return {WriteResult::unique, i, "SQLITE_CONSTRAINT_UNIQUE",
                "another row has the value of " + layout.table.uniques[i].name};
  }
  return refused(code_name(code), "table " + layout.info.name + ": " + text);
}

void SqliteStore::write_rows(const Table& table, const std::vector<ColumnType>& types, std::span<const RowWrite> writes,
                             std::vector<WriteResult>& results) {
  impl_->need(Impl::Open::write, "write_rows");
  const Layout& layout = impl_->layout_of(table);
  results.assign(writes.size(), {});
  for (std::size_t i = 0; i < writes.size(); i++) {
    if (writes[i].kind != WriteKind::remove && writes[i].values.size() != table.columns.size())
      throw Error(ErrorKind::bug, "bad_write", "a row write has not as many values as the table has columns");
    results[i] = impl_->write_row(layout, types, writes[i]);
  }
}

void SqliteStore::truncate(const Table& table) {
  impl_->need(Impl::Open::write, "truncate");
  const Layout& layout = impl_->layout_of(table);
  Statement& statement = impl_->prepared_write("DELETE FROM main." + quoted_name(layout.info.name));
  impl_->deleting = layout.table.id;
  impl_->deleting_all = true;
  Resetter reset(statement);
  int code = statement.try_step();
  impl_->deleting = 0;
  impl_->deleting_all = false;
  if (code != SQLITE_DONE) throw_error(impl_->db, code, "cannot empty table " + layout.info.name);
}

}  // namespace rowmesh::sqlite
