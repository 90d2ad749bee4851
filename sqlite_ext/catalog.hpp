// What the file says about a table: columns, key, indexes; and how its columns map to those that the core knows.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "shared/model/table.hpp"
#include "sqlite_ext/statement.hpp"
#include "sqlite_ext/types.hpp"

namespace rowmesh::sqlite {

struct ColumnInfo {
  std::string name;
  std::string declared;  // '' if it has no type
  Affinity affinity = Affinity::none;
  std::string collation;  // BINARY, NOCASE, RTRIM or the application's own
  bool not_null = false;
  bool has_default = false;
  bool generated = false;
  int key_part = 0;  // 1, 2, ... in the primary key; 0: not in it
};

struct IndexInfo {
  std::string name;
  std::vector<std::string> columns;  // '' for an expression
  std::vector<std::string> collations;
  bool partial = false;
  bool primary = false;
  std::string sql;     // '' for automatic indexes
  bool plain() const;  // columns only, no condition
};

struct TableInfo {
  std::string name;  // as the file spells it
  std::string sql;
  std::vector<ColumnInfo> columns;
  std::vector<std::size_t> key;    // into columns, in key order
  std::vector<IndexInfo> uniques;  // unique indexes other than the primary key's
  bool without_rowid = false;
  bool strict = false;
  bool rowid_alias = false;  // INTEGER PRIMARY KEY
  // ON CONFLICT in the definition would make a plain INSERT of ours displace rows: say OR ABORT then. Not otherwise,
  // since it would override the OR REPLACE of statements in the application's triggers.
  bool conflict_clause = false;
};

// nullopt: there is no such table in main.
std::optional<TableInfo> describe_table(sqlite3* db, const std::string& name);
// A sentence that says why the table cannot be replicated and what to do; empty: it can.
std::string why_not_replicable(sqlite3* db, const std::string& name);

// A replicated table: what the core sees of it, and what SQLite needs to know.
struct Layout {
  Table table;
  TableInfo info;
  static constexpr std::size_t no_column = ~std::size_t{0};
  std::vector<std::size_t> info_column;   // per column of `table`: into info.columns; no_column: it was dropped
  std::vector<int> number;                // per column of `table`: its number in rowmesh_column; -1: none yet
  std::vector<std::size_t> unique_index;  // per entry of table.uniques: into info.uniques
  bool suspended = false;

  bool dropped(std::size_t at) const { return info_column[at] == no_column; }
  const ColumnInfo& column(std::size_t at) const { return info.columns[info_column[at]]; }
  const ColumnInfo& key_column(std::size_t at) const { return column(table.key[at]); }
  int column_of_number(int number) const;  // -1: that column is gone
  bool has_new_columns() const;            // columns without a number
};

// Every table of rowmesh_table that is in the file, in order of id.
std::vector<Layout> read_layouts(sqlite3* db);
std::optional<Layout> read_layout(sqlite3* db, TableId id);

}  // namespace rowmesh::sqlite
