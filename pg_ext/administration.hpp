// What the dashboard and the API ask of this database (shared/web/administration.hpp). Lives in the worker.
#pragma once
#include "shared/web/administration.hpp"

#include "pg_ext/shared_memory.hpp"
#include "pg_ext/store.hpp"

namespace rowmesh {

class PgAdministration : public Administration {
 public:
  PgAdministration(PgStore& store, SharedSlot* slot) : store_(store), slot_(slot) {}

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
  // A transaction of its own around `work`.
  void alone(const std::function<void()>& work);

  PgStore& store_;
  SharedSlot* slot_;
  std::uint64_t size_looked_us_ = 0, database_bytes_ = 0;
};

// Free bytes where the data directory lies.
std::uint64_t free_bytes();

}  // namespace rowmesh
