// The log, history, side rows and clock.
#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "shared/testing/contract_bench.hpp"

namespace rowmesh::testing {
namespace {

std::string text_of(const std::vector<KeptEntry>& entries) {
  std::string text;
  for (const KeptEntry& entry : entries) {
    text += text.empty() ? "" : ", ";
    text += "IURT"[static_cast<int>(entry.op)];
    if (entry.op != LogOp::truncate) text += " " + key_to_text(entry.key);
  }
  return text.empty() ? "nothing" : text;
}

void expect_entries(const std::vector<KeptEntry>& entries, const std::string& wanted) {
  expect(text_of(entries) == wanted, "the log gave " + text_of(entries) + " instead of " + wanted);
}

void gives_each_change_once(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a")), bench.insert(table, bench.row(2, "b"))});
  auto first = bench.cut();
  std::set<Key> keys;
  for (auto& entry : first.entries) {
    expect(entry.op == LogOp::insert, "an insert came as something else");
    keys.insert(entry.key);
  }
  expect(first.entries.size() == 2 && keys == std::set<Key>{bench.key(1), bench.key(2)},
         "two inserts: " + text_of(first.entries));
  expect(first.read.any, "LogRead::any is false although there were entries");
  expect(first.entries[0].hlc == first.entries[1].hlc, "entries of one transaction bear different versions");
  expect(first.entries[0].hlc <= first.read.watermark, "the watermark is below an entry that was given");
  expect_entries(bench.cut().entries, "nothing");
  bench.fixture().run({bench.update(table, 1, bench.row(1, "A"))});
  auto second = bench.cut();
  expect_entries(second.entries, "U 1");
  expect(second.entries[0].hlc > first.read.watermark, "a later change has a version below an earlier watermark");
  auto& columns = second.entries[0].columns;
  expect(columns.has(1) && !columns.has(0) && !columns.has(2), "an update of `name` names other columns");
  bench.fixture().run({bench.remove(table, 1)});
  expect_entries(bench.cut().entries, "R 1");
}

void keeps_each_rows_order(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(7, "a"))});
  bench.fixture().run({bench.remove(table, 7)});
  bench.fixture().run({bench.insert(table, bench.row(7, "b"))});
  bench.fixture().run({bench.update(table, 7, bench.row(7, "c"))});
  auto entries = bench.cut().entries;
  expect_entries(entries, "I 7, R 7, I 7, U 7");
  expect(std::is_sorted(entries.begin(), entries.end(), [](auto& left, auto& right) { return left.hlc < right.hlc; }),
         "the versions of one row go back");
}

void folds_one_transaction(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  bench.read_all();
  bench.fixture().run({bench.remove(table, 1), bench.insert(table, bench.row(1, "b")),
                       bench.insert(table, bench.row(2, "x")), bench.update(table, 2, bench.row(2, "y"))});
  auto entries = bench.cut().entries;
  std::string one, two;
  for (auto& entry : entries) {
    expect(entry.hlc == entries[0].hlc, "entries of one transaction bear different versions");
    (entry.key == bench.key(1) ? one : two) += "IURT"[static_cast<int>(entry.op)];
  }
  expect(one == "RI", "removed and inserted again: the log gave " + one + " for the row");
  expect(two == "IU" || two == "I", "inserted and updated: the log gave " + two + " for the row");
}

void notes_nothing_for_nothing(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  bench.read_all();
  bench.fixture().run({bench.update(table, 1, bench.row(1, "a"))});
  expect_entries(bench.cut().entries, "nothing");
}

void splits_a_key_change(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  bench.read_all();
  bench.fixture().run({bench.update(table, 1, bench.row(5, "a"))});
  auto entries = bench.cut().entries;
  std::sort(entries.begin(), entries.end(), [](auto& left, auto& right) { return left.key < right.key; });
  expect_entries(entries, "R 1, I 5");
}

