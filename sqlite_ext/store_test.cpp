// The store beside other writers, and over crashes.
#include <atomic>
#include <map>
#include <thread>

#include "sqlite_ext/test_file.hpp"

namespace rowmesh::sqlite {
namespace {

HistoryRecord cut_record(const TestFile& file, const std::string& state) {
  HistoryRecord record;
  record.kind = HistoryKind::cut;
  record.marker = file.last_read.marker;
  record.state = state;
  return record;
}

void append(Store& store, const HistoryRecord& record) {
  store.begin(TransactionKind::write);
  store.append_history({&record, 1});
  store.commit();
}

class StoreBesideWriters : public ::testing::TestWithParam<const char*> {};

// Every position is a state that the file really had: the sum over the accounts never changes.
TEST_P(StoreBesideWriters, LosesNothingAndSeesWholeTransactions) {
  TestFile file;
  file.run(std::string("PRAGMA journal_mode=") + GetParam());
  file.run("CREATE TABLE a(id INTEGER PRIMARY KEY, v INT)");
  for (int i = 0; i < 20; i++) file.run("INSERT INTO a VALUES(" + std::to_string(i) + ",0)");
  add_table(file.db(), "a");
  Table table = file.table("a");  // opened before anybody writes: that would have to wait for locks
  std::atomic<bool> stop{false};
  std::atomic<int> written{0};
  std::thread writer([&] {
    sqlite3* db = nullptr;
    sqlite3_open(file.path().c_str(), &db);
    sqlite3_busy_timeout(db, 20000);
    for (int i = 0; !stop; i++) {
      std::string to = std::to_string(i % 19 + 1);
      execute(db, "BEGIN IMMEDIATE; UPDATE a SET v=v-1 WHERE id=0; UPDATE a SET v=v+1 WHERE id=" + to + "; COMMIT");
      written++;
      if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    sqlite3_close(db);
  });
  std::map<std::int64_t, std::int64_t> known;
  Hlc last = 0;
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  auto read = [&] {
    std::vector<Key> keys;
    try {
      file.store().begin(TransactionKind::read);
      LogRead log = file.store().read_log([&](const LogEntry& entry) {
        keys.emplace_back(entry.key);
        EXPECT_GT(entry.hlc, last) << "a version at or below a watermark that was announced";
      });
      last = log.watermark;
      std::vector<KeyView> views(keys.begin(), keys.end());
      file.store().read_rows(table, views, [&](std::size_t, KeyView, RowView row) {
        known[row[0].integer] = row[1].integer;
        return true;
      });
      std::int64_t sum = 0;
      for (auto& [id, value] : known) sum += value;
      EXPECT_EQ(sum, 0) << "half of a transaction was seen";
      file.store().commit();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::transient) << error.what();
      file.store().rollback();
    }
  };
  while (std::chrono::steady_clock::now() < until) read();
  stop = true;
  writer.join();
  read();
  EXPECT_EQ(known[0], -written);
  EXPECT_EQ(file.rows("SELECT count(*) FROM rowmesh_log"), "0");
}

INSTANTIATE_TEST_SUITE_P(Journals, StoreBesideWriters, ::testing::Values("WAL", "DELETE", "TRUNCATE"));

TEST(StoreHistory, GivesEntriesToTheCutBehindThem) {
  TestFile file;
  file.run("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  add_table(file.db(), "t");
  auto load = [&] {
    std::string text;
    file.close_store();
    file.store().load_history([&](const HistoryRecord& record) { text += record.state + ":"; },
                              [&](const LogEntry& entry) { text += key_to_text(entry.key) + " "; });
    return text;
  };
  file.run("INSERT INTO t VALUES(1)");
  file.read();
  file.run("INSERT INTO t VALUES(2)");
  file.read();
  append(file.store(), cut_record(file, "one"));
  HistoryRecord applied = cut_record(file, "applied");
  applied.kind = HistoryKind::applied;
  append(file.store(), applied);
  file.run("INSERT INTO t VALUES(3)");
  file.read();  // given, but the process ends before its cut is written
  EXPECT_EQ(load(), "one:1 2 applied:");
  EXPECT_EQ(file.read(), "I 3");
  append(file.store(), cut_record(file, "two"));
  EXPECT_EQ(load(), "one:1 2 applied:two:3 ");
  EXPECT_EQ(file.read(), "");
}

TEST(StoreHistory, PrunesEntriesWithTheirCut) {
  TestFile file;
  file.run("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  add_table(file.db(), "t");
  file.run("INSERT INTO t VALUES(1)");
  file.read();
  append(file.store(), cut_record(file, "one"));
  file.run("INSERT INTO t VALUES(2)");
  file.read();
  HistoryRecord applied = cut_record(file, "applied");
  applied.kind = HistoryKind::applied;
  file.store().begin(TransactionKind::write);
  std::int64_t upto = file.store().append_history({&applied, 1});
  file.store().commit();
  file.store().prune_history(upto);
  EXPECT_EQ(file.rows("SELECT kind FROM rowmesh_history"), "2 1")
      << "the second cut is not written yet; the newest state stays";
  append(file.store(), cut_record(file, "two"));
  EXPECT_GT(query_integer(file.db(), "SELECT max(sequence) FROM rowmesh_history"), upto);
}

TEST(StoreHistory, AsksForTheLogWhenASchemaChangeFoldedIt) {
  TestFile file;
  file.run("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  add_table(file.db(), "t");
  file.read();
  file.run("INSERT INTO t VALUES(1); ALTER TABLE t ADD COLUMN v");
  file.store().maintain();
  EXPECT_EQ(file.rows("SELECT count(*) FROM rowmesh_log"), "0");
  file.store().begin(TransactionKind::write);
  EXPECT_TRUE(file.store().log_must_be_read());
  file.store().rollback();
  EXPECT_EQ(file.read(), "I 1");
}

TEST(StoreLog, FoldsInSlices) {
  TestFile file;
  file.run("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  add_table(file.db(), "t");
  file.run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<35000) INSERT INTO t SELECT i FROM n");
  file.store().begin(TransactionKind::read);
  std::size_t count = 0;
  std::set<Hlc> versions;
  file.store().read_log([&](const LogEntry& entry) { count++, versions.insert(entry.hlc); });
  file.store().commit();
  EXPECT_EQ(count, 35000u);
  EXPECT_EQ(versions.size(), 1u) << "one statement, one version";
}

TEST(StoreOpen, RefusesAFileWithoutTables) {
  TestFile file;
  file.run("CREATE TABLE t(id)");
  EXPECT_THROW(file.store(), Error);
}

}  // namespace
}  // namespace rowmesh::sqlite
