// Thin RAII over SQLite's C API, reached through the pointers that the host hands to an extension: never link
// libsqlite3, two copies of it in one process break each other's file locks.
#pragma once
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/model/error.hpp"
#include "shared/model/value.hpp"

namespace rowmesh::sqlite {

// What a result code means to the core: BUSY, LOCKED, FULL, IOERR, NOMEM are transient, CORRUPT and NOTADB corrupt, the
// rest permanent.
[[noreturn]] void throw_error(sqlite3* db, int code, const std::string& what);

// For people and programs that read the log: "SQLITE_BUSY", "SQLITE_CONSTRAINT_CHECK", ...
std::string code_name(int extended_code);

// "name" with quotes, for any identifier.
std::string quoted_name(std::string_view identifier);
// 'text' with quotes.
std::string quoted_text(std::string_view text);

class Statement {
 public:
  Statement() = default;
  // Prepares for repeated use. Throws Error.
  Statement(sqlite3* db, const std::string& sql);
  ~Statement();
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  explicit operator bool() const { return handle_ != nullptr; }
  sqlite3_stmt* handle() const { return handle_; }

  // Parameters count from 1. Texts and bytes must live until reset() or the next bind.
  Statement& bind(int at, std::int64_t number);
  Statement& bind(int at, std::string_view text);
  Statement& bind_bytes(int at, std::string_view bytes);
  Statement& bind_null(int at);
  Statement& bind_value(int at, const Value& value);  // in SQLite's own form: no conversion but boolean to 0 or 1

  bool step();     // true: a row. Throws Error
  int try_step();  // the result code: for those who know what to do with constraint violations
  void run();      // to the end, then reset
  void reset();    // also forgets the bindings

  std::int64_t integer(int column) const { return sqlite3_column_int64(handle_, column); }
  double real(int column) const { return sqlite3_column_double(handle_, column); }
  bool is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }
  std::string_view text(int column) const;  // valid until the next step
  std::string_view bytes(int column) const;
  std::string string(int column) const { return std::string(text(column)); }
  Value value(int column) const;  // by storage class

 private:
  sqlite3* db_ = nullptr;
  sqlite3_stmt* handle_ = nullptr;
};

// Resets on the way out, so that no statement keeps a read transaction open.
class Resetter {
 public:
  explicit Resetter(Statement& statement) : statement_(statement) {}
  ~Resetter() { statement_.reset(); }
  Resetter(const Resetter&) = delete;
  Resetter& operator=(const Resetter&) = delete;

 private:
  Statement& statement_;
};

void execute(sqlite3* db, const std::string& sql);
// First column of the first row; `otherwise` if there is none or it is null.
std::int64_t query_integer(sqlite3* db, const std::string& sql, std::int64_t otherwise = 0);

// All or nothing inside of whatever transaction the caller has.
class Savepoint {
 public:
  explicit Savepoint(sqlite3* db);
  ~Savepoint();
  void release();
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;

 private:
  sqlite3* db_;
  bool outermost_;
  bool open_ = true;
};

}  // namespace rowmesh::sqlite
