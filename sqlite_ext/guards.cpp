// Deletes that local triggers do to replicated tables while rows are applied. An authorizer can make SQLite leave out a
// trigger's INSERT and UPDATE, but for a DELETE its SQLITE_IGNORE only switches an optimisation off. So a table from
// which a trigger deletes gets a temporary trigger on our connection, which stops every delete that is not ours.
#include <utility>

#include "sqlite_ext/store_impl.hpp"

namespace rowmesh::sqlite {
namespace {

// rowmesh_foreign_delete(table id): is the row that is about to go deleted by somebody else than us? Ours is the first
// row of a single delete (temporary triggers fire before all others), or every row of a truncate.
void foreign_delete(sqlite3_context* context, int, sqlite3_value** arguments) {
  auto& impl = *static_cast<SqliteStore::Impl*>(sqlite3_user_data(context));
  bool ours = impl.deleting != 0 && static_cast<TableId>(sqlite3_value_int64(arguments[0])) == impl.deleting;
  if (ours && !impl.deleting_all) impl.deleting = 0;
  sqlite3_result_int(context, ours ? 0 : 1);
}

std::string guard_name(TableId table) { return "rowmesh_guard_" + std::to_string(table); }

}  // namespace

void SqliteStore::Impl::register_guard() {
  int code = sqlite3_create_function_v2(db, "rowmesh_foreign_delete", 1, SQLITE_UTF8, this, foreign_delete, nullptr,
                                        nullptr, nullptr);
  if (code != SQLITE_OK) throw_error(db, code, "cannot register a function");
}

Statement& SqliteStore::Impl::prepared_write(const std::string& sql) {
  Statement& statement = cached(sql);
  if (trigger_deletes.size() == guarded.size()) return statement;
  guard_deletes();
  return cached(sql);
}

void SqliteStore::Impl::guard_deletes() {
  for (const Layout& layout : layouts) {
    for (const std::string& name : trigger_deletes) {
      if (guarded.count(name) || sqlite3_stricmp(name.c_str(), layout.info.name.c_str()) != 0) continue;
      std::string id = std::to_string(layout.table.id);
      execute(db, "CREATE TEMP TRIGGER IF NOT EXISTS " + guard_name(layout.table.id) + " BEFORE DELETE ON main." +
                      quoted_name(layout.info.name) + " WHEN rowmesh_foreign_delete(" + id +
                      ") BEGIN SELECT RAISE(IGNORE); END");
      guarded[name] = layout.table.id;
    }
  }
}

void SqliteStore::Impl::drop_guards() noexcept {
  for (auto& [name, table] : std::exchange(guarded, {}))
    sqlite3_exec(db, ("DROP TRIGGER IF EXISTS temp." + guard_name(table)).c_str(), nullptr, nullptr, nullptr);
  trigger_deletes.clear();
}

}  // namespace rowmesh::sqlite
