#include "sqlite_ext/settings.hpp"

#include "sqlite_ext/addresses.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "bad_setting", text); }

void check_listen(sqlite3* db, const std::string& value) {
  check_listen_address(value);
  if (is_loopback_address(value)) return;
  if (query_integer(db, "SELECT count(*) FROM main.rowmesh_server WHERE length(secret)>0") == 0)
    refuse("other computers can reach " + value +
           ", so a secret is needed first: call rowmesh_add_server(name, url, secret), then set the address again");
}

void check_enabled(sqlite3*, const std::string& value) {
  if (value != "on" && value != "off") refuse("'enabled' is 'on' or 'off', not '" + value + "'");
}

void check_name(sqlite3*, const std::string& value) {
  if (value.empty()) refuse("the name of this node must not be empty");
}

void check_fraction(sqlite3*, const std::string& value) {
  if (value != "always" && value != "nonzero")
    refuse("'datetime_fraction' is 'always' (what SQLAlchemy compares by) or 'nonzero' (what Django writes), not '" +
           value + "'");
}

void check_log_file(sqlite3*, const std::string& value) {
  if (!value.empty() && value[0] != '/')
    refuse("'log_file' must be an absolute path, since programs in several folders may serve this file");
}

struct Setting {
  const char* key;
  const char* otherwise;
  void (*check)(sqlite3*, const std::string&);
};

constexpr Setting settings[] = {
    {"listen", "", check_listen},     {"name", "", check_name},
    {"enabled", "on", check_enabled}, {"datetime_fraction", "always", check_fraction},
    {"log_file", "", check_log_file},
};

const Setting& find_setting(const std::string& key) {
  std::string known;
  for (const Setting& setting : settings) {
    if (key == setting.key) return setting;
    known += std::string(known.empty() ? "" : ", ") + setting.key;
  }
  refuse("there is no setting '" + key + "'; there are: " + known);
}

}  // namespace

std::string read_setting(sqlite3* db, const std::string& key) {
  const Setting& setting = find_setting(key);
  if (!is_enabled(db)) return setting.otherwise;
  std::string value = key == "name" ? state_value(db, "name") : setting_value(db, key);
  return value.empty() ? setting.otherwise : value;
}

void change_setting(sqlite3* db, const std::string& key, const std::string& value) {
  find_setting(key).check(db, value);
  if (key != "name") return set_setting(db, key, value);
  set_state_value(db, "name", value);
  bump_generation(db);
}

}  // namespace rowmesh::sqlite
