// rowmesh_set_dashboard_password, rowmesh_add_token, rowmesh_remove_token: who may use the dashboard and the API.
#include <nlohmann/json.hpp>

#include "shared/web/credentials.hpp"
#include "sqlite_ext/credentials.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/system.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr std::string_view prefix = "credential.";

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "wrong_argument", text); }

void store(sqlite3* db, const Credential& credential) {
  set_state_value(db, std::string(prefix) + credential.name, credential.scope + " " + credential.hash);
  bump_generation(db);
}

bool remove(sqlite3* db, const std::string& name) {
  Statement statement(db, "DELETE FROM main.rowmesh_state WHERE key=?1");
  statement.bind(1, std::string(prefix) + name).run();
  bool removed = sqlite3_changes(db) > 0;
  bump_generation(db);
  return removed;
}

void set_password_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_writable(db);
  if (arguments.is_null(0)) {
    remove(db, "dashboard");
  } else {
    std::string password = arguments.text_or(0, "");
    if (std::string trouble = password_trouble(password); !trouble.empty()) refuse(trouble);
    SystemRandom random;
    store(db, {"dashboard", "admin", hash_password(password, random_text(random, 2))});
  }
  result.null();
}

// Returns the token. It is not kept and cannot be shown again.
void add_token_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string name = arguments.text(0, "the token's name"),
              scope = option_text(arguments.options(1, "scope"), "scope", "monitor");
  if (name == "dashboard") refuse("give the token the name of the program that will use it");
  if (scope != "monitor" && scope != "admin")
    refuse("the option 'scope' is 'monitor' (may read) or 'admin' (may do everything), not '" + scope + "'");
  require_writable(db);
  SystemRandom random;
  std::string token = random_text(random, 4);
  store(db, {name, scope, hash_token(token)});
  result.text(token);
}

void remove_token_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string name = arguments.text(0, "the token's name");
  require_enabled(db);
  if (name == "dashboard" || !remove(db, name))
    refuse("there is no token '" + name + "': see rowmesh_tokens for those there are");
  result.null();
}

}  // namespace

std::vector<Credential> read_credentials(sqlite3* db) {
  std::vector<Credential> all;
  Statement query(
      db, "SELECT key, value FROM main.rowmesh_state WHERE key>='credential.' AND key<'credential/' ORDER BY key");
  while (query.step()) {
    std::string name = query.string(0).substr(prefix.size()), value = query.string(1);
    std::size_t space = value.find(' ');
    if (space != std::string::npos) all.push_back({name, value.substr(0, space), value.substr(space + 1)});
  }
  return all;
}

void register_access_functions(sqlite3* db) {
  define(db, "set_dashboard_password", 1, 1, Safety::direct_only, set_password_function);
  define(db, "add_token", 1, 2, Safety::direct_only, add_token_function);
  define(db, "remove_token", 1, 1, Safety::direct_only, remove_token_function);
}

}  // namespace rowmesh::sqlite
