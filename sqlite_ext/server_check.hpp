// test_server for SQLite: the caller's thread asks the other server itself, so it works without a worker as well.
#pragma once
#include <string>
#include <vector>

#include "shared/sync/node.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

// Throws Error(config) with the names of those that there are.
void require_server(sqlite3* db, const std::string& name);
std::vector<ServerCheck> check_server(sqlite3* db, const std::string& name);

}  // namespace rowmesh::sqlite
