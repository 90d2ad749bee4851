// Rows: find, write, read, scan.
#include <cmath>
#include <limits>

#include "shared/testing/contract_bench.hpp"

namespace rowmesh::testing {
namespace {

void expect_row(const std::optional<OwnedRow>& row, const OwnedRow& wanted, const std::string& what) {
  expect(row.has_value(), what + ": the row is not there");
  expect(row->size() == wanted.size(), what + ": the row has another number of columns");
  for (std::size_t i = 0; i < wanted.size(); i++)
    expect(same_value((*row)[i], wanted[i]), what + ": column " + std::to_string(i) + " has another value");
}

void insert_one(ContractBench& bench, const Table& table, const OwnedRow& row) {
  Key key = encode_key(row.view().first(1));
  bench.write({table}, [&] {
    expect(!bench.find(table, key).exists, "find_rows sees a row that is not there");
    auto result = bench.apply(table, {bench.write_insert(key, row.view())})[0];
    expect(result.status == WriteResult::ok, "an insert failed: " + result.code + " " + result.reason);
  });
}

void writes_come_back_unchanged(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  struct Case {
    std::int64_t id;
    Value name, amount, data;
  };
  const Case cases[] = {
      {std::numeric_limits<std::int64_t>::min(), Value::of_text(""), Value::of_real(0.1), Value::of_bytes("")},
      {-1, Value::of_null(), Value::of_null(), Value::of_null()},
      {0, Value::of_text("caf\xc3\xa9 'quoted' \\ \n\t"), Value::of_real(1e308), Value::of_bytes({"\0\x01\xff", 3})},
      {std::numeric_limits<std::int64_t>::max(), Value::of_text("x"), Value::of_real(5e-324), Value::of_bytes("b")},
  };
  for (const Case& given : cases) {
    Row row = {Value::of_integer(given.id), given.name, given.amount, given.data};
    insert_one(bench, table, OwnedRow(row));
  }
  for (const Case& given : cases) {
    Row row = {Value::of_integer(given.id), given.name, given.amount, given.data};
    expect_row(bench.read(table, bench.key(given.id)), OwnedRow(row), "row " + std::to_string(given.id));
  }
}

void applied_rows_are_not_captured(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  insert_one(bench, table, bench.row(1, "a"));
  insert_one(bench, table, bench.row(2, "b"));
  bench.write({table}, [&] {
    Key one = bench.key(1), two = bench.key(2);
    KeyView keys[] = {one, two};
    std::vector<FoundRow> found;
    bench.store().find_rows(table, keys, found);
    expect(found.size() == 2 && found[0].exists && found[1].exists, "find_rows does not find the rows");
    OwnedRow changed = bench.row(1, "changed");
    RowWrite update = bench.write_insert(one, changed.view());
    update.kind = WriteKind::update;
    update.handle = found[0].handle;
    RowWrite remove;
    remove.kind = WriteKind::remove;
    remove.key = two;
    remove.handle = found[1].handle;
    for (auto& result : bench.apply(table, {update, remove}))
      expect(result.status == WriteResult::ok, "a write failed: " + result.reason);
  });
  expect_row(bench.read(table, bench.key(1)), bench.row(1, "changed"), "updated");
  expect(!bench.read(table, bench.key(2)), "a removed row is still there");
  expect(bench.read_all().empty(), "what the core wrote was captured as a local change");
  bench.write({table}, [&] { bench.store().truncate(table); });
  expect(!bench.read(table, bench.key(1)), "truncate left a row");
  expect(bench.read_all().empty(), "a truncate of the core was captured as a local change");
}

void updates_only_named_columns(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  insert_one(bench, table, bench.row(1, "a", 1.5));
  bench.write({table}, [&] {
    Key key = bench.key(1);
    OwnedRow row = bench.row(1, "other", 2.5);
    ColumnSet columns;
    columns.add(2);
    RowWrite write = bench.write_insert(key, row.view());
    write.kind = WriteKind::update;
    write.handle = bench.find(table, key).handle;
    write.columns = &columns;
    expect(bench.apply(table, {write})[0].status == WriteResult::ok, "the update failed");
  });
  expect_row(bench.read(table, bench.key(1)), bench.row(1, "a", 2.5), "partly updated");
}

void an_insert_over_a_row_is_raced(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  insert_one(bench, table, bench.row(1, "a"));
  bench.store().begin(TransactionKind::write);
  Key one = bench.key(1), two = bench.key(2);
  OwnedRow first = bench.row(1, "b"), second = bench.row(2, "c");
  bench.find(table, one);
  auto results = bench.apply(table, {bench.write_insert(one, first.view()), bench.write_insert(two, second.view())});
  bench.store().rollback();
  expect(results[0].status == WriteResult::raced, "an insert over an existing row is not `raced`");
  expect(results[1].status == WriteResult::ok, "the write after a raced one failed");
  expect_row(bench.read(table, one), bench.row(1, "a"), "after the rollback");
  expect(!bench.read(table, two), "a rolled back insert is there");
}

void unique_is_named_and_stands_alone(ContractBench& bench) {
  Table table = bench.described(bench.simple_table(true));
  insert_one(bench, table, bench.row(1, "taken"));
  bench.write({table}, [&] {
    Key two = bench.key(2), three = bench.key(3);
    OwnedRow collides = bench.row(2, "taken"), fine = bench.row(3, "free");
    auto results =
        bench.apply(table, {bench.write_insert(two, collides.view()), bench.write_insert(three, fine.view())});
    expect(results[0].status == WriteResult::unique && results[0].unique_index == 0,
           "a taken value is not reported as `unique`");
    expect(results[1].status == WriteResult::ok, "a collision took another row with it");
  });
  expect(!bench.read(table, bench.key(2)), "a row that collides was written");
  expect_row(bench.read(table, bench.key(3)), bench.row(3, "free"), "beside a collision");

  bench.store().begin(TransactionKind::read);
  OwnedRow asked = bench.row(9, "taken"), none = bench.row(9, "nobody"), null = bench.row(9, nullptr);
  auto holder = bench.store().find_unique(table, 0, asked.view());
  auto nobody = bench.store().find_unique(table, 0, none.view());
  auto of_null = bench.store().find_unique(table, 0, null.view());
  bench.store().commit();
  expect(holder == bench.key(1), "find_unique does not find who has the value");
  expect(!nobody && !of_null, "find_unique finds a row for a free value or a null");
}

void a_refused_row_stands_alone(ContractBench& bench) {
  ContractTable wanted;
  wanted.name = "contract_refused_strict";
  wanted.columns = {{"id", ColumnType::integer, true}, {"name", ColumnType::text, true}};
  wanted.key = {"id"};
  bench.fixture().create_table(wanted);
  Table table = bench.described(wanted.name);
  Row good = {Value::of_integer(1), Value::of_text("a")}, bad = {Value::of_integer(2), Value::of_null()},
      last = {Value::of_integer(3), Value::of_text("c")};
  Key one = bench.key(1), two = bench.key(2), three = bench.key(3);
  bench.write({table}, [&] {
    auto results = bench.apply(
        table, {bench.write_insert(one, good), bench.write_insert(two, bad), bench.write_insert(three, last)});
    expect(results[0].status == WriteResult::ok && results[2].status == WriteResult::ok,
           "a refused row took others with it");
    expect(results[1].status == WriteResult::refused, "a null in a NOT NULL column is not `refused`");
    expect(!results[1].code.empty() && !results[1].reason.empty(), "a refusal has no code or no reason");
  });
  expect_row(bench.read(table, one), OwnedRow(good), "before the refused one");
  expect(!bench.read(table, two), "a refused row was written");
  expect_row(bench.read(table, three), OwnedRow(last), "after the refused one");
  expect(bench.read_all().empty(), "applying was captured");
}

void a_rollback_leaves_nothing(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  insert_one(bench, table, bench.row(1, "a"));
  bench.store().begin(TransactionKind::write);
  Key one = bench.key(1), two = bench.key(2);
  OwnedRow row = bench.row(1, "b"), other = bench.row(2, "c");
  RowWrite update = bench.write_insert(one, row.view());
  update.kind = WriteKind::update;
  update.handle = bench.find(table, one).handle;
  bench.apply(table, {update, bench.write_insert(two, other.view())});
  bench.store().rollback();
  bench.store().rollback();  // also without a transaction
  expect_row(bench.read(table, one), bench.row(1, "a"), "after a rollback");
  expect(!bench.read(table, two), "an insert outlived its rollback");
}

void sees_what_it_wrote(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  bench.write({table}, [&] {
    Key key = bench.key(1);
    OwnedRow row = bench.row(1, "a");
    bench.apply(table, {bench.write_insert(key, row.view())});
    FoundRow found = bench.find(table, key);
    expect(found.exists, "a transaction does not find what it wrote");
    expect(!found.newer_than_log, "what the core wrote counts as a local change");
    bool seen = false;
    KeyView keys[] = {key};
    bench.store().read_rows(table, keys, [&](std::size_t, KeyView, RowView) { return seen = true; });
    expect(seen, "a transaction does not read what it wrote");
  });
}

void scan_pages(ContractBench& bench) {
  std::string name = bench.simple_table();
  std::vector<ContractStatement> inserts;
  for (std::int64_t id = -20; id < 30; id++) inserts.push_back(bench.insert(name, bench.row(id, "x")));
  bench.fixture().run(inserts);
  bench.read_all();
  Table table = bench.described(name);
  std::vector<std::int64_t> ids;
  Key after;
  for (int page = 0; page < 20; page++) {
    std::size_t seen = 0;
    bench.store().begin(TransactionKind::read);
    bench.store().scan_rows(table, after, [&](std::size_t index, KeyView key, RowView row) {
      expect(index == seen, "scan_rows counts wrongly");
      expect(key == bench.key(row[0].integer), "scan_rows gives a key that is not the row's");
      ids.push_back(row[0].integer);
      after = Key(key);
      return ++seen < 7;
    });
    bench.store().commit();
    if (seen < 7) break;
  }
  expect(ids.size() == 50, "scan_rows in pages gave " + std::to_string(ids.size()) + " rows of 50");
  for (std::size_t i = 0; i < ids.size(); i++)
    expect(ids[i] == static_cast<std::int64_t>(i) - 20, "scan_rows is not in key order");
}

void reads_only_what_is_there(ContractBench& bench) {
  std::string name = bench.simple_table();
  bench.fixture().run({bench.insert(name, bench.row(2, "b")), bench.insert(name, bench.row(4, "d")),
                       bench.insert(name, bench.row(6, "f"))});
  bench.read_all();
  Table table = bench.described(name);
  Key wanted[] = {bench.key(1), bench.key(2), bench.key(4), bench.key(5), bench.key(6)};
  std::vector<KeyView> keys(std::begin(wanted), std::end(wanted));
  std::string seen;
  auto read = [&](std::size_t limit) {
    seen.clear();
    std::size_t count = 0;
    bench.store().begin(TransactionKind::read);
    bench.store().read_rows(table, keys, [&](std::size_t index, KeyView key, RowView row) {
      expect(key == keys[index], "read_rows gives a wrong index");
      seen += std::to_string(row[0].integer);
      return ++count < limit;
    });
    bench.store().commit();
    return seen;
  };
  expect(read(99) == "246", "read_rows gave the rows " + seen + " instead of 246");
  expect(read(2) == "24", "read_rows goes on after the visitor said stop");
  bench.write({table}, [&] {
    std::vector<FoundRow> found;
    bench.store().find_rows(table, keys, found);
    std::string exists;
    for (const FoundRow& row : found) exists += row.exists ? '1' : '0';
    expect(exists == "01101", "find_rows found " + exists + " instead of 01101");
  });
}

void keys_for_renumbering(ContractBench& bench) {
  std::string name = bench.simple_table();
  bench.fixture().run({bench.insert(name, ContractBench::row(5, "a")), bench.insert(name, ContractBench::row(9, "b"))});
  bench.read_all();
  Table table = bench.described(name);
  std::int64_t first = 0, second = 0;
  std::vector<Key> found, none;
  bench.write({table}, [&] {
    first = bench.store().next_free_key(table);
    OwnedRow row = ContractBench::row(first, "c");
    bench.apply(table, {bench.write_insert(ContractBench::key(first), row.view())});
    second = bench.store().next_free_key(table);
    found = bench.store().find_referencing(table, 0, 9);
    none = bench.store().find_referencing(table, 0, 7);
  });
  expect(first > 9, "next_free_key gave " + std::to_string(first) + " where 9 is taken");
  expect(second > first, "next_free_key gave a number twice");
  expect(found == std::vector<Key>{ContractBench::key(9)}, "find_referencing did not find the row");
  expect(none.empty(), "find_referencing found a row that is not there");
}

// An update of no column: the core has the key shipped anew.
void a_key_noted_without_columns(ContractBench& bench) {
  std::string name = bench.simple_table();
  bench.fixture().run({bench.insert(name, ContractBench::row(5, "a"))});
  bench.read_all();
  Table table = bench.described(name);
  bench.write({table}, [&] { bench.store().note_local(table, LogOp::update, ContractBench::key(5), {}); });
  auto entries = bench.read_all();
  expect(entries.size() == 1 && entries[0].op == LogOp::update && entries[0].key == ContractBench::key(5),
         "the key did not come back from the log");
  for (std::size_t column = 0; column < table.columns.size(); column++)
    expect(!entries[0].columns.has(static_cast<ColumnIndex>(column)),
           "column " + table.columns[column].name + " was not named, but came back");
}

}  // namespace

std::vector<ContractCheck> row_checks() {
  return {{"rows_come_back_unchanged", writes_come_back_unchanged},
          {"rows_applied_are_not_captured", applied_rows_are_not_captured},
          {"rows_update_named_columns", updates_only_named_columns},
          {"rows_raced", an_insert_over_a_row_is_raced},
          {"rows_unique", unique_is_named_and_stands_alone},
          {"rows_refused", a_refused_row_stands_alone},
          {"rows_rollback", a_rollback_leaves_nothing},
          {"rows_own_writes", sees_what_it_wrote},
          {"rows_scan", scan_pages},
          {"rows_free_keys", keys_for_renumbering},
          {"rows_noted_without_columns", a_key_noted_without_columns},
          {"rows_read_and_find", reads_only_what_is_there}};
}

}  // namespace rowmesh::testing
