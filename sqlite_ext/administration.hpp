// What the dashboard and the API ask of this file (shared/web/administration.hpp). Lives in the worker's thread and
// uses its connection.
#pragma once
#include "shared/web/administration.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

class SqliteAdministration : public Administration {
 public:
  // Makes the SQL functions known on this connection, since calls go through them.
  SqliteAdministration(sqlite3* db, const std::string& path);

  EngineInfo engine() override;
  std::vector<Credential> credentials() override;
  std::vector<ListedTable> list_tables() override;
  std::vector<ListedConflict> list_conflicts(std::int64_t before, std::size_t limit) override;
  std::vector<std::pair<std::string, SideRow>> list_quarantine(std::int64_t before, std::size_t limit) override;
  Storage storage() override;
  std::vector<Neighbour> neighbours() override;
  std::string local_key() override;
  bool knows(const std::string& function) override;
  nlohmann::json call(const std::string& function, const nlohmann::json& arguments) override;

 private:
  sqlite3* db_;
  std::string path_;
};

// Free bytes where the file lies.
std::uint64_t free_bytes(const std::string& path);

}  // namespace rowmesh::sqlite
