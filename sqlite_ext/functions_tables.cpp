// rowmesh_add_table and its kin: which tables are replicated.
#include <nlohmann/json.hpp>

#include "sqlite_ext/capture.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

void add_table_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string name = arguments.text(0, "the table's name");
  auto options = arguments.options(1, "name merge on_key_collision");
  AddTable wanted;
  wanted.wire_name = option_text(options, "name", "");
  std::string merge = option_text(options, "merge", "column");
  if (merge != "column" && merge != "row")
    throw Error(ErrorKind::config, "wrong_argument",
                "the option 'merge' is 'column' (each column by itself) or 'row', not '" + merge + "'");
  wanted.on_key_collision = option_text(options, "on_key_collision", "renumber");
  if (wanted.on_key_collision != "renumber" && wanted.on_key_collision != "merge" && wanted.on_key_collision != "hold")
    throw Error(ErrorKind::config, "wrong_argument",
                "the option 'on_key_collision' is 'renumber' (the younger of two rows gets another number), 'merge' "
                "(they are one row) or "
                "'hold' (the younger waits for you), not '" +
                    wanted.on_key_collision + "'");
  if (name == "*" && !wanted.wire_name.empty())
    throw Error(ErrorKind::config, "wrong_argument", "the option 'name' fits one table, not '*'");
  wanted.merge = merge == "row" ? MergePolicy::row : MergePolicy::column;
  require_writable(db);
  add_table(db, name, wanted);
  result.null();
}

void remove_table_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  remove_table(db, arguments.text(0, "the table's name"));
  result.null();
}

void add_reference_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  add_reference(db, arguments.text(0, "the table's name"), arguments.text(1, "the column's name"),
                arguments.text(2, "the name of the table that it refers to"));
  result.null();
}

void suspend_table_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  suspend_table(db, arguments.text(0, "the table's name"));
  result.null();
}

void resume_table_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  resume_table(db, arguments.text(0, "the table's name"));
  result.null();
}

}  // namespace

void register_table_functions(sqlite3* db) {
  define(db, "add_table", 1, 2, Safety::direct_only, add_table_function);
  define(db, "remove_table", 1, 1, Safety::direct_only, remove_table_function);
  define(db, "add_reference", 3, 3, Safety::direct_only, add_reference_function);
  define(db, "suspend_table", 1, 1, Safety::direct_only, suspend_table_function);
  define(db, "resume_table", 1, 1, Safety::direct_only, resume_table_function);
}

}  // namespace rowmesh::sqlite