void truncate_swallows_its_transaction(ContractBench& bench) {
  if (!bench.fixture().has_truncate()) return;
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  bench.read_all();
  bench.fixture().run({bench.insert(table, bench.row(2, "b")),
                       {ContractStatement::truncate, table, {}, {}},
                       bench.insert(table, bench.row(3, "c"))});
  Table described = bench.described(table);
  const Table* locked[] = {&described};
  bench.store().begin(TransactionKind::write, locked);
  bool must = bench.store().log_must_be_read();
  bench.store().rollback();
  expect(must, "log_must_be_read is false although a TRUNCATE waits");
  // A store may leave out what the truncate swallowed, or give it before, in the same version.
  auto entries = bench.cut().entries;
  if (entries.size() == 3 && entries[0].hlc == entries[1].hlc) entries.erase(entries.begin());
  expect_entries(entries, "T, I 3");
}

void composite_keys_are_canonical(ContractBench& bench) {
  std::string name = bench.text_key_table();
  Row values = {Value::of_text("north"), Value::of_integer(-3), Value::of_text("n")};
  bench.fixture().run({bench.insert(name, OwnedRow(values))});
  auto entries = bench.cut().entries;
  Row key = {values[0], values[1]};
  expect(entries.size() == 1 && entries[0].key == encode_key(key), "the log's key is not encode_key of its values");
  Table table = bench.described(name);
  std::string reason;
  std::optional<Key> canonical;
  bench.write({table}, [&] {
    canonical = bench.store().canonical_key(table, key, {ColumnType::text, ColumnType::integer}, &reason);
  });
  expect(canonical == entries[0].key, "canonical_key differs from the log's key. " + reason);
  Row wrong = {values[0], Value::of_text("not a number")};
  reason.clear();
  bench.write({table}, [&] {
    canonical = bench.store().canonical_key(table, wrong, {ColumnType::text, ColumnType::text}, &reason);
  });
  expect(canonical || !reason.empty(), "canonical_key refuses a key without a reason");
}

void replays_history(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  auto first = bench.cut("first");
  bench.fixture().run({bench.insert(table, bench.row(2, "b"))});
  auto second = bench.cut("second");
  expect(second.sequence > first.sequence, "history sequences do not grow");
  bench.fixture().run({bench.insert(table, bench.row(3, "c"))});
  bench.fixture().reopen();

  std::string now;
  std::map<std::string, std::string> replayed;
  std::int64_t last = 0;
  Table described = bench.described(table);
  bench.store().load_history(
      [&](const HistoryRecord& record) {
        expect(record.sequence > last, "history comes out of order");
        last = record.sequence;
        now = record.state;
        if (now == "first" || now == "second")
          expect(record.data == "data of " + now && record.kind == HistoryKind::cut, "a history record changed");
      },
      [&](const LogEntry& entry) {
        if (entry.table == described.id) replayed[now] += key_to_text(entry.key) + ";";
      });
  expect(last >= second.sequence, "load_history does not give the newest record");
  if (bench.fixture().replays_log())
    expect(replayed["first"] == "1;" && replayed["second"] == "2;" && replayed.size() == 2,
           "the entries of the cuts were not replayed with their records");
  expect_entries(bench.cut().entries, "I 3");
}

// Symptom: after kill -9 of a SQLite node's host a run of its rows never came to the others, and nothing said so.
// Mechanism: the records of two cuts were written by one transaction; the restart gave the entries of both to the first
// one, which the other server had already, so they were not sent again. Fix: a cut's marker names its last entry.
void cuts_written_together_keep_apart(ContractBench& bench) {
  std::string table = bench.simple_table();
  std::vector<HistoryRecord> records;
  for (int i : {1, 2}) {
    bench.fixture().run({bench.insert(table, bench.row(i, "a"))});
    bench.store().begin(TransactionKind::read);
    LogRead read = bench.store().read_log([](const LogEntry&) {});
    bench.store().commit();
    records.push_back({0, HistoryKind::cut, read.marker, "cut " + std::to_string(i), "data"});
  }
  bench.write({}, [&] { bench.store().append_history(records); });
  bench.fixture().reopen();
  std::string now;
  std::map<std::string, std::string> replayed;
  Table described = bench.described(table);
  bench.store().load_history([&](const HistoryRecord& record) { now = record.state; },
                             [&](const LogEntry& entry) {
                               if (entry.table == described.id) replayed[now] += key_to_text(entry.key) + ";";
                             });
  expect(replayed["cut 1"] == "1;" && replayed["cut 2"] == "2;",
         "cut 1 was given back '" + replayed["cut 1"] + "' and cut 2 '" + replayed["cut 2"] + "'");
}

