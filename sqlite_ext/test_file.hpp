// A SQLite file in a directory of its own, and an application's connection to it.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sqlite_ext/capture.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/store.hpp"

namespace rowmesh::sqlite {

struct TestWall : WallClock {
  std::uint64_t now_ms() override {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count());
  }
};

class TestFile {
 public:
  TestFile() {
    char name[] = "/tmp/rowmesh-test-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/app.db";
    sqlite3_open(path_.c_str(), &db_);
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, 5000);
    run("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF");
  }
  ~TestFile() {
    store_.reset();
    sqlite3_close(db_);
    std::filesystem::remove_all(directory_);
  }

  sqlite3* db() { return db_; }
  const std::string& path() const { return path_; }
  void run(const std::string& sql) { execute(db_, sql); }
  // The result code of the application's statement.
  int try_run(const std::string& sql) { return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); }
  // Rows with '|' between columns and ' ' between rows, by a connection that knows nothing of rowmesh.
  std::string rows(const std::string& sql) {
    Statement query(db_, sql);
    std::string text;
    while (query.step()) {
      text += text.empty() ? "" : " ";
      for (int column = 0; column < sqlite3_column_count(query.handle()); column++)
        text += (column ? "|" : "") + (query.is_null(column) ? std::string("null") : query.string(column));
    }
    return text;
  }

  SqliteStore& store() {
    if (!store_)
      store_ = std::make_unique<SqliteStore>(path_, wall_, [this](char, const std::string& text) { notices += text; });
    return *store_;
  }
  void close_store() { store_.reset(); }

  // The log as the core sees it: "I 1, U 2(name), R 3".
  std::string read() {
    auto tables = store().tables();
    std::string text;
    store().begin(TransactionKind::read);
    last_read = store().read_log([&](const LogEntry& entry) {
      text += (text.empty() ? "" : ", ") + std::string(1, "IURT"[static_cast<int>(entry.op)]) + " " +
              key_to_text(entry.key);
      last_hlc = entry.hlc;
      if (entry.op != LogOp::update) return;
      std::string names;
      for (const Table& table : tables)
        if (table.id == entry.table && !entry.columns.is_all())
          for (std::size_t i = 0; i < table.columns.size(); i++)
            if (entry.columns.has(static_cast<ColumnIndex>(i)))
              names += (names.empty() ? "" : " ") + table.columns[i].name;
      text += "(" + (entry.columns.is_all() ? "all" : names) + ")";
    });
    store().commit();
    return text;
  }

  Table table(const std::string& name) {
    for (Table& table : store().tables())
      if (table.local_name == name) return table;
    throw std::runtime_error("no table " + name);
  }

  // One write of the core, in a transaction of its own.
  WriteResult write(const std::string& name, WriteKind kind, const Row& values, const ColumnSet* columns = nullptr,
                    std::vector<ColumnType> types = {}) {
    Table table = this->table(name);
    if (types.empty())
      for (const Column& column : table.columns) types.push_back(column.type);
    Row key_values;
    std::vector<ColumnType> key_types;
    for (ColumnIndex at : table.key) key_values.push_back(values[at]), key_types.push_back(types[at]);
    std::string reason;
    auto key = store().canonical_key(table, key_values, key_types, &reason);
    if (!key) return {WriteResult::refused, 0, "key", reason};
    RowWrite write{kind, *key, 0, values, columns};
    std::vector<WriteResult> results;
    store().begin(TransactionKind::write);
    store().write_rows(table, types, {&write, 1}, results);
    store().commit();
    return results[0];
  }

  LogRead last_read;
  Hlc last_hlc = 0;
  std::string notices;

 private:
  std::string directory_, path_;
  sqlite3* db_ = nullptr;
  TestWall wall_;
  std::unique_ptr<SqliteStore> store_;
};

}  // namespace rowmesh::sqlite
