// Capture: triggers in pure SQL, of SQLite 3.8's syntax and with built-in operators only, so that every program that
// writes the file is captured, whether it has the extension or not, and no statement of an application can fail because
// of them.
//
// The log:  rowmesh_log(seq INTEGER PRIMARY KEY, tbl, mask, ts, k1, k2, ...)
//   tbl   table id * 64 + part; part p: bit b of the mask is the column with number 60 * p + b in rowmesh_column
//   mask  >= 0: update, the columns that changed (0: only columns that the trigger does not know, or nothing at all);
//         -1 insert; -2 delete; -3 perhaps displaced by REPLACE: a delete if the key is not in the table when the log
//         is read; -4 about to be replaced: a delete if the next entry of the key is an insert; -9 nothing changed, but
//         the core wants the key shipped
//   ts    julianday('now') of the statement
//   k1..  the key in native form, no affinity; a key with a null in it is to be ignored
// The worker consumes and deletes the rows (fold.hpp), so `seq` may begin again at 1.
#pragma once
#include <string>
#include <vector>

#include "sqlite_ext/catalog.hpp"

namespace rowmesh::sqlite {

struct AddTable {
  std::string wire_name;  // empty: the table's name
  MergePolicy merge = MergePolicy::column;
  std::string on_key_collision = "renumber";
};

// Makes `name` a replicated table: rowmesh_table, rowmesh_column, triggers; capture is on when it returns. A table that
// is replicated already gets the options and missing triggers. '*': all tables that can be, also those that come later;
// the others are left out. Creates rowmesh's own tables if need be, bumps the generation. Throws Error(config) with a
// sentence if the table cannot be replicated. Returns the id (of '*': 0).
TableId add_table(sqlite3* db, const std::string& name, const AddTable& options = {});
// Drops triggers, log entries and side rows of the table; its rows stay. '*': all, and none is added by itself any
// more.
void remove_table(sqlite3* db, const std::string& name);
// A column that names rows of another table, which the schema does not declare as a foreign key.
void add_reference(sqlite3* db, const std::string& table, const std::string& column, const std::string& to_table);

// A migration that drops or retypes columns must not meet our update trigger (SQLite refuses DROP COLUMN while a
// trigger names it). Without the extension: DROP TRIGGER "rowmesh_<id>_update" in the migration's own transaction; the
// worker puts it back.
void suspend_table(sqlite3* db, const std::string& name);  // capture of this table is off
void resume_table(sqlite3* db, const std::string& name);   // and on again; rows written in between are not captured

// User tables of `main` that add_table('*') would take.
std::vector<std::string> replicable_tables(sqlite3* db);

// The triggers that this layout needs, as name -> CREATE TRIGGER text, in the order in which they are to be created
// (the last one fires first).
struct Trigger {
  std::string name;
  std::string sql;
};
std::vector<Trigger> capture_triggers(const Layout& layout);
// Brings the triggers of one table in line: drops what is wrong or outdated, creates what is missing, all anew if an
// application's trigger is younger than ours (it would fire first and might swallow the row by RAISE). True if anything
// was done.
bool install_triggers(sqlite3* db, const Layout& layout);
void drop_triggers(sqlite3* db, TableId table);

// What a schema change asks for: renamed tables are followed, dropped ones are noted, new columns get numbers, triggers
// are put back; with '*' new tables are added. Inside of a write transaction, after the log has been folded. `notices`:
// sentences for the log.
void repair_capture(sqlite3* db, std::vector<std::string>& notices);

}  // namespace rowmesh::sqlite
