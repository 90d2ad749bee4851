// nlohmann's header must come before PostgreSQL's, which redefine snprintf.
#include <nlohmann/json.hpp>

#include "pg_ext/administration.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>

#include "shared/sync/status_json.hpp"

#include "pg_ext/guard.hpp"
#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "miscadmin.h"
#include "utils/timestamp.h"
}

namespace rowmesh {
namespace {

using nlohmann::json;

constexpr std::uint64_t size_every_us = 60 * 1000000;  // the size of a database is the sum over all of its files
constexpr std::uint64_t counted_rows = 10000;          // counted up to here, beyond it estimated

std::string text_of(const std::optional<std::string>& value) { return value.value_or(""); }
std::uint64_t number_of(const std::optional<std::string>& value) {
  return value ? std::strtoull(value->c_str(), nullptr, 10) : 0;
}
std::int64_t id_of(const std::optional<std::string>& value) {
  return value ? std::strtoll(value->c_str(), nullptr, 10) : 0;
}

std::string quoted(const std::string& name) {
  std::string text = "\"";
  for (char letter : name) text += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return text + "\"";
}

// The argument as the text that its type's input function takes; lists as JSON, which the statement turns into an
// array.
std::string argument_text(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

[[noreturn]] void unknown(const std::string& text) { throw Error(ErrorKind::config, "unknown_function", text); }

struct Parameter {
  std::string name, type;
  bool list = false;
};

// Functions are found by the names of their arguments, so none is overloaded.
std::vector<Parameter> parameters_of(const std::string& function, bool& gives_rows, bool& gives_nothing) {
  auto rows = run_sql(
      "SELECT p.proretset::text, (p.prorettype = 'void'::regtype)::text, a.name, pg_catalog.format_type(a.type, NULL), "
      "(t.typcategory = 'A')::text "
      "FROM pg_catalog.pg_proc p LEFT JOIN LATERAL (SELECT u.name, u.type, u.place FROM ROWS FROM "
      "(pg_catalog.unnest(p.proargnames), "
      "pg_catalog.unnest(p.proargtypes::oid[])) WITH ORDINALITY u (name, type, place) WHERE u.type IS NOT NULL) a ON "
      "true "
      "LEFT JOIN pg_catalog.pg_type t ON t.oid = a.type "
      "WHERE p.pronamespace = 'rowmesh'::regnamespace AND p.proname = $1 ORDER BY a.place",
      {SqlArgument::of_text(function)});
  if (rows.empty()) unknown("this version has no function " + function + "()");
  gives_rows = text_of(rows[0][0]) == "true";
  gives_nothing = text_of(rows[0][1]) == "true";
  std::vector<Parameter> parameters;
  for (auto& row : rows)
    if (row[2]) parameters.push_back({*row[2], text_of(row[3]), text_of(row[4]) == "true"});
  return parameters;
}

}  // namespace

std::uint64_t free_bytes() {
  struct statvfs disk;
  return statvfs(DataDir, &disk) == 0 ? static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize : ~0ULL;
}

void PgAdministration::alone(const std::function<void()>& work) {
  store_.begin(TransactionKind::write);
  try {
    work();
    store_.commit();
  } catch (...) {
    store_.rollback();
    throw;
  }
}

EngineInfo PgAdministration::engine() {
  EngineInfo info{"postgresql", "", ""};
  alone([&] {
    auto rows = run_sql("SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_database()::text");
    info.version = text_of(rows[0][0]);
    info.database = text_of(rows[0][1]);
  });
  return info;
}

std::vector<Credential> PgAdministration::credentials() {
  std::vector<Credential> all;
  alone([&] {
    for (auto& row : run_sql("SELECT c.name, c.scope, c.hash FROM rowmesh.credential c"))
      all.push_back({text_of(row[0]), text_of(row[1]), text_of(row[2])});
  });
  return all;
}

std::vector<ListedTable> PgAdministration::list_tables() {
  std::vector<ListedTable> tables;
  alone([&] {
    for (auto& row :
         run_sql("SELECT v.\"table\", v.name, v.key, v.merge, v.trouble, v.quarantined, v.hidden, "
                 "(SELECT pg_catalog.sum(greatest(c.reltuples, 0))::bigint FROM pg_catalog.pg_class c WHERE c.relkind "
                 "= 'r' AND "
                 "(c.oid = t.relid OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(t.relid) p))) "
                 "FROM rowmesh.tables v JOIN rowmesh.replicated_table t ON t.wire_name = v.name")) {
      ListedTable table;
      table.name = text_of(row[0]);
      table.wire_name = text_of(row[1]);
      table.key = text_of(row[2]);
      table.merge = text_of(row[3]);
      table.trouble = text_of(row[4]);
      table.quarantined = number_of(row[5]);
      table.waiting = number_of(row[6]);
      table.rows = number_of(row[7]);
      tables.push_back(std::move(table));
    }
    for (ListedTable& table : tables) {
      if (!table.trouble.empty()) continue;
      auto counted = run_made_sql("SELECT pg_catalog.count(*) FROM (SELECT 1 FROM " + table.name + " LIMIT " +
                                  std::to_string(counted_rows + 1) + ") r");
      std::uint64_t rows = number_of(counted[0][0]);
      table.rows_exact = rows <= counted_rows;
      table.rows = table.rows_exact ? rows : std::max(rows, table.rows);
    }
  });
  return tables;
}

std::vector<ListedConflict> PgAdministration::list_conflicts(std::int64_t before, std::size_t limit) {
  std::vector<ListedConflict> list;
  alone([&] {
    for (auto& row :
         run_sql("SELECT c.id, (extract(epoch FROM c.time) * 1000)::bigint, c.table_name, c.key_text, c.type, "
                 "c.resolution, c.winner::text, "
                 "c.loser::text, c.winner_version, c.loser_version, c.restored, (c.image <> '')::text FROM "
                 "rowmesh.conflict c WHERE $1 = 0 OR c.id < $1 "
                 "ORDER BY c.id DESC LIMIT $2",
                 {SqlArgument::of_number(before), SqlArgument::of_number(static_cast<std::int64_t>(limit))}))
      list.push_back(
          {id_of(row[0]),
           ConflictRow{number_of(row[1]), text_of(row[2]), text_of(row[3]), text_of(row[4]), text_of(row[5]),
                       text_of(row[6]), text_of(row[7]), text_of(row[8]), text_of(row[9]), "", text_of(row[10])},
           text_of(row[11]) == "true"});
  });
  return list;
}

std::vector<std::pair<std::string, SideRow>> PgAdministration::list_quarantine(std::int64_t before, std::size_t limit) {
  std::vector<std::pair<std::string, SideRow>> list;
  alone([&] {
    for (auto& row :
         run_sql("SELECT q.id, q.\"table\", q.key, q.reason, q.code, q.payload::text, q.origin, (extract(epoch FROM "
                 "q.since) * 1000)::bigint "
                 "FROM rowmesh.quarantine q WHERE $1 = 0 OR q.id < $1 ORDER BY q.id DESC LIMIT $2",
                 {SqlArgument::of_number(before), SqlArgument::of_number(static_cast<std::int64_t>(limit))})) {
      SideRow side;
      side.id = id_of(row[0]);
      side.key_text = text_of(row[2]);
      side.reason = text_of(row[3]);
      side.code = text_of(row[4]);
      side.payload = text_of(row[5]);
      side.origin = text_of(row[6]);
      side.since_ms = number_of(row[7]);
      list.emplace_back(text_of(row[1]), std::move(side));
    }
  });
  return list;
}

Storage PgAdministration::storage() {
  Storage storage;
  alone([&] {
    auto rows = run_sql(
        "SELECT pg_catalog.pg_total_relation_size('rowmesh.log_0') + "
        "pg_catalog.pg_total_relation_size('rowmesh.log_1') + "
        "pg_catalog.pg_total_relation_size('rowmesh.history')");
    storage.log_bytes = number_of(rows[0][0]);
    auto now_us = static_cast<std::uint64_t>(GetCurrentTimestamp());
    if (size_looked_us_ == 0 || now_us > size_looked_us_ + size_every_us) {
      database_bytes_ = number_of(run_sql("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")[0][0]);
      size_looked_us_ = now_us;
    }
  });
  storage.database_bytes = database_bytes_;
  storage.disk_free_bytes = free_bytes();
  return storage;
}

// The other databases of this server: their workers say in shared memory how they are.
std::vector<Neighbour> PgAdministration::neighbours() {
  std::vector<Neighbour> others;
  for (int i = 0; i < shared_memory()->slots; i++) {
    SharedSlot* slot = shared_slot(i);
    if (slot == slot_ || slot->database == InvalidOid || slot->worker_pid == 0) continue;
    char* text = nullptr;
    guard([&] { text = read_status_text(slot); });
    NodeStatus status = status_from_json(text);
    pfree(text);
    if (!status.node.empty())
      others.push_back({status.node, status.name, status.listening, status.inside, local_key()});
  }
  return others;
}

std::string PgAdministration::local_key() { return shared_memory()->local_key; }

bool PgAdministration::knows(const std::string& function) {
  bool known = false;
  alone([&] {
    known =
        !run_sql("SELECT 1 FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'rowmesh'::regnamespace AND p.proname = $1",
                 {SqlArgument::of_text(function)})
             .empty();
  });
  return known;
}

json PgAdministration::call(const std::string& function, const json& arguments) {
  json result;
  alone([&] {
    // As in a session of a person: triggers fire, and names without a schema mean the usual one.
    run_sql(
        "SELECT pg_catalog.set_config('session_replication_role', 'origin', true), "
        "pg_catalog.set_config('search_path', 'public', true)");
    bool gives_rows = false, gives_nothing = false;
    std::vector<Parameter> known = parameters_of(function, gives_rows, gives_nothing);
    std::string sql = "rowmesh." + quoted(function) + "(", list;
    std::vector<std::string> texts;
    for (const Parameter& parameter : known) list += (list.empty() ? "" : ", ") + parameter.name;
    for (auto& [name, value] : arguments.items()) {
      auto at = std::find_if(known.begin(), known.end(),
                             [&, &name = name](const Parameter& one) { return one.name == name; });
      if (at == known.end())
        throw Error(ErrorKind::config, "unknown_argument",
                    function + "() has no argument '" + name + "'; it has: " + list);
      if (!texts.empty()) sql += ", ";
      texts.push_back(argument_text(value));
      std::string place = value.is_null() ? "NULL" : "$" + std::to_string(texts.size());
      if (value.is_null()) texts.back().clear();
      if (at->list && !value.is_null())
        sql += quoted(name) + " => ARRAY(SELECT pg_catalog.json_array_elements_text(" + place + "::json))::" + at->type;
      else
        sql += quoted(name) + " => " + place + "::" + at->type;
    }
    sql += ")";
    std::vector<SqlArgument> values;
    values.reserve(texts.size());
    for (const std::string& text : texts) values.push_back(SqlArgument::of_text(text));
    std::string whole = gives_rows      ? "SELECT pg_catalog.json_agg(r)::text FROM " + sql + " r"
                        : gives_nothing ? "SELECT NULL::text FROM (SELECT " + sql + " OFFSET 0) r"
                                        : "SELECT pg_catalog.to_json(" + sql + ")::text";
    auto rows = run_made_sql(whole, values);
    if (!rows.empty() && rows[0][0]) result = json::parse(*rows[0][0], nullptr, false);
  });
  return result;
}

}  // namespace rowmesh
