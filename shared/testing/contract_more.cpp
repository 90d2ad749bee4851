// What the core asks of a store beside log and rows: what a row becomes when it is stored, whether a change is known,
// lazily written transactions, a clock that begins again, conflicts.
#include "shared/sync/node_state.hpp"
#include "shared/testing/contract_bench.hpp"

namespace rowmesh::testing {
namespace {

// Verify and repair compare with what a row becomes here, not with what came.
void as_stored_is_what_comes_back(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  std::vector<ColumnType> types;
  for (const Column& column : table.columns) types.push_back(column.type);
  const Row given[] = {
      {Value::of_integer(1), Value::of_text("caf\xc3\xa9 \n"), Value::of_real(0.1), Value::of_bytes("b")},
      {Value::of_integer(2), Value::of_null(), Value::of_null(), Value::of_null()}};
  for (const Row& row : given) {
    OwnedRow stored;
    Key key = encode_key(std::span(row).first(1));
    bench.write({table}, [&] {
      stored = bench.store().as_stored(table, types, row);
      bench.apply(table, {bench.write_insert(key, row)});
    });
    auto back = bench.read(table, key);
    expect(back.has_value(), "the row is not there");
    for (std::size_t i = 0; i < row.size(); i++)
      expect(same_value(stored[i], (*back)[i]), "as_stored differs in column " + std::to_string(i));
  }
}

void knows_its_own_changes(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  auto cut = bench.cut();
  expect(cut.entries.size() == 1, "one insert gave another number of entries");
  Hlc version = cut.entries[0].hlc;
  bench.fixture().reopen();
  bench.store().load_history([](const HistoryRecord&) {}, [](const LogEntry&) {});
  expect(bench.store().has_local(version), "a change of this history is not known after a restart");
  expect(!bench.store().has_local(version + ms_to_hlc(1000)), "a change is known that was never made");
}

void a_lazy_transaction_shows(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  bench.read_all();
  const Table* locked[] = {&table};
  bench.store().begin(TransactionKind::write, locked);
  OwnedRow row = bench.row(1, "lazily");
  bench.apply(table, {bench.write_insert(bench.key(1), row.view())});
  bench.store().commit_lazily();
  expect(bench.read(table, bench.key(1)).has_value(), "a transaction that was written lazily does not show");
}

// A table of which the engine knows nothing stands for one that is locked by somebody else, for too long.
void what_cannot_begin_leaves_nothing_open(ContractBench& bench) {
  Table table = bench.described(bench.simple_table()), unknown = table;
  unknown.id = 32767;
  bench.read_all();
  const Table* locked[] = {&unknown};
  try {
    bench.store().begin(TransactionKind::write, locked);
    bench.store().rollback();
  } catch (const Error&) {}  // nobody can roll back what has not begun
  bench.write({table}, [&] { bench.apply(table, {bench.write_insert(bench.key(1), bench.row(1, "a").view())}); });
  expect(bench.read(table, bench.key(1)).has_value(), "after a transaction that could not begin nothing is written");
}

// After a wrong clock was put right, versions and watermarks begin again, lower than they were.
void the_clock_begins_again(ContractBench& bench) {
  std::string table = bench.simple_table();
  Hlc now = bench.store().clock().tick(), ahead = now + ms_to_hlc(3'600'000);
  bench.store().clock().observe(ahead);
  bench.store().begin(TransactionKind::write);
  bench.store().restart_clock(now);
  bench.store().commit();
  expect(bench.store().clock().now() < ahead, "the clock did not go back");
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  auto cut = bench.cut();
  expect(!cut.entries.empty() && cut.entries[0].hlc > now, "a version does not lie above where the clock began again");
  expect(cut.entries[0].hlc < ahead, "a version is as far ahead as the clock was");
  expect(cut.read.watermark < ahead, "the watermark is as far ahead as the clock was");
}

// Symptom: after a kill -9 a row was there twice, or a deleted one was back. Mechanism: SQLite gives versions when it
// reads the log, and read it at the start, before the core had loaded what it had promised: so what was written last
// came below versions that this node had given before it. Mend: the store goes on from the promise.
void what_is_written_last_is_newest_after_a_crash(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.read_all();
  bench.store().clock().observe(bench.store().clock().tick() + ms_to_hlc(2000));
  Hlc given = bench.store().clock().tick();
  HistoryRecord record;
  record.kind = HistoryKind::applied;
  record.state = NodeState().encode(given + ms_to_hlc(1000));
  bench.store().begin(TransactionKind::write);
  bench.store().append_history({&record, 1});
  bench.store().commit();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  bench.fixture().reopen();
  bench.store().tables();
  bench.store().load_history([](const HistoryRecord&) {}, [](const LogEntry&) {});
  auto cut = bench.cut();
  expect(cut.entries.size() == 1, "what was written before the crash was not read once");
  expect(cut.entries[0].hlc > given, "what was written last has a version below one that was given before it");
}

void side_rows_go_with_their_transaction(ContractBench& bench) {
  Table table = bench.described(bench.simple_table());
  SideRow side;
  side.table = table.id;
  side.key = bench.key(1);
  side.packed = "packed";
  side.kind = "quarantined";
  side.key_text = "1";
  auto waiting = [&] {
    std::size_t count = 0;
    for (const SideRow& row : bench.store().load_side()) count += row.table == table.id;
    return count;
  };
  bench.store().begin(TransactionKind::write);
  bench.store().put_side(side);
  bench.store().rollback();
  expect(waiting() == 0, "a side row outlived the rollback of its transaction");
  bench.store().begin(TransactionKind::write);
  std::int64_t id = bench.store().put_side(side);
  bench.store().commit();
  bench.store().begin(TransactionKind::write);
  side.packed = "packed anew";
  expect(bench.store().put_side(side) == id, "a side row got another id when it was replaced");
  bench.store().commit();
  expect(waiting() == 1, "a side row was added where it was to be replaced");
  bench.store().begin(TransactionKind::write);
  bench.store().remove_side(table.id, side.key);
  bench.store().rollback();
  expect(waiting() == 1, "a side row was removed by a transaction that was rolled back");
}

}  // namespace

std::vector<ContractCheck> more_checks() {
  return {{"stored_form", as_stored_is_what_comes_back},
          {"own_changes", knows_its_own_changes},
          {"lazy_commit", a_lazy_transaction_shows},
          {"failed_begin", what_cannot_begin_leaves_nothing_open},
          {"clock_again", the_clock_begins_again},
          {"promised_clock", what_is_written_last_is_newest_after_a_crash},
          {"side_rollback", side_rows_go_with_their_transaction}};
}

}  // namespace rowmesh::testing
