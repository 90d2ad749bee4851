// What every Store promises, as checks that run on any of them: memory, SQLite, PostgreSQL. No test framework in here,
// so that they run inside a database process as well.
#pragma once
#include <string>
#include <vector>

#include "shared/sync/store.hpp"

namespace rowmesh::testing {

struct ContractTable {
  std::string name;  // also the wire name
  struct Column {
    std::string name;
    ColumnType type;
    bool not_null = false;
  };
  std::vector<Column> columns;
  std::vector<std::string> key;
  std::vector<std::vector<std::string>> uniques;
};

struct ContractStatement {
  enum Op { insert, update, remove, truncate } op;
  std::string table;
  OwnedRow key;  // update, remove: which row
  OwnedRow row;  // insert, update: all columns
};

// What the suite needs from a store's surroundings.
class StoreFixture {
 public:
  virtual ~StoreFixture() = default;
  virtual Store& store() = 0;
  // Makes the table and has it replicated. Names are used once; `contract_` is their prefix.
  virtual void create_table(const ContractTable& table) = 0;
  // One transaction of an application, committed. Called outside of the store's transactions.
  virtual void run(const std::vector<ContractStatement>& statements) = 0;
  // A new Store over the same database, as after a crash of the process.
  virtual void reopen() = 0;
  // load_history calls `entry` (PostgreSQL, memory), or the store keeps what a cut consumed itself (SQLite).
  virtual bool replays_log() const = 0;
  // The engine has TRUNCATE, captured as such.
  virtual bool has_truncate() const = 0;
};

struct ContractResult {
  std::string name;
  bool ok = false;
  std::string message;  // empty when ok
};

// Runs all checks, or the one that is called `only`.
std::vector<ContractResult> run_store_contract(StoreFixture& fixture, const std::string& only = "");

}  // namespace rowmesh::testing
