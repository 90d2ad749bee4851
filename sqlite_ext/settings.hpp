// rowmesh_config(key, value): which settings there are, and what each takes.
#pragma once
#include <string>

#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

std::string read_setting(sqlite3* db, const std::string& key);                       // the default if it is not set
void change_setting(sqlite3* db, const std::string& key, const std::string& value);  // both throw Error(config)

}  // namespace rowmesh::sqlite
