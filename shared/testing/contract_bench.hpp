// Tools of the contract checks. Each check works on tables of its own and begins with a log that has been read.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "shared/testing/store_contract.hpp"

namespace rowmesh::testing {

struct ContractFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw ContractFailure(what);
}

struct KeptEntry {
  std::string table;
  LogOp op;
  Key key;
  ColumnSet columns;
  Hlc hlc;
};

class ContractBench {
 public:
  ContractBench(StoreFixture& fixture, std::string prefix) : fixture_(fixture), prefix_(std::move(prefix)) {}

  StoreFixture& fixture() { return fixture_; }
  Store& store() { return fixture_.store(); }

  // id integer key, name text, amount real, data bytes; `unique_name` adds an index. Returns its name.
  std::string simple_table(bool unique_name = false, const std::string& suffix = "");
  std::string text_key_table();
  Table described(const std::string& name);

  static OwnedRow row(std::int64_t id, const char* name, double amount = 0.5);
  static Key key(std::int64_t id);
  ContractStatement insert(const std::string& table, OwnedRow row) const;
  ContractStatement update(const std::string& table, std::int64_t id, OwnedRow row) const;
  ContractStatement remove(const std::string& table, std::int64_t id) const;

  // A cut as the core makes it, with its history record.
  struct Cut {
    LogRead read;
    std::vector<KeptEntry> entries;  // of this check's tables
    std::int64_t sequence = 0;
  };
  Cut cut(const std::string& state = "state");
  std::vector<KeptEntry> read_all();  // a cut whose record nobody looks at

  // One write transaction; inside it what `body` does. Reads the log as often as the store asks for.
  void write(const std::vector<Table>& tables, const std::function<void()>& body);
  std::vector<WriteResult> apply(const Table& table, const std::vector<RowWrite>& writes);
  RowWrite write_insert(const Key& key, RowView row) const;
  std::optional<OwnedRow> read(const Table& table, const Key& key);
  FoundRow find(const Table& table, const Key& key);  // in a write transaction

 private:
  void make(const ContractTable& table);
  std::string name_of(TableId id);

  StoreFixture& fixture_;
  std::string prefix_;
};

struct ContractCheck {
  const char* name;
  void (*run)(ContractBench&);
};
std::vector<ContractCheck> log_checks();
std::vector<ContractCheck> row_checks();
std::vector<ContractCheck> more_checks();

}  // namespace rowmesh::testing
