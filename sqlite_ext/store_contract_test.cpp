// The contract that every store keeps, on SQLite.
#include "shared/testing/store_contract.hpp"

#include "sqlite_ext/test_file.hpp"

namespace rowmesh::sqlite {
namespace {

using testing::ContractStatement;
using testing::ContractTable;

const char* declared(ColumnType type) {
  switch (type) {
    case ColumnType::integer: return "INTEGER";
    case ColumnType::real: return "REAL";
    case ColumnType::text: return "TEXT";
    case ColumnType::bytes: return "BLOB";
    case ColumnType::boolean: return "BOOLEAN";
    default: return "";
  }
}

class SqliteFixture : public testing::StoreFixture {
 public:
  explicit SqliteFixture(const std::string& journal) {
    file_.run("PRAGMA journal_mode=" + journal);
    ensure_schema(file_.db());
  }
  Store& store() override { return file_.store(); }
  void reopen() override { file_.close_store(); }
  bool replays_log() const override { return true; }  // from what was folded
  bool has_truncate() const override { return false; }

  void create_table(const ContractTable& table) override {
    std::string sql = "CREATE TABLE " + quoted_name(table.name) + "(";
    for (auto& column : table.columns)
      sql += quoted_name(column.name) + " " + declared(column.type) + (column.not_null ? " NOT NULL," : ",");
    sql += "PRIMARY KEY(" + list(table.key) + ")";
    for (auto& unique : table.uniques) sql += ", UNIQUE(" + list(unique) + ")";
    file_.run(sql + ")");
    add_table(file_.db(), table.name);
    tables_[table.name] = table;
  }

  void run(const std::vector<ContractStatement>& statements) override {
    file_.run("BEGIN IMMEDIATE");
    for (auto& statement : statements) {
      const ContractTable& table = tables_.at(statement.table);
      std::string sql, where;
      for (std::size_t i = 0; i < table.key.size(); i++)
        where += (i ? " AND " : " WHERE ") + quoted_name(table.key[i]) + "=?" + std::to_string(i + 1);
      int offset = statement.op == ContractStatement::insert ? 0 : static_cast<int>(table.key.size());
      for (std::size_t i = 0; i < statement.row.size(); i++) {
        std::string mark = "?" + std::to_string(offset + static_cast<int>(i) + 1);
        sql += (i ? "," : "") + (offset ? quoted_name(table.columns[i].name) + "=" + mark : mark);
      }
      if (statement.op == ContractStatement::insert)
        sql = "INSERT INTO " + quoted_name(table.name) + " VALUES(" + sql + ")";
      if (statement.op == ContractStatement::update) sql = "UPDATE " + quoted_name(table.name) + " SET " + sql + where;
      if (statement.op == ContractStatement::remove) sql = "DELETE FROM " + quoted_name(table.name) + where;
      Statement prepared(file_.db(), sql);
      for (std::size_t i = 0; offset && i < statement.key.size(); i++)
        prepared.bind_value(static_cast<int>(i) + 1, statement.key[i]);
      for (std::size_t i = 0; i < statement.row.size(); i++)
        prepared.bind_value(offset + static_cast<int>(i) + 1, statement.row[i]);
      prepared.run();
    }
    file_.run("COMMIT");
  }

 private:
  static std::string list(const std::vector<std::string>& names) {
    std::string text;
    for (auto& name : names) text += (text.empty() ? "" : ",") + quoted_name(name);
    return text;
  }

  TestFile file_;
  std::map<std::string, ContractTable> tables_;
};

void run_contract(const std::string& journal) {
  SqliteFixture fixture(journal);
  for (auto& result : testing::run_store_contract(fixture))
    EXPECT_TRUE(result.ok) << result.name << ": " << result.message;
}

TEST(SqliteStore, KeepsTheContractInWal) { run_contract("WAL"); }
TEST(SqliteStore, KeepsTheContractWithRollbackJournal) { run_contract("DELETE"); }

}  // namespace
}  // namespace rowmesh::sqlite