// Symptom: after a restart a deleted row was gone once more, though its number was another row's by then. Mechanism:
// changes of pruned positions were still in PostgreSQL's log, and were read as those of the first position that was
// left. Mend: the store knows up to where the log is pruned.
void prune_keeps_what_is_needed(ContractBench& bench) {
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  auto first = bench.cut("pruned");
  bench.fixture().run({bench.insert(table, bench.row(2, "b"))});
  auto second = bench.cut("kept");
  bench.store().prune_history(first.sequence);
  std::string replayed;
  TableId id = bench.described(table).id;
  auto states = [&] {
    std::set<std::string> states;
    replayed.clear();
    bench.fixture().reopen();
    bench.store().load_history([&](const HistoryRecord& record) { states.insert(record.state); },
                               [&](const LogEntry& entry) {
                                 if (entry.table == id) replayed += key_to_text(entry.key) + ";";
                               });
    return states;
  };
  auto left = states();
  expect(left.count("kept") && !left.count("pruned"), "prune_history took the wrong records");
  expect(replayed == "2;", "of what the log has, '" + replayed + "' was given back, and '1;' was pruned");
  bench.store().prune_history(second.sequence);
  bench.fixture().run({bench.insert(table, bench.row(3, "c"))});
  expect(states().count("kept"), "prune_history took the newest state, with which a restart begins");
  expect_entries(bench.cut().entries, "I 3");
}

void history_goes_with_its_transaction(ContractBench& bench) {
  HistoryRecord record;
  record.kind = HistoryKind::applied;
  record.state = "rolled back";
  bench.store().begin(TransactionKind::write);
  bench.store().append_history({&record, 1});
  bench.store().rollback();
  record.state = "applied here";
  record.data = std::string(200000, 'x') + std::string("\0y", 2);
  bench.store().begin(TransactionKind::write);
  bench.store().append_history({&record, 1});
  bench.store().commit();
  bench.fixture().reopen();
  bool found = false;
  bench.store().load_history(
      [&](const HistoryRecord& stored) {
        expect(stored.state != "rolled back", "a history record outlived its transaction's rollback");
        found = found || (stored.state == record.state && stored.data == record.data && stored.kind == record.kind);
      },
      [](const LogEntry&) {});
  expect(found, "a committed history record is gone or changed");
}

void asks_for_the_log(ContractBench& bench) {
  std::string name = bench.simple_table();
  bench.fixture().run({bench.insert(name, bench.row(1, "a"))});
  bench.read_all();
  Table table = bench.described(name);
  const Table* locked[] = {&table};
  auto must = [&] {
    bench.store().begin(TransactionKind::write, locked);
    bool must = bench.store().log_must_be_read() || bench.find(table, bench.key(1)).newer_than_log;
    bench.store().rollback();
    return must;
  };
  expect(!must(), "a row whose change was read counts as newer than the log");
  bench.fixture().run({bench.update(name, 1, bench.row(1, "b"))});
  expect(must(), "neither log_must_be_read nor newer_than_log tells of a change that was not read yet");
  expect_entries(bench.cut().entries, "U 1");
  expect(!must(), "a row whose change was read counts as newer than the log, second time");
}

void tells_of_unread_deletes(ContractBench& bench) {
  std::string name = bench.simple_table();
  bench.fixture().run({bench.insert(name, bench.row(1, "a")), bench.insert(name, bench.row(2, "b"))});
  bench.read_all();
  Table table = bench.described(name);
  const Table* locked[] = {&table};
  auto unread = [&] {
    bench.store().begin(TransactionKind::write, locked);
    bool must = bench.store().log_must_be_read();
    std::vector<Key> removed;
    bench.store().unread_log([&](const LogEntry& entry) {
      if (entry.table == table.id && entry.op == LogOp::remove) removed.emplace_back(entry.key);
    });
    bench.store().rollback();
    return must ? std::vector<Key>{bench.key(1)} : removed;
  };
  expect(unread().empty(), "unread_log gives what was read");
  bench.fixture().run({bench.remove(name, 1)});
  expect(unread() == std::vector<Key>{bench.key(1)}, "unread_log does not tell of a delete that was not read yet");
  expect_entries(bench.cut().entries, "R 1");
  expect(unread().empty(), "unread_log gives what was read, second time");
}

