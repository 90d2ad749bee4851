#include "pg_ext/settings.hpp"

#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "utils/guc.h"
}

namespace rowmesh {
namespace {

// Kept here so that SHOW and ALTER DATABASE know it; the worker asks read_setting().
char* listen = nullptr;

}  // namespace

void define_settings() {
  // SUSET, not SIGHUP: ALTER DATABASE ... SET takes no others, and each database needs a port of its own.
  DefineCustomStringVariable("rowmesh.listen",
                             "Address and port on which other servers reach this database, such as 127.0.0.1:8081.",
                             "Empty: it does not listen.", &listen, "", PGC_SUSET, 0, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("rowmesh");
}

std::string read_setting(const std::string& name) {
  std::string full = "rowmesh." + name;
  // A worker's own GUC keeps what ALTER DATABASE said when the worker started, also after it was RESET; so look behind
  // it.
  auto rows = run_sql(
      "SELECT coalesce("
      "(SELECT pg_catalog.substr(u, pg_catalog.length($1) + 2) FROM pg_catalog.pg_db_role_setting s CROSS JOIN "
      "pg_catalog.unnest(s.setconfig) u "
      " WHERE s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "
      "pg_catalog.current_database()) AND s.setrole = 0 "
      " AND pg_catalog.starts_with(u, $1 || '=')), "
      "(SELECT p.setting FROM pg_catalog.pg_settings p WHERE p.name = $1 AND p.source NOT IN ('database', 'database "
      "user')), "
      "(SELECT f.setting FROM pg_catalog.pg_file_settings f WHERE f.name = $1 AND f.applied ORDER BY f.seqno DESC "
      "LIMIT 1), '')",
      {SqlArgument::of_text(full)});
  return rows.empty() || rows[0].empty() ? "" : rows[0][0].value_or("");
}

}  // namespace rowmesh
