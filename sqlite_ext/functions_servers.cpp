// rowmesh_add_server and its kin: with whom this node replicates.
#include <nlohmann/json.hpp>

#include "shared/sync/server_options.hpp"
#include "sqlite_ext/addresses.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/server_check.hpp"

namespace rowmesh::sqlite {
namespace {

[[noreturn]] void refuse(const std::string& code, const std::string& text) {
  throw Error(ErrorKind::config, code, text);
}

std::string checked_secret(const std::string& secret) {
  if (secret.empty())
    refuse("no_secret",
           "the secret must not be empty: both servers are given the same one, for example the output of 'openssl rand "
           "-hex 32'");
  return secret;
}

std::string checked_direction(const std::string& direction) {
  if (direction != "both" && direction != "push" && direction != "pull")
    refuse("bad_direction",
           "the direction is 'both', 'push' (we only ship to it) or 'pull' (we only take from it), not '" + direction +
               "'");
  return direction;
}

// Empty: none was given.
std::string checked_copy(const nlohmann::json& options) {
  std::string copy = option_text(options, "copy", "");
  bool given = options.contains("copy") && !options["copy"].is_null();
  if (given && copy != "pull" && copy != "push" && copy != "none")
    refuse("wrong_argument",
           "the option 'copy' is 'pull' (take what it has), 'push' (give it what is here) or 'none' (changes only)");
  return copy;
}

// {"copy": "pull"}: begin with what that server has; {"copy": "push"}: give it what is here.
void request_copy(sqlite3* db, const std::string& server, const std::string& direction) {
  std::string request = nlohmann::json{{"server", server}, {"direction", direction}, {"on_existing", "fail"}}.dump();
  Statement insert(db, "INSERT INTO main.rowmesh_request(kind, argument) VALUES('copy', ?1)");
  insert.bind(1, request).run();
}

// {"tables": ["a", "b"]}: only these are exchanged with it, by their names on the wire; ["*"] or null: all.
void set_tables(sqlite3* db, const std::string& server, const nlohmann::json& given) {
  Statement update(db, "UPDATE main.rowmesh_server SET tables=?1 WHERE name=?2");
  update.bind(2, server);
  if (given.is_null() || given == nlohmann::json::array({"*"})) {
    update.bind_null(1);
    update.run();
    return;
  }
  if (!given.is_array())
    refuse("wrong_argument", "the option 'tables' is a list of table names, as [\"person\", \"note\"]");
  nlohmann::json names = nlohmann::json::array();
  for (auto& name : given) {
    std::string text = name.is_string() ? name.get<std::string>() : name.dump();
    Statement query(
        db,
        "SELECT wire_name FROM main.rowmesh_table WHERE wire_name=?1 OR name=?1 COLLATE NOCASE ORDER BY wire_name<>?1");
    if (!query.bind(1, text).step())
      refuse("not_replicated", "table " + text + " is not replicated: call rowmesh_add_table('" + text +
                                   "') before a server is to get it");
    names.push_back(query.string(0));
  }
  std::string json = names.dump();
  update.bind(1, json).run();
}

void set_column(sqlite3* db, const std::string& server, const std::string& column, const std::string& value) {
  Statement update(db, "UPDATE main.rowmesh_server SET " + column + "=?1 WHERE name=?2");
  update.bind(1, value).bind(2, server).run();
}

constexpr const char* kept_options[] = {"batch_rows", "batch_bytes", "timeout_ms",      "compression",
                                        "rate_limit", "schedule",    "retention_hours", "first_copy"};

void set_options(sqlite3* db, const std::string& server, const nlohmann::json& given) {
  Statement query(db, "SELECT options FROM main.rowmesh_server WHERE name=?1");
  query.bind(1, server).step();
  nlohmann::json options = nlohmann::json::parse(query.string(0), nullptr, false);
  query.reset();
  if (!options.is_object()) options = nlohmann::json::object();
  for (const char* option : kept_options)
    if (given.contains(option) && !given[option].is_null()) options[option] = given[option];
  parse_server_options(options.dump());
  set_column(db, server, "options", options.dump());
}

void add_server_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string name = arguments.text(0, "the server's name");
  std::string url = arguments.is_null(1) ? "" : checked_url(arguments.text(1, "the URL"));
  std::string secret = checked_secret(arguments.text_or(2, ""));
  auto options = arguments.options(3, "direction enabled copy tables");
  std::string direction = checked_direction(option_text(options, "direction", "both"));
  std::string copy = checked_copy(options);
  require_writable(db);
  Savepoint savepoint(db);
  if (!url.empty()) {
    Statement same(db, "SELECT name FROM main.rowmesh_server WHERE url=?1 AND name<>?2");
    if (same.bind(1, url).bind(2, name).step())
      refuse("server_exists", "the server '" + same.string(0) + "' has the URL " + url + " already");
  }
  // Called again, as set-up scripts do, it sets what it is given and keeps from where the server is sent changes.
  Statement insert(
      db,
      "INSERT INTO main.rowmesh_server(name, url, secret, direction, enabled, start_state) "
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(name) DO UPDATE SET url=excluded.url, secret=excluded.secret, "
      "old_secret=CASE WHEN secret=excluded.secret THEN old_secret ELSE secret END, "
      "direction=excluded.direction, enabled=excluded.enabled");
  std::string start = newest_state(db);
  insert.bind(1, name).bind(2, url).bind(3, secret).bind(4, direction).bind(5, option_flag(options, "enabled", true));
  insert.bind_bytes(6, start).run();
  set_options(db, name, {{"first_copy", copy == "none" ? "none" : "auto"}});
  set_tables(db, name, options.contains("tables") ? options["tables"] : nlohmann::json());
  if (copy == "pull" || copy == "push") request_copy(db, name, copy);
  bump_generation(db);
  savepoint.release();
  result.null();
}

std::string known_server(sqlite3* db, const Arguments& arguments) {
  std::string name = arguments.text(0, "the server's name");
  require_enabled(db);
  require_server(db, name);
  return name;
}

void set_enabled(sqlite3* db, const std::string& server, bool enabled) {
  Statement update(db, "UPDATE main.rowmesh_server SET enabled=?1 WHERE name=?2");
  update.bind(1, static_cast<std::int64_t>(enabled)).bind(2, server).run();
}

// What is replaced is taken until the other side uses the new one.
void set_secret(sqlite3* db, const std::string& server, const std::string& secret) {
  Statement update(db, "UPDATE main.rowmesh_server SET old_secret=secret, secret=?1 WHERE name=?2 AND secret<>?1");
  update.bind(1, secret).bind(2, server).run();
}

void alter_server_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string name = known_server(db, arguments);
  auto options = arguments.options(1,
                                   "url secret direction tables enabled name batch_rows batch_bytes timeout_ms "
                                   "compression rate_limit schedule retention_hours");
  Savepoint savepoint(db);
  if (options.contains("url"))
    set_column(db, name, "url", options["url"].is_null() ? "" : checked_url(option_text(options, "url", "")));
  if (options.contains("secret")) set_secret(db, name, checked_secret(option_text(options, "secret", "")));
  if (options.contains("direction"))
    set_column(db, name, "direction", checked_direction(option_text(options, "direction", "")));
  if (options.contains("tables")) set_tables(db, name, options["tables"]);
  if (options.contains("enabled")) set_enabled(db, name, option_flag(options, "enabled", true));
  set_options(db, name, options);
  if (options.contains("name")) {
    std::string new_name = option_text(options, "name", "");
    if (new_name.empty()) refuse("wrong_argument", "the option 'name' must not be empty");
    Statement taken(db, "SELECT 1 FROM main.rowmesh_server WHERE name=?1 AND name<>?2");
    if (taken.bind(1, new_name).bind(2, name).step())
      refuse("server_exists", "there is a server '" + new_name + "' already");
    taken.reset();
    set_column(db, name, "name", new_name);
  }
  bump_generation(db);
  savepoint.release();
  result.null();
}