void notes_what_the_core_does(ContractBench& bench) {
  std::string name = bench.simple_table();
  Table table = bench.described(name);
  bench.write({table}, [&] {
    OwnedRow row = bench.row(1, "a");
    Key key = bench.key(1);
    bench.find(table, key);
    expect(bench.apply(table, {bench.write_insert(key, row.view())})[0].status == WriteResult::ok, "insert failed");
    bench.store().note_local(table, LogOp::insert, key, ColumnSet::all());
  });
  expect_entries(bench.cut().entries, "I 1");
  bench.store().begin(TransactionKind::write);
  bench.store().note_local(table, LogOp::update, bench.key(1), ColumnSet::all());
  bench.store().rollback();
  expect_entries(bench.cut().entries, "nothing");
}

void keeps_side_rows(ContractBench& bench) {
  std::string name = bench.simple_table();
  Table table = bench.described(name);
  SideRow row;
  row.table = table.id;
  row.key = bench.key(1);
  row.packed = std::string("\0packed\xff", 8);
  row.kind = "quarantined";
  row.reason = "because";
  row.code = "23514";
  row.key_text = "1";
  row.payload = "{\"name\":\"a\"}";
  row.origin = "00000000000000ab";
  row.since_ms = 1700000000123;
  auto put = [&](const SideRow& row) {
    bench.store().begin(TransactionKind::write);
    std::int64_t id = bench.store().put_side(row);
    bench.store().commit();
    return id;
  };
  auto ours = [&] {
    auto rows = bench.store().load_side();
    std::erase_if(rows, [&](const SideRow& row) { return row.table != table.id; });
    return rows;
  };
  std::int64_t id = put(row);
  row.packed += "2";
  expect(put(row) == id, "the id of a side row changed when it was replaced");
  SideRow other = row;
  other.key = bench.key(2);
  expect(put(other) != id, "two side rows bear one id");
  bench.store().begin(TransactionKind::write);
  bench.store().remove_side(table.id, bench.key(1));
  bench.store().rollback();
  bench.fixture().reopen();
  bench.store().load_history([](const HistoryRecord&) {}, [](const LogEntry&) {});
  auto rows = ours();
  expect(rows.size() == 2, "two side rows were put, " + std::to_string(rows.size()) + " are there after reopening");
  const SideRow& kept = rows[0].key == row.key ? rows[0] : rows[1];
  expect(kept.id == id && kept.packed == row.packed && kept.kind == row.kind && kept.reason == row.reason &&
             kept.code == row.code && kept.key_text == row.key_text &&
             nlohmann::json::parse(kept.payload) == nlohmann::json::parse(row.payload) && kept.origin == row.origin &&
             kept.since_ms == row.since_ms,
         "a side row came back changed");
  bench.store().begin(TransactionKind::write);
  bench.store().remove_side(table.id, bench.key(1));
  bench.store().remove_side(table.id, bench.key(2));
  bench.store().commit();
  expect(ours().empty(), "removed side rows are still there");
}

void keeps_conflicts(ContractBench& bench) {
  ConflictRow row;
  row.table = "items";
  row.key_text = "1";
  row.type = "update_origin_differs";
  row.resolution = "keep_local";
  row.loser = "{\"name\":\"a\"}";
  row.image = std::string("\0image\xff", 7);
  bench.store().begin(TransactionKind::write);
  bench.store().add_conflict(row);
  bench.store().rollback();
  bench.store().begin(TransactionKind::write);
  bench.store().add_conflict(row);
  bench.store().commit();
  // A rolled back number may be used up.
  auto image = [&](std::int64_t id) { return bench.store().conflict_image(id); };
  std::int64_t id = image(1).empty() ? 2 : 1;
  expect(image(id) == row.image, "the image of a conflict came back changed");
  expect(image(id + 1).empty(), "a conflict that was never listed has an image");
  bench.store().begin(TransactionKind::write);
  bench.store().note_restored(id, "restored");
  bench.store().note_restored(id + 1, "restored");
  bench.store().commit();
  expect(image(id) == row.image, "a conflict that was restored has lost its image");
}

