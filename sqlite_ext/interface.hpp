// What an application sees: SQL functions and tables named rowmesh_*. Everything here runs in the application's thread,
// on its connection and inside of its transaction: nothing commits, nothing keeps a prepared statement after the call.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

// Throw Error. Each registers its part of the interface.
void register_functions(sqlite3* db);          // all of the following
void register_table_functions(sqlite3* db);    // add_table, remove_table, suspend_table, resume_table
void register_server_functions(sqlite3* db);   // add_server ... test_server
void register_node_functions(sqlite3* db);     // version, debug, id, config, health, node, queue_size, enable, disable
void register_request_functions(sqlite3* db);  // copy, retry, discard, wait
void register_worker_functions(sqlite3* db);   // start, stop, run
void register_access_functions(sqlite3* db);   // set_dashboard_password, add_token, remove_token
void register_tables(sqlite3* db);             // rowmesh_status, rowmesh_tables, ...: virtual, read-only

// The arguments of one call. `name` without the prefix, for messages.
class Arguments {
 public:
  Arguments(const char* name, int count, sqlite3_value** values) : name_(name), count_(count), values_(values) {}
  int count() const { return count_; }
  bool is_null(int at) const { return at >= count_ || sqlite3_value_type(values_[at]) == SQLITE_NULL; }
  // Throws Error(config) unless it is a text that is not empty.
  std::string text(int at, const char* what) const;
  std::string text_or(int at, const std::string& otherwise) const;
  std::int64_t integer(int at, const char* what) const;
  // The JSON object at `at`, or {} when it is not given. Keys that are not in `known` (separated by spaces) are
  // refused.
  nlohmann::json options(int at, std::string_view known) const;

 private:
  const char* name_;
  int count_;
  sqlite3_value** values_;
};

// Members of an options object, with a sentence when the kind is wrong.
std::string option_text(const nlohmann::json& options, const char* key, const std::string& otherwise);
bool option_flag(const nlohmann::json& options, const char* key, bool otherwise);
std::int64_t option_integer(const nlohmann::json& options, const char* key, std::int64_t otherwise);

// What a function returns.
class Result {
 public:
  explicit Result(sqlite3_context* context) : context_(context) {}
  void text(std::string_view text) {
    sqlite3_result_text64(context_, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  void integer(std::int64_t number) { sqlite3_result_int64(context_, number); }
  void null() { sqlite3_result_null(context_); }

 private:
  sqlite3_context* context_;
};

enum class Safety {
  direct_only,  // changes configuration or touches the network: a hostile schema must not call it from a trigger or
                // view
  innocuous,    // may stand in a DEFAULT, a view or a trigger
};
// Bodies get the connection they were called on, and may throw. `least`..`most`: number of arguments.
using FunctionBody = void (*)(sqlite3* db, const Arguments& arguments, Result result);
void define(sqlite3* db, const char* name, int least, int most, Safety safety, FunctionBody body);

// Path of the database file. Throws Error(config) for ":memory:" and temporary databases.
std::string database_path(sqlite3* db);
// Creates rowmesh's tables if need be. Throws Error(config) for a database that cannot have rowmesh (in memory,
// read-only).
void require_writable(sqlite3* db);
// Throws Error(config) unless the file has rowmesh's tables.
void require_enabled(sqlite3* db);

}  // namespace rowmesh::sqlite
