// Where SQLite enters. Loading registers functions and tables, and starts the worker if this file was told so before
// (rowmesh_start): it writes nothing by itself.
#include <nlohmann/json.hpp>

#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/statement.hpp"
SQLITE_EXTENSION_INIT1

namespace rowmesh::sqlite {
namespace {

constexpr int oldest_sqlite = 3038000;  // the API struct grows: a newer pointer on an older host is a crash

int load(sqlite3* db, char** message, const sqlite3_api_routines* api) noexcept {
#ifndef SQLITE_CORE
  if (sqlite3_api && sqlite3_api->create_function_v2 != api->create_function_v2) {
    // Two SQLites in one process hold separate tables of file locks over the same files; and our calls would go to the
    // wrong one.
    *message = api->mprintf(
        "rowmesh: this process has two copies of SQLite, and rowmesh is loaded by the other one: load it through one "
        "of them only");
    return SQLITE_ERROR;
  }
#endif
  SQLITE_EXTENSION_INIT2(api);
  (void)api;
  if (sqlite3_libversion_number() < oldest_sqlite) {
    *message = sqlite3_mprintf(
        "rowmesh needs SQLite 3.38 or newer, this is %s. Programs with an older SQLite may still write the file: "
        "their changes are captured too.",
        sqlite3_libversion());
    return SQLITE_ERROR;
  }
  try {
    register_functions(db);
    register_tables(db);
    start_if_wanted(db);
  } catch (const std::exception& error) {
    *message = sqlite3_mprintf("rowmesh: %s", error.what());
    return SQLITE_ERROR;
  }
  // A thread may run in this library: it must stay mapped when the loading connection closes.
  return SQLITE_OK_LOAD_PERMANENTLY;
}

}  // namespace
}  // namespace rowmesh::sqlite

extern "C" {

__attribute__((visibility("default"))) int sqlite3_rowmesh_init(sqlite3* db, char** message,
                                                                const sqlite3_api_routines* api) {
  return rowmesh::sqlite::load(db, message, api);
}

// For hosts that are given a renamed file.
__attribute__((visibility("default"))) int sqlite3_extension_init(sqlite3* db, char** message,
                                                                  const sqlite3_api_routines* api) {
  return rowmesh::sqlite::load(db, message, api);
}
}