void clock_never_goes_back(ContractBench& bench) {
  VersionClock& clock = bench.store().clock();
  Hlc first = clock.tick();
  Hlc second = clock.tick();
  expect(second > first && clock.now() == second, "tick does not grow, or now() is not the last value");
  clock.observe(second - 1);
  expect(clock.now() == second, "observe of an older value moved the clock");
  clock.observe(second + 5);
  expect(clock.now() >= second + 5 && clock.tick() > second + 5, "the clock did not take over what it observed");
  std::string table = bench.simple_table();
  bench.fixture().run({bench.insert(table, bench.row(1, "a"))});
  auto cut = bench.cut();
  expect(cut.entries.size() == 1 && cut.entries[0].hlc > second + 5,
         "a change has a version below what the clock observed");
  // What a cut has read is below what the state beside it promises; here that is a text. So of what was not read yet.
  bench.fixture().run({bench.insert(table, bench.row(2, "b"))});
  bench.fixture().reopen();
  bench.store().load_history([](const HistoryRecord&) {}, [](const LogEntry&) {});
  Hlc begun = bench.store().clock().tick();
  auto later = bench.cut();
  expect(later.entries.size() == 1 && later.entries[0].hlc > cut.entries[0].hlc &&
             (begun > later.entries[0].hlc || bench.store().clock().now() >= later.entries[0].hlc),
         "after reopening the clock is behind its own changes");
}

void generation_grows(ContractBench& bench) {
  std::uint64_t before = bench.store().config_generation();
  expect(bench.store().config_generation() == before, "config_generation grows by itself");
  Table table = bench.described(bench.simple_table(true));
  expect(bench.store().config_generation() > before, "config_generation did not grow with a new table");
  expect(table.columns.size() == 4 && table.columns[1].name == "name" && table.columns[1].type == ColumnType::text &&
             table.columns[0].type == ColumnType::integer && table.key == std::vector<ColumnIndex>{0} &&
             table.integer_key,
         "tables() describes the table wrongly");
  expect(table.uniques.size() == 1 && table.uniques[0].columns == std::vector<ColumnIndex>{1},
         "tables() does not name the unique index once");
  Table other = bench.described(bench.text_key_table());
  expect(!other.integer_key && other.key.size() == 2, "a key of two columns counts as an integer key");
  Identity identity = bench.store().identity();
  expect(identity.origin != 0 && identity.node.size() == 36, "identity() gives no origin or no UUID");
}

}  // namespace

std::vector<ContractCheck> log_checks() {
  return {{"describes_tables", generation_grows},
          {"log_gives_each_change_once", gives_each_change_once},
          {"log_keeps_each_rows_order", keeps_each_rows_order},
          {"log_folds_one_transaction", folds_one_transaction},
          {"log_notes_nothing_for_nothing", notes_nothing_for_nothing},
          {"log_splits_a_key_change", splits_a_key_change},
          {"log_truncate", truncate_swallows_its_transaction},
          {"log_composite_keys", composite_keys_are_canonical},
          {"log_asked_for", asks_for_the_log},
          {"log_unread", tells_of_unread_deletes},
          {"log_note_local", notes_what_the_core_does},
          {"history_replay", replays_history},
          {"history_two_cuts", cuts_written_together_keep_apart},
          {"history_prune", prune_keeps_what_is_needed},
          {"history_transaction", history_goes_with_its_transaction},
          {"side_rows", keeps_side_rows},
          {"conflicts", keeps_conflicts},
          {"clock", clock_never_goes_back}};
}

}  // namespace rowmesh::testing
