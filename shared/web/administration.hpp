// What people see of a node beyond its status, and what they do to it. Implemented by each engine beside its store. The
// calls are the SQL functions themselves, so that browser, API and SQL have the same checks and the same sentences.
//
// Called by the worker's thread, outside of a transaction. Every method may throw Error.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "shared/http/neighbour.hpp"
#include "shared/sync/store.hpp"

namespace rowmesh {

// Who may use the API: the password of the dashboard (named 'dashboard') and tokens. Never the text itself.
struct Credential {
  std::string name;
  std::string scope;  // 'admin': everything; 'monitor': reading
  std::string hash;   // credentials.hpp
};

struct ListedTable {
  std::string name;       // as this database calls it
  std::string wire_name;  // as all nodes call it
  std::string key;        // columns, for people
  std::string merge;      // 'column', 'row'
  std::string trouble;    // why it cannot be replicated as it is; empty: it can
  std::uint64_t rows = 0;
  bool rows_exact = true;                      // false: at least so many, or an estimate
  std::uint64_t quarantined = 0, waiting = 0;  // waiting: hidden or held
};

struct ListedConflict {
  std::int64_t id = 0;
  ConflictRow conflict;  // without its image
  bool restorable = false;
};

struct Storage {
  std::uint64_t log_bytes = 0;  // what capture wrote and history needs
  std::uint64_t database_bytes = 0;
  std::uint64_t disk_free_bytes = 0;  // where the database lies
};

struct EngineInfo {
  std::string engine;    // 'postgresql', 'sqlite'
  std::string version;   // of the engine
  std::string database;  // its name, or the file
};

class Administration {
 public:
  virtual ~Administration() = default;

  virtual EngineInfo engine() = 0;
  virtual std::vector<Credential> credentials() = 0;
  virtual std::vector<ListedTable> list_tables() = 0;
  // Newest first, older than `before` (0: from the newest).
  virtual std::vector<ListedConflict> list_conflicts(std::int64_t before, std::size_t limit) = 0;
  // Quarantined rows with the name of their table, newest first. SideRow::packed, key and table are not filled in.
  virtual std::vector<std::pair<std::string, SideRow>> list_quarantine(std::int64_t before, std::size_t limit) = 0;
  virtual Storage storage() = 0;
  virtual std::vector<Neighbour> neighbours() = 0;
  // Whoever can read this database or this process's memory knows it: neighbours prove by it who they are. Empty: there
  // is none.
  virtual std::string local_key() = 0;
  virtual bool knows(const std::string& function) = 0;
  // The SQL function of that name with named arguments (a JSON object); what it returns, null for nothing. Throws
  // Error(config, "unknown_function") where this version has no such function or argument, and its own error with its
  // sentence.
  virtual nlohmann::json call(const std::string& function, const nlohmann::json& arguments) = 0;
};

}  // namespace rowmesh
