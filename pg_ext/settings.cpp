#include "pg_ext/settings.hpp"

#include "shared/model/settings.hpp"

#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "utils/guc.h"
}

namespace rowmesh {
namespace {

// Kept here so that SHOW and ALTER DATABASE know them; the worker asks read_settings().
constexpr std::size_t most_settings = 64;
int numbers[most_settings];
char* texts[most_settings];

int unit_flag(SettingUnit unit) {
  switch (unit) {
    case SettingUnit::none: return 0;
    case SettingUnit::kilobytes: return GUC_UNIT_KB;
    case SettingUnit::megabytes: return GUC_UNIT_MB;
    case SettingUnit::milliseconds: return GUC_UNIT_MS;
    case SettingUnit::seconds: return GUC_UNIT_S;
  }
  return 0;
}

}  // namespace

void define_settings() {
  std::size_t at = 0;
  for (const Setting& setting : all_settings()) {
    if (!(setting.engines & in_postgresql)) continue;
    const char* name = (new std::string(std::string("rowmesh.") + setting.name))->c_str();
    // SUSET, not SIGHUP: ALTER DATABASE ... SET takes no others, and each database needs a port of its own.
    switch (setting.kind) {
      case SettingKind::number:
        DefineCustomIntVariable(name, setting.about, nullptr, &numbers[at],
                                static_cast<int>(setting_number(setting, setting.otherwise)),
                                static_cast<int>(setting.least), static_cast<int>(setting.most), PGC_SUSET,
                                unit_flag(setting.unit), nullptr, nullptr, nullptr);
        break;
      case SettingKind::text:
      case SettingKind::choice:
        DefineCustomStringVariable(name, setting.about, nullptr, &texts[at], setting.otherwise, PGC_SUSET, 0, nullptr,
                                   nullptr, nullptr);
        break;
    }
    at++;
  }
  MarkGUCPrefixReserved("rowmesh");
}

std::map<std::string, std::string> read_settings() {
  // A worker's own GUC keeps what ALTER DATABASE said when the worker started, also after it was RESET; so look behind
  // it.
  auto rows = run_sql(
      "WITH of_database AS (SELECT pg_catalog.split_part(u, '=', 1) AS name, pg_catalog.substr(u, pg_catalog.strpos(u, "
      "'=') + 1) AS setting "
      " FROM pg_catalog.pg_db_role_setting s CROSS JOIN pg_catalog.unnest(s.setconfig) u "
      " WHERE s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "
      "pg_catalog.current_database()) AND s.setrole = 0), "
      "of_file AS (SELECT DISTINCT ON (f.name) f.name, f.setting FROM pg_catalog.pg_file_settings f WHERE f.applied "
      " ORDER BY f.name, f.seqno DESC) "
      "SELECT pg_catalog.substr(p.name, 9), coalesce(d.setting, CASE WHEN p.source NOT IN ('database', 'database "
      "user') THEN p.setting END, "
      " f.setting, p.boot_val, '') "
      "FROM pg_catalog.pg_settings p LEFT JOIN of_database d ON d.name = p.name LEFT JOIN of_file f ON f.name = p.name "
      "WHERE p.name LIKE 'rowmesh.%'");
  std::map<std::string, std::string> settings;
  for (const SqlRow& row : rows) settings[row[0].value_or("")] = row[1].value_or("");
  return settings;
}

}  // namespace rowmesh
