// Who may use the dashboard and the API of this file: rowmesh_state has a row 'credential.NAME' for each, with scope
// and hash.
#pragma once
#include <vector>

#include "shared/web/administration.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

std::vector<Credential> read_credentials(sqlite3* db);

}  // namespace rowmesh::sqlite