void remove_server_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string name = known_server(db, arguments);
  Savepoint savepoint(db);
  Statement remove(db, "DELETE FROM main.rowmesh_server WHERE name=?1");
  remove.bind(1, name).run();
  bump_generation(db);
  savepoint.release();
  result.null();
}

void enable_server_function(sqlite3* db, const Arguments& arguments, Result result) {
  set_enabled(db, known_server(db, arguments), true);
  bump_generation(db);
  result.null();
}

void disable_server_function(sqlite3* db, const Arguments& arguments, Result result) {
  set_enabled(db, known_server(db, arguments), false);
  bump_generation(db);
  result.null();
}

// The table-valued form, FROM rowmesh_test_server(name), is in virtual_tables.cpp; this one gives the same as JSON.
void test_server_function(sqlite3* db, const Arguments& arguments, Result result) {
  nlohmann::json rows = nlohmann::json::array();
  for (const ServerCheck& check : check_server(db, known_server(db, arguments)))
    rows.push_back({{"check", check.check}, {"ok", check.ok}, {"detail", check.detail}, {"ms", check.ms}});
  result.text(rows.dump());
}

}  // namespace

void require_server(sqlite3* db, const std::string& name) {
  std::string known;
  for (const ServerConfig& server : read_servers(db)) {
    if (server.name == name) return;
    known += (known.empty() ? "'" : ", '") + server.name + "'";
  }
  refuse("unknown_server",
         "there is no server '" + name + "'; " +
             (known.empty() ? "none was added yet: rowmesh_add_server(name, url, secret)" : "known ones: " + known));
}

void register_server_functions(sqlite3* db) {
  define(db, "add_server", 3, 4, Safety::direct_only, add_server_function);
  define(db, "alter_server", 2, 2, Safety::direct_only, alter_server_function);
  define(db, "remove_server", 1, 1, Safety::direct_only, remove_server_function);
  define(db, "enable_server", 1, 1, Safety::direct_only, enable_server_function);
  define(db, "disable_server", 1, 1, Safety::direct_only, disable_server_function);
  define(db, "test_server", 1, 1, Safety::direct_only, test_server_function);
}

}  // namespace rowmesh::sqlite
