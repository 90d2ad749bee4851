// The door between SQLite and the functions: arguments, results, and errors that become sentences.
#include <nlohmann/json.hpp>

#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

struct Definition {
  const char* name;
  FunctionBody body;
};

// No exception may pass through SQLite's C frames.
void call(sqlite3_context* context, int count, sqlite3_value** values) noexcept {
  auto* definition = static_cast<const Definition*>(sqlite3_user_data(context));
  try {
    definition->body(sqlite3_context_db_handle(context), Arguments(definition->name, count, values), Result(context));
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  } catch (const std::exception& error) {
    std::string text = std::string("rowmesh_") + definition->name + ": " + error.what();
    sqlite3_result_error(context, text.c_str(), static_cast<int>(text.size()));
  }
}

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "wrong_argument", text); }

std::string listed(std::string_view words) {
  std::string list(words);
  for (std::size_t at = 0; (at = list.find(' ', at)) != std::string::npos; at += 2) list.replace(at, 1, ", ");
  return list;
}

bool is_among(std::string_view word, std::string_view words) {
  return (" " + std::string(words) + " ").find(" " + std::string(word) + " ") != std::string::npos;
}

}  // namespace

void define(sqlite3* db, const char* name, int least, int most, Safety safety, FunctionBody body) {
  int flags = SQLITE_UTF8 | (safety == Safety::direct_only ? SQLITE_DIRECTONLY : SQLITE_INNOCUOUS);
  std::string full_name = std::string("rowmesh_") + name;
  for (int count = least; count <= most; ++count) {
    auto release = [](void* definition) { delete static_cast<Definition*>(definition); };
    // SQLite owns the definition from here on, also when this fails.
    int code = sqlite3_create_function_v2(db, full_name.c_str(), count, flags, new Definition{name, body}, call,
                                          nullptr, nullptr, release);
    if (code != SQLITE_OK) throw_error(db, code, "registering the function " + full_name);
  }
}

std::string Arguments::text(int at, const char* what) const {
  if (is_null(at)) refuse(std::string(what) + " is missing");
  std::string text = text_or(at, "");
  if (text.empty()) refuse(std::string(what) + " must not be empty");
  return text;
}

std::string Arguments::text_or(int at, const std::string& otherwise) const {
  if (is_null(at)) return otherwise;
  auto* text = reinterpret_cast<const char*>(sqlite3_value_text(values_[at]));
  if (!text) throw std::bad_alloc();
  return std::string(text, sqlite3_value_bytes(values_[at]));
}

std::int64_t Arguments::integer(int at, const char* what) const {
  if (is_null(at) || sqlite3_value_numeric_type(values_[at]) != SQLITE_INTEGER)
    refuse(std::string(what) + " must be a whole number");
  return sqlite3_value_int64(values_[at]);
}

nlohmann::json Arguments::options(int at, std::string_view known) const {
  if (is_null(at)) return nlohmann::json::object();
  auto options = nlohmann::json::parse(text_or(at, ""), nullptr, false);
  if (!options.is_object())
    refuse("the last argument is one JSON object with options, for example json_object('" +
           std::string(known.substr(0, known.find(' '))) + "', ...); known options: " + listed(known));
  for (auto& [key, value] : options.items())
    if (!is_among(key, known)) refuse("there is no option '" + key + "'; known options: " + listed(known));
  return options;
}

std::string option_text(const nlohmann::json& options, const char* key, const std::string& otherwise) {
  auto at = options.find(key);
  if (at == options.end() || at->is_null()) return otherwise;
  if (!at->is_string()) refuse(std::string("the option '") + key + "' must be a text");
  return at->get<std::string>();
}

bool option_flag(const nlohmann::json& options, const char* key, bool otherwise) {
  auto at = options.find(key);
  if (at == options.end() || at->is_null()) return otherwise;
  if (at->is_boolean()) return at->get<bool>();
  // json_object('enabled', 0): SQLite's own JSON functions have no way to say false but json('false').
  if (at->is_number_integer() && (*at == 0 || *at == 1)) return *at == 1;
  refuse(std::string("the option '") + key + "' must be true or false");
}

std::int64_t option_integer(const nlohmann::json& options, const char* key, std::int64_t otherwise) {
  auto at = options.find(key);
  if (at == options.end() || at->is_null()) return otherwise;
  if (!at->is_number_integer()) refuse(std::string("the option '") + key + "' must be a whole number");
  return at->get<std::int64_t>();
}

std::string database_path(sqlite3* db) {
  const char* path = sqlite3_db_filename(db, "main");
  if (!path || !*path)
    throw Error(ErrorKind::config, "no_file",
                "this database has no file (':memory:' or temporary), so nothing could be replicated after its "
                "connection closes: open a file");
  return path;
}

void require_writable(sqlite3* db) {
  database_path(db);
  if (sqlite3_db_readonly(db, "main") == 1)
    throw Error(ErrorKind::config, "read_only",
                "this database is open read-only: open it for writing, and check the rights of the file");
  ensure_schema(db);
}

void require_enabled(sqlite3* db) {
  if (is_enabled(db)) return;
  // "Could not look" is not "is not there": somebody may keep the file for himself (locking_mode=EXCLUSIVE).
  query_integer(db, "SELECT count(*) FROM main.sqlite_master");
  throw Error(
      ErrorKind::config, "not_enabled",
      "this database is not replicated yet: begin with SELECT rowmesh_add_table('*') and SELECT rowmesh_start()");
}

void register_functions(sqlite3* db) {
  register_table_functions(db);
  register_server_functions(db);
  register_node_functions(db);
  register_request_functions(db);
  register_worker_functions(db);
  register_access_functions(db);
}

}  // namespace rowmesh::sqlite
