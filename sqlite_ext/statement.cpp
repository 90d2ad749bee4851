#include "sqlite_ext/statement.hpp"

#include <utility>

namespace rowmesh::sqlite {
namespace {

ErrorKind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_SCHEMA: return ErrorKind::transient;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorKind::corrupt;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return ErrorKind::config;
    case SQLITE_MISUSE: return ErrorKind::bug;
    default: return ErrorKind::permanent;
  }
}

}  // namespace

std::string code_name(int extended_code) {
  switch (extended_code) {
    case SQLITE_CONSTRAINT_CHECK: return "SQLITE_CONSTRAINT_CHECK";
    case SQLITE_CONSTRAINT_NOTNULL: return "SQLITE_CONSTRAINT_NOTNULL";
    case SQLITE_CONSTRAINT_UNIQUE: return "SQLITE_CONSTRAINT_UNIQUE";
    case SQLITE_CONSTRAINT_PRIMARYKEY: return "SQLITE_CONSTRAINT_PRIMARYKEY";
    case SQLITE_CONSTRAINT_ROWID: return "SQLITE_CONSTRAINT_ROWID";
    case SQLITE_CONSTRAINT_TRIGGER: return "SQLITE_CONSTRAINT_TRIGGER";
    case SQLITE_CONSTRAINT_FOREIGNKEY: return "SQLITE_CONSTRAINT_FOREIGNKEY";
    case SQLITE_CONSTRAINT_DATATYPE: return "SQLITE_CONSTRAINT_DATATYPE";
    default: break;
  }
  switch (extended_code & 0xff) {
    case SQLITE_BUSY: return "SQLITE_BUSY";
    case SQLITE_LOCKED: return "SQLITE_LOCKED";
    case SQLITE_NOMEM: return "SQLITE_NOMEM";
    case SQLITE_READONLY: return "SQLITE_READONLY";
    case SQLITE_IOERR: return "SQLITE_IOERR";
    case SQLITE_CORRUPT: return "SQLITE_CORRUPT";
    case SQLITE_FULL: return "SQLITE_FULL";
    case SQLITE_CANTOPEN: return "SQLITE_CANTOPEN";
    case SQLITE_TOOBIG: return "SQLITE_TOOBIG";
    case SQLITE_CONSTRAINT: return "SQLITE_CONSTRAINT";
    case SQLITE_MISMATCH: return "SQLITE_MISMATCH";
    case SQLITE_NOTADB: return "SQLITE_NOTADB";
    case SQLITE_ERROR: return "SQLITE_ERROR";
    default: return "SQLITE_" + std::to_string(extended_code);
  }
}

void throw_error(sqlite3* db, int code, const std::string& what) {
  int extended = db ? sqlite3_extended_errcode(db) : code;
  if ((extended & 0xff) != (code & 0xff)) extended = code;
  std::string text = what + ": " + (db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
  throw Error(kind_of(code), code_name(extended), text);
}

std::string quoted_name(std::string_view identifier) {
  std::string text = "\"";
  for (char letter : identifier) {
    if (letter == '"') text += '"';
    text += letter;
  }
  return text + '"';
}

std::string quoted_text(std::string_view text) {
  std::string sql = "'";
  for (char letter : text) {
    if (letter == '\'') sql += '\'';
    sql += letter;
  }
  return sql + '\'';
}

Statement::Statement(sqlite3* db, const std::string& sql) : db_(db) {
  int code = sqlite3_prepare_v3(db, sql.c_str(), static_cast<int>(sql.size()) + 1, SQLITE_PREPARE_PERSISTENT, &handle_,
                                nullptr);
  if (code != SQLITE_OK) throw_error(db, code, sql.substr(0, 200));
}

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement::Statement(Statement&& other) noexcept : db_(other.db_), handle_(std::exchange(other.handle_, nullptr)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(handle_, other.handle_);
  return *this;
}

Statement& Statement::bind(int at, std::int64_t number) {
  sqlite3_bind_int64(handle_, at, number);
  return *this;
}

// A null pointer would bind NULL, and an empty view may have one.
Statement& Statement::bind(int at, std::string_view text) {
  int code = sqlite3_bind_text64(handle_, at, text.empty() ? "" : text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) throw_error(db_, code, "cannot bind a text of " + std::to_string(text.size()) + " bytes");
  return *this;
}

Statement& Statement::bind_bytes(int at, std::string_view bytes) {
  int code = sqlite3_bind_blob64(handle_, at, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) throw_error(db_, code, "cannot bind " + std::to_string(bytes.size()) + " bytes");
  return *this;
}

Statement& Statement::bind_null(int at) {
  sqlite3_bind_null(handle_, at);
  return *this;
}

Statement& Statement::bind_value(int at, const Value& value) {
  switch (value.kind) {
    case ValueKind::integer:
    case ValueKind::boolean: return bind(at, value.integer);
    case ValueKind::real: sqlite3_bind_double(handle_, at, value.real); return *this;
    case ValueKind::text: return bind(at, value.text);
    case ValueKind::bytes: return bind_bytes(at, value.text);
    case ValueKind::null: return bind_null(at);
    case ValueKind::omitted: break;
  }
  throw Error(ErrorKind::bug, "omitted", "an omitted value was to be written");
}

int Statement::try_step() { return sqlite3_step(handle_); }

bool Statement::step() {
  int code = try_step();
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  try {
    throw_error(db_, code, std::string("while running ") + std::string(sqlite3_sql(handle_)).substr(0, 120));
  } catch (...) {
    sqlite3_reset(handle_);
    throw;
  }
}

void Statement::run() {
  while (step()) {}
  reset();
}

void Statement::reset() {
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
}

std::string_view Statement::text(int column) const {
  auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return text ? std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)))
              : std::string_view();
}

std::string_view Statement::bytes(int column) const {
  auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle_, column));
  return bytes ? std::string_view(bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)))
               : std::string_view();
}

Value Statement::value(int column) const {
  switch (sqlite3_column_type(handle_, column)) {
    case SQLITE_INTEGER: return Value::of_integer(integer(column));
    case SQLITE_FLOAT: return Value::of_real(real(column));
    case SQLITE_TEXT: return Value::of_text(text(column));
    case SQLITE_BLOB: return Value::of_bytes(bytes(column));
    default: return Value::of_null();
  }
}

void execute(sqlite3* db, const std::string& sql) {
  int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) throw_error(db, code, sql.substr(0, 200));
}

std::int64_t query_integer(sqlite3* db, const std::string& sql, std::int64_t otherwise) {
  Statement query(db, sql);
  return query.step() && !query.is_null(0) ? query.integer(0) : otherwise;
}

// A savepoint outside of a transaction begins as a reader; once it wants to write, another writer (our own worker) may
// have been there, and SQLite then answers BUSY at once, whatever the timeout.
Savepoint::Savepoint(sqlite3* db) : db_(db), outermost_(sqlite3_get_autocommit(db) != 0) {
  execute(db, outermost_ ? "BEGIN IMMEDIATE" : "SAVEPOINT rowmesh");
}

Savepoint::~Savepoint() {
  if (open_)
    sqlite3_exec(db_, outermost_ ? "ROLLBACK" : "ROLLBACK TO rowmesh; RELEASE rowmesh", nullptr, nullptr, nullptr);
}

void Savepoint::release() {
  execute(db_, outermost_ ? "COMMIT" : "RELEASE rowmesh");
  open_ = false;
}

}  // namespace rowmesh::sqlite
