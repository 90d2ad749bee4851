// The whole extension in one process, as an application loads it: two files, their workers' threads, writers and askers
// at the same time. What it is for is above all the sanitizers (./dev check address thread).
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "sqlite_ext/test_file.hpp"

extern "C" int sqlite3_rowmesh_init(sqlite3* db, char** message, const sqlite3_api_routines* api);

namespace rowmesh::sqlite {
namespace {

constexpr int writers = 2, statements = 150;

// A connection of its own thread.
class Connection {
 public:
  explicit Connection(const std::string& path, bool loaded) {
    sqlite3_open(path.c_str(), &db_);
    sqlite3_busy_timeout(db_, 60000);
    char* message = nullptr;
    if (loaded) {
      EXPECT_EQ(sqlite3_rowmesh_init(db_, &message, nullptr) & 0xff, SQLITE_OK) << (message ? message : "");
    }
    sqlite3_free(message);
  }
  ~Connection() { sqlite3_close(db_); }
  std::string run(const std::string& sql) {
    std::string text;
    auto collect = [](void* out, int columns, char** values, char**) {
      for (int i = 0; i < columns; i++)
        *static_cast<std::string*>(out) += std::string(values[i] ? values[i] : "null") + "|";
      return 0;
    };
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(db_, sql.c_str(), collect, &text, &message), SQLITE_OK)
        << sql << ": " << (message ? message : "");
    sqlite3_free(message);
    return text;
  }

 private:
  sqlite3* db_ = nullptr;
};

bool eventually(const std::function<bool()>& condition) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (std::chrono::steady_clock::now() < until) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

void set_up(Connection& node, int port, int other_port) {
  node.run("CREATE TABLE item(id INTEGER PRIMARY KEY, v TEXT, n INTEGER)");
  node.run("SELECT rowmesh_add_table('*')");
  node.run("SELECT rowmesh_config('listen', '127.0.0.1:" + std::to_string(port) + "')");
  node.run("SELECT rowmesh_add_server('other', 'http://127.0.0.1:" + std::to_string(other_port) +
           "', 'a secret of both')");
  node.run("SELECT rowmesh_start()");
}

void write_much(const std::string& path, int writer) {
  Connection plain(path, false);
  for (int i = 0; i < statements; i++) {
    int id = writer * 100000 + i;
    plain.run("INSERT INTO item VALUES(" + std::to_string(id) + ", 'text', 0)");
    plain.run("UPDATE item SET n = n + 1 WHERE id % 7 = " + std::to_string(i % 7) +
              " AND id / 100000 = " + std::to_string(writer));
    if (i % 10 == 9) plain.run("DELETE FROM item WHERE id = " + std::to_string(id - 5));
  }
}

TEST(Worker, TwoFilesInOneProcessUnderLoad) {
  TestFile left_file, right_file;
  Connection left(left_file.path(), true), right(right_file.path(), true);
  set_up(left, 21351, 21352);
  set_up(right, 21352, 21351);
  std::atomic<bool> writing = true;
  std::vector<std::thread> threads;
  for (int writer = 1; writer <= writers; writer++) {
    threads.emplace_back([&, writer] { write_much(left_file.path(), writer); });
    threads.emplace_back([&, writer] { write_much(right_file.path(), writer + 50); });
  }
  std::thread asker([&] {
    Connection third(left_file.path(), true);
    while (writing) {
      for (const char* question :
           {"SELECT * FROM rowmesh_status", "SELECT rowmesh_health()", "SELECT rowmesh_queue_size()",
            "SELECT rowmesh_id()", "SELECT rowmesh_wait(json_object('timeout_ms', 50))", "SELECT rowmesh_node()",
            "SELECT * FROM rowmesh_conflicts"})
        third.run(question);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
  });
  for (std::thread& thread : threads) thread.join();
  writing = false;
  asker.join();
  const char* content = "SELECT id, v, n FROM item ORDER BY id";
  EXPECT_TRUE(eventually([&] { return left.run(content) == right.run(content); }));
  EXPECT_EQ(left.run("SELECT count(*) FROM item"), std::to_string(2 * writers * (statements - statements / 10)) + "|");
  EXPECT_EQ(left.run("SELECT count(*) FROM rowmesh_quarantine"), "0|");
  left.run("SELECT rowmesh_stop()");
  right.run("SELECT rowmesh_stop()");
}

// A thread that ends while its file is loaded again, many times over.
TEST(Worker, StartsAndStopsManyTimes) {
  TestFile file;
  for (int round = 0; round < 15; round++) {
    Connection node(file.path(), true);
    if (round == 0) {
      node.run("CREATE TABLE item(id INTEGER PRIMARY KEY, v TEXT)");
      node.run("SELECT rowmesh_add_table('*')");
    }
    node.run("SELECT rowmesh_start()");
    node.run("INSERT INTO item(v) VALUES('x')");
    if (round % 3) node.run("SELECT rowmesh_health()");
    node.run("SELECT rowmesh_stop()");
  }
  EXPECT_EQ(file.rows("SELECT count(*) FROM item"), "15");
}

}  // namespace
}  // namespace rowmesh::sqlite
