// Names and index texts as an application may have them, in the triggers that we write; values on their way into
// columns and back.
#include <memory>
#include <string>

#include "shared/fuzz/target.hpp"
#include "shared/model/error.hpp"
#include "sqlite_ext/capture.hpp"
#include "sqlite_ext/index_text.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/types.hpp"

namespace rowmesh::fuzz {
namespace {

using namespace rowmesh::sqlite;

struct Database {
  Database() {
    sqlite3_open(":memory:", &db);
    sqlite3_exec(db, "PRAGMA max_page_count=5000", nullptr, nullptr, nullptr);
  }
  ~Database() { sqlite3_close(db); }
  int run(const std::string& sql) { return sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr); }
  std::int64_t number(const char* sql) {
    Statement query(db, sql);
    return query.step() ? query.integer(0) : -1;
  }
  sqlite3* db = nullptr;
};

// Quoted by SQLite's own means, not by ours.
std::string quoted(std::string_view name) {
  std::unique_ptr<char, decltype(&sqlite3_free)> text(sqlite3_mprintf("\"%w\"", std::string(name).c_str()),
                                                      sqlite3_free);
  return text.get();
}

bool is_name(std::string_view name) { return !name.empty() && name.size() < 200 && name.find('\0') == name.npos; }

void hostile_names(Input& in) {
  std::string table(in.part()), key(in.part()), column(in.part()), index(in.part());
  if (!is_name(table) || !is_name(key) || !is_name(column)) return;
  Database file;
  if (file.run("CREATE TABLE " + quoted(table) + "(" + quoted(key) + " INTEGER PRIMARY KEY, " + quoted(column) +
               " TEXT, u TEXT)") != SQLITE_OK)
    return;
  if (!index.empty() && index.find('\0') == index.npos)
    (void)file.run("CREATE UNIQUE INDEX i ON " + quoted(table) + "(" + index + ")");
  try {
    add_table(file.db, table);
  } catch (const Error&) {
    return;  // a name of the system's, or of ours
  }
  // What an application could do without the triggers, it can do with them; and each change is in the log.
  Database plain;
  promise(plain.run("CREATE TABLE " + quoted(table) + "(" + quoted(key) + " INTEGER PRIMARY KEY, " + quoted(column) +
                    " TEXT, u TEXT)") == SQLITE_OK,
          "as before");
  if (!index.empty()) (void)plain.run("CREATE UNIQUE INDEX i ON " + quoted(table) + "(" + index + ")");
  for (const std::string& statement :
       {"INSERT INTO " + quoted(table) + " VALUES(1, 'a', 'x')",
        "UPDATE " + quoted(table) + " SET " + quoted(column) + "='b'",
        "INSERT OR REPLACE INTO " + quoted(table) + " VALUES(2, 'b', 'x')", "DELETE FROM " + quoted(table)}) {
    (void)file.run("DELETE FROM rowmesh_log");
    int with = file.run(statement), without = plain.run(statement);
    promise((with == SQLITE_OK) == (without == SQLITE_OK), "a trigger of ours changes no statement's result");
    if (without == SQLITE_OK && sqlite3_changes(plain.db) > 0)
      promise(file.number("SELECT count(*) FROM rowmesh_log") > 0, "a change is captured");
  }
  remove_table(file.db, table);
  promise(file.number("SELECT count(*) FROM sqlite_master WHERE type='trigger'") == 0, "nothing of ours is left");
}

void values_into_columns(Input& in) {
  auto type = static_cast<ColumnType>(in.byte() % 12);
  auto affinity = static_cast<Affinity>(in.byte() % 5);
  std::uint8_t kind = in.byte();
  Value value = kind % 4 == 0   ? Value::of_integer(static_cast<std::int64_t>(in.number(8)))
                : kind % 4 == 1 ? Value::of_real(static_cast<double>(static_cast<std::int64_t>(in.number(8))) / 1e6)
                : kind % 4 == 2 ? Value::of_bytes(in.rest())
                                : Value::of_text(in.rest());
  Scratch scratch;
  StoredValue stored = to_stored(value, type, affinity, Fraction::always, scratch);
  if (!stored.reason.empty()) return;
  Value canonical = canonical_value(stored.value, affinity, "NOCASE", scratch);
  promise(same_value(canonical_value(canonical, affinity, "NOCASE", scratch), canonical), "one canonical form");
  (void)to_wire(stored.value, type);
  (void)column_type_of(value.text);
  (void)affinity_of(value.text);
}

}  // namespace

void sqlite(std::string_view input) {
  Input in(input);
  switch (in.byte() % 3) {
    case 0: hostile_names(in); break;
    case 1: (void)parse_index(std::string(in.rest())); break;
    case 2: values_into_columns(in); break;
  }
}

}  // namespace rowmesh::fuzz
