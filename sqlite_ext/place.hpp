// Is this file where its identity belongs?
#pragma once
#include <string>

#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

void note_place(sqlite3* db);
// '' or a sentence. Notes the place if nobody has yet, and when it differs in a way that no copy makes.
std::string check_place(sqlite3* db);

}  // namespace rowmesh::sqlite
