#include "sqlite_ext/settings.hpp"

#include "shared/model/settings.hpp"
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

void check_path(const std::string& key, const std::string& value) {
  if (!value.empty() && value[0] != '/')
    refuse("'" + key + "' must be an absolute path, since programs in several folders may serve this file");
}

const Setting& known_setting(const std::string& key) {
  std::string known;
  for (const Setting& setting : all_settings()) {
    if (!(setting.engines & in_sqlite)) continue;
    if (key == setting.name) return setting;
    known += std::string(known.empty() ? "" : ", ") + setting.name;
  }
  refuse("there is no setting '" + key + "'; there are: " + known);
}

}  // namespace

std::string read_setting(sqlite3* db, const std::string& key) {
  const Setting& setting = known_setting(key);
  if (!is_enabled(db)) return setting.otherwise;
  std::string value = key == "name" ? state_value(db, "name") : setting_value(db, key);
  return value.empty() ? setting.otherwise : value;
}

void change_setting(sqlite3* db, const std::string& key, const std::string& value) {
  const Setting& setting = known_setting(key);
  if (key == "name" && value.empty()) refuse("the name of this node must not be empty");
  if (key == "listen") check_listen(db, value);
  if (key.ends_with("_file")) check_path(key, value);
  if (!value.empty()) check_setting(setting, value);  // empty: the default again
  if (key != "name") return set_setting(db, key, value);
  set_state_value(db, "name", value);
  bump_generation(db);
}

}  // namespace rowmesh::sqlite
