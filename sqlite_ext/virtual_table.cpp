#include "sqlite_ext/virtual_table.hpp"

namespace rowmesh::sqlite {
namespace {

struct Table : sqlite3_vtab {
  sqlite3* db = nullptr;
  const VirtualTable* definition = nullptr;
};

struct Cursor : sqlite3_vtab_cursor {
  std::vector<CellRow> rows;
  std::size_t at = 0;
  std::string argument;
};

void fail(sqlite3_vtab* table, const char* text) {
  sqlite3_free(table->zErrMsg);
  table->zErrMsg = sqlite3_mprintf("%s: %s", static_cast<Table*>(table)->definition->name, text);
}

int connect(sqlite3* db, void* definition, int, const char* const*, sqlite3_vtab** table, char**) noexcept {
  auto* what = static_cast<const VirtualTable*>(definition);
  std::string text = std::string("CREATE TABLE x(") + what->columns + ")";
  int code = sqlite3_declare_vtab(db, text.c_str());
  if (code != SQLITE_OK) return code;
  if (what->direct_only) sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  auto* made = new (std::nothrow) Table;
  if (!made) return SQLITE_NOMEM;
  made->db = db;
  made->definition = what;
  *table = made;
  return SQLITE_OK;
}

int disconnect(sqlite3_vtab* table) noexcept {
  delete static_cast<Table*>(table);
  return SQLITE_OK;
}

int best_index(sqlite3_vtab* table, sqlite3_index_info* info) noexcept {
  auto* definition = static_cast<Table*>(table)->definition;
  info->estimatedCost = 1000;
  info->estimatedRows = 100;
  if (definition->argument < 0) return SQLITE_OK;
  bool unusable = false;
  for (int at = 0; at < info->nConstraint; ++at) {
    auto& constraint = info->aConstraint[at];
    if (constraint.iColumn != definition->argument || constraint.op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (!constraint.usable) {
      unusable = true;
      continue;
    }
    info->aConstraintUsage[at].argvIndex = 1;
    info->aConstraintUsage[at].omit = 1;
    info->idxNum = 1;
    return SQLITE_OK;
  }
  if (unusable) return SQLITE_CONSTRAINT;  // another order of the join gives it
  fail(table, "the server's name is missing: SELECT * FROM rowmesh_test_server('name')");
  return SQLITE_ERROR;
}

int open(sqlite3_vtab*, sqlite3_vtab_cursor** cursor) noexcept {
  *cursor = new (std::nothrow) Cursor;
  return *cursor ? SQLITE_OK : SQLITE_NOMEM;
}

int close(sqlite3_vtab_cursor* cursor) noexcept {
  delete static_cast<Cursor*>(cursor);
  return SQLITE_OK;
}

int filter(sqlite3_vtab_cursor* cursor, int index, const char*, int, sqlite3_value** values) noexcept {
  auto* self = static_cast<Cursor*>(cursor);
  auto* table = static_cast<Table*>(cursor->pVtab);
  try {
    self->at = 0;
    self->argument.clear();
    if (index == 1)
      if (auto* text = reinterpret_cast<const char*>(sqlite3_value_text(values[0]))) self->argument = text;
    self->rows = table->definition->rows(table->db, self->argument);
    return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (const std::exception& error) {
    fail(table, error.what());
    return SQLITE_ERROR;
  }
}

int next(sqlite3_vtab_cursor* cursor) noexcept {
  ++static_cast<Cursor*>(cursor)->at;
  return SQLITE_OK;
}

int eof(sqlite3_vtab_cursor* cursor) noexcept {
  auto* self = static_cast<Cursor*>(cursor);
  return self->at >= self->rows.size();
}

int column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int number) noexcept {
  auto* self = static_cast<Cursor*>(cursor);
  const CellRow& row = self->rows[self->at];
  if (number == static_cast<Table*>(cursor->pVtab)->definition->argument)
    sqlite3_result_text64(context, self->argument.data(), self->argument.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  else if (static_cast<std::size_t>(number) < row.size())
    row[number].give(context);
  return SQLITE_OK;
}

int rowid(sqlite3_vtab_cursor* cursor, sqlite3_int64* number) noexcept {
  *number = static_cast<sqlite3_int64>(static_cast<Cursor*>(cursor)->at) + 1;
  return SQLITE_OK;
}

// xCreate is null: eponymous only.
sqlite3_module make_module() {
  sqlite3_module module = {};
  module.xConnect = connect;
  module.xBestIndex = best_index;
  module.xDisconnect = disconnect;
  module.xOpen = open;
  module.xClose = close;
  module.xFilter = filter;
  module.xNext = next;
  module.xEof = eof;
  module.xColumn = column;
  module.xRowid = rowid;
  return module;
}

}  // namespace

void Cell::give(sqlite3_context* context) const {
  if (number_)
    sqlite3_result_int64(context, *number_);
  else if (text_)
    sqlite3_result_text64(context, text_->data(), text_->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  else
    sqlite3_result_null(context);
}

void define_table(sqlite3* db, const VirtualTable& table) {
  static const sqlite3_module module = make_module();
  int code = sqlite3_create_module_v2(db, table.name, &module, const_cast<VirtualTable*>(&table), nullptr);
  if (code != SQLITE_OK) throw_error(db, code, std::string("registering the table ") + table.name);
}

}  // namespace rowmesh::sqlite
