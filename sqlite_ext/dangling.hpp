// References that name no row: what a merge may leave behind, since foreign keys are not enforced when rows are
// applied.
#pragma once
#include <sqlite3.h>

#include <string>
#include <vector>

namespace rowmesh::sqlite {

struct Dangling {
  std::string table, key;  // the row that refers, its key as SQL text
  std::string columns, values, to_table;
};

// Of all replicated tables: declared foreign keys, and add_reference(). Reads every row of a table that refers.
std::vector<Dangling> dangling_references(sqlite3* db);

}  // namespace rowmesh::sqlite
