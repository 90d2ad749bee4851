#include "shared/testing/memory_store.hpp"

#include <gtest/gtest.h>

#include "shared/testing/store_contract.hpp"

namespace rowmesh::testing {
namespace {

struct FixedWall : WallClock {
  std::uint64_t now_ms() override { return 1'700'000'000'000; }
};

class MemoryFixture : public StoreFixture {
 public:
  explicit MemoryFixture(Flavour flavour)
      : store_({"11111111-1111-4111-8111-111111111111", 0xab, "memory"}, wall_, flavour) {}

  Store& store() override { return store_; }

  void create_table(const ContractTable& wanted) override {
    Table table;
    table.wire_name = wanted.name;
    for (auto& column : wanted.columns)
      table.columns.push_back({column.name, column.type, to_string(column.type), column.not_null, false});
    for (auto& name : wanted.key) table.key.push_back(static_cast<ColumnIndex>(table.column_index(name)));
    for (auto& unique : wanted.uniques) {
      UniqueIndex index{wanted.name + "_unique", {}};
      for (auto& name : unique) index.columns.push_back(static_cast<ColumnIndex>(table.column_index(name)));
      table.uniques.push_back(index);
    }
    table.integer_key = table.key.size() == 1 && table.columns[table.key[0]].type == ColumnType::integer;
    store_.create_table(table);
  }

  void run(const std::vector<ContractStatement>& statements) override {
    store_.begin_local();
    for (auto& statement : statements) {
      switch (statement.op) {
        case ContractStatement::insert: store_.insert(statement.table, statement.row.view()); break;
        case ContractStatement::update:
          store_.update(statement.table, statement.key.view(), statement.row.view());
          break;
        case ContractStatement::remove: store_.remove(statement.table, statement.key.view()); break;
        case ContractStatement::truncate: store_.truncate(statement.table); break;
      }
    }
    store_.commit_local();
  }

  void reopen() override { store_.crash(); }
  bool replays_log() const override { return true; }
  bool has_truncate() const override { return true; }

 private:
  FixedWall wall_;
  MemoryStore store_;
};

void run_contract(Flavour flavour) {
  MemoryFixture fixture(flavour);
  for (auto& result : run_store_contract(fixture)) EXPECT_TRUE(result.ok) << result.name << ": " << result.message;
}

TEST(MemoryStore, KeepsTheContractAsPostgresDoes) { run_contract(Flavour::snapshot); }
TEST(MemoryStore, KeepsTheContractAsSqliteDoes) { run_contract(Flavour::single_writer); }

class PreparedTest : public ::testing::Test {
 protected:
  PreparedTest() : store_({"11111111-1111-4111-8111-111111111111", 0xab, "memory"}, wall_) {
    Table table;
    table.wire_name = "t";
    table.columns = {{"id", ColumnType::integer, "integer", true, false},
                     {"v", ColumnType::text, "text", false, false}};
    table.key = {0};
    table.integer_key = true;
    store_.create_table(table);
  }
  static OwnedRow row(std::int64_t id, const char* text) {
    Row row = {Value::of_integer(id), Value::of_text(text)};
    return OwnedRow(row);
  }
  LogRead read(std::size_t& entries) {
    entries = 0;
    store_.begin(TransactionKind::read);
    LogRead read = store_.read_log([&](const LogEntry&) { entries++; });
    store_.commit();
    return read;
  }
  FixedWall wall_;
  MemoryStore store_;
};

// Model, H2: the version is older than the moment at which the rows show.
TEST_F(PreparedTest, HoldsTheWatermarkBackUntilItShows) {
  store_.begin_local();
  store_.insert("t", row(1, "a").view());
  std::uint64_t id = store_.prepare_local();
  EXPECT_TRUE(store_.rows("t").empty());
  store_.begin_local();
  store_.insert("t", row(2, "b").view());
  Hlc later = store_.commit_local();
  std::size_t entries = 0;
  LogRead before = read(entries);
  EXPECT_EQ(entries, 1u);
  EXPECT_LT(before.watermark, later);
  store_.crash();
  store_.commit_prepared(id);
  store_.load_history([](const HistoryRecord&) {}, [](const LogEntry&) {});
  LogRead after = read(entries);
  EXPECT_EQ(entries, 2u);
  EXPECT_GE(after.watermark, later);
  EXPECT_EQ(store_.rows("t").size(), 2u);
}

TEST_F(PreparedTest, LocksItsRows) {
  store_.begin_local();
  store_.insert("t", row(1, "a").view());
  std::uint64_t id = store_.prepare_local();
  store_.begin_local();
  EXPECT_THROW(store_.insert("t", row(1, "b").view()), Error);
  store_.abort_local();
  store_.begin(TransactionKind::write);
  Row key_values = {Value::of_integer(1)};
  Key key = encode_key(key_values);
  KeyView keys[] = {key};
  std::vector<FoundRow> found;
  EXPECT_THROW(store_.find_rows(store_.table("t"), keys, found), Error);
  store_.rollback();
  store_.abort_prepared(id);
  EXPECT_TRUE(store_.rows("t").empty());
}

}  // namespace
}  // namespace rowmesh::testing
