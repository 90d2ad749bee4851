#include "shared/testing/store_contract.hpp"

#include "shared/testing/contract_bench.hpp"

namespace rowmesh::testing {

std::string ContractBench::simple_table(bool unique_name, const std::string& suffix) {
  ContractTable table;
  table.name = prefix_ + suffix;
  table.columns = {{"id", ColumnType::integer, true},
                   {"name", ColumnType::text, false},
                   {"amount", ColumnType::real, false},
                   {"data", ColumnType::bytes, false}};
  table.key = {"id"};
  if (unique_name) table.uniques = {{"name"}};
  make(table);
  return table.name;
}

// As the core does when the generation has grown.
void ContractBench::make(const ContractTable& table) {
  fixture_.create_table(table);
  store().tables();
}

std::string ContractBench::text_key_table() {
  ContractTable table;
  table.name = prefix_ + "_text";
  table.columns = {
      {"code", ColumnType::text, true}, {"place", ColumnType::integer, true}, {"note", ColumnType::text, false}};
  table.key = {"code", "place"};
  make(table);
  return table.name;
}

Table ContractBench::described(const std::string& name) {
  for (Table& table : store().tables())
    if (table.wire_name == name) return table;
  throw ContractFailure("tables() does not name " + name);
}

std::string ContractBench::name_of(TableId id) {
  for (const Table& table : store().tables())
    if (table.id == id) return table.wire_name;
  return "";
}

OwnedRow ContractBench::row(std::int64_t id, const char* name, double amount) {
  Row row = {Value::of_integer(id), name ? Value::of_text(name) : Value::of_null(), Value::of_real(amount),
             Value::of_bytes(std::string_view("\0\xff", 2))};
  return OwnedRow(row);
}

Key ContractBench::key(std::int64_t id) {
  Row key = {Value::of_integer(id)};
  return encode_key(key);
}

ContractStatement ContractBench::insert(const std::string& table, OwnedRow row) const {
  return {ContractStatement::insert, table, {}, std::move(row)};
}

ContractStatement ContractBench::update(const std::string& table, std::int64_t id, OwnedRow row) const {
  Row key = {Value::of_integer(id)};
  return {ContractStatement::update, table, OwnedRow(key), std::move(row)};
}

ContractStatement ContractBench::remove(const std::string& table, std::int64_t id) const {
  Row key = {Value::of_integer(id)};
  return {ContractStatement::remove, table, OwnedRow(key), {}};
}

ContractBench::Cut ContractBench::cut(const std::string& state) {
  Cut cut;
  store().begin(TransactionKind::read);
  cut.read = store().read_log([&](const LogEntry& entry) {
    cut.entries.push_back({std::to_string(entry.table), entry.op, Key(entry.key), entry.columns, entry.hlc});
  });
  store().commit();
  std::erase_if(cut.entries, [&](KeptEntry& entry) {
    entry.table = name_of(static_cast<TableId>(std::stoul(entry.table)));
    return !entry.table.starts_with(prefix_);
  });
  HistoryRecord record;
  record.kind = HistoryKind::cut;
  record.marker = cut.read.marker;
  record.state = state;
  record.data = "data of " + state;
  store().begin(TransactionKind::write);
  cut.sequence = store().append_history({&record, 1});
  store().commit();
  return cut;
}

std::vector<KeptEntry> ContractBench::read_all() { return cut().entries; }

void ContractBench::write(const std::vector<Table>& tables, const std::function<void()>& body) {
  std::vector<const Table*> locked;
  for (const Table& table : tables) locked.push_back(&table);
  for (int attempt = 0;; attempt++) {
    expect(attempt < 5, "log_must_be_read is true again and again");
    store().begin(TransactionKind::write, locked);
    if (!store().log_must_be_read()) break;
    store().rollback();
    read_all();
  }
  try {
    body();
  } catch (...) {
    store().rollback();
    throw;
  }
  store().commit();
}

std::vector<WriteResult> ContractBench::apply(const Table& table, const std::vector<RowWrite>& writes) {
  std::vector<ColumnType> types;
  for (const Column& column : table.columns) types.push_back(column.type);
  std::vector<WriteResult> results;
  store().write_rows(table, types, writes, results);
  expect(results.size() == writes.size(), "write_rows gave " + std::to_string(results.size()) + " results for " +
                                              std::to_string(writes.size()) + " writes");
  return results;
}

RowWrite ContractBench::write_insert(const Key& key, RowView row) const {
  RowWrite write;
  write.key = key;
  write.values = row;
  return write;
}

std::optional<OwnedRow> ContractBench::read(const Table& table, const Key& key) {
  std::optional<OwnedRow> row;
  KeyView keys[] = {key};
  store().begin(TransactionKind::read);
  store().read_rows(table, keys, [&](std::size_t index, KeyView found, RowView values) {
    expect(index == 0 && found == key, "read_rows gave another key than was asked for");
    row.emplace(values);
    return true;
  });
  store().commit();
  return row;
}

FoundRow ContractBench::find(const Table& table, const Key& key) {
  KeyView keys[] = {key};
  std::vector<FoundRow> found;
  store().find_rows(table, keys, found);
  expect(found.size() == 1, "find_rows gave " + std::to_string(found.size()) + " results for one key");
  return found[0];
}

std::vector<ContractResult> run_store_contract(StoreFixture& fixture, const std::string& only) {
  std::vector<ContractCheck> checks = log_checks();
  for (const ContractCheck& check : row_checks()) checks.push_back(check);
  for (const ContractCheck& check : more_checks()) checks.push_back(check);
  std::vector<ContractResult> results;
  for (const ContractCheck& check : checks) {
    if (!only.empty() && only != check.name) continue;
    ContractResult result{check.name, false, ""};
    try {
      ContractBench bench(fixture, std::string("contract_") + check.name);
      bench.read_all();
      check.run(bench);
      result.ok = true;
    } catch (const std::exception& failure) {
      result.message = failure.what();
    }
    fixture.store().rollback();
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace rowmesh::testing
