// rowmesh_status, rowmesh_tables, rowmesh_conflicts, rowmesh_quarantine, rowmesh_dangling, rowmesh_node,
// rowmesh_test_server(name).
#include "sqlite_ext/catalog.hpp"
#include "sqlite_ext/credentials.hpp"
#include "sqlite_ext/current_status.hpp"
#include "sqlite_ext/dangling.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/server_check.hpp"
#include "sqlite_ext/virtual_table.hpp"

namespace rowmesh::sqlite {
namespace {

using Rows = std::vector<CellRow>;

Cell number(std::uint64_t value) { return Cell(static_cast<std::int64_t>(value)); }
Cell text_or_null(const std::string& text) { return text.empty() ? Cell() : Cell(text); }
Cell time_or_null(std::uint64_t ms) { return ms ? Cell(iso_time(ms)) : Cell(); }

Rows status_rows(sqlite3* db, const std::string&) {
  Rows rows;
  if (!is_enabled(db)) return rows;
  for (const ServerStatus& server : current_status(db).node.servers)
    rows.push_back({server.name, text_or_null(server.url), server.direction, Cell(std::int64_t{server.enabled}),
                    server.state, number(server.queued), number(server.lag_ms), time_or_null(server.last_success_ms),
                    text_or_null(server.last_error), number(server.rows_sent), number(server.rows_received),
                    number(server.conflicts),
                    Cell(query_integer(db, "SELECT count(*) FROM main.rowmesh_side WHERE kind='quarantined'")),
                    text_or_null(server.progress)});
  return rows;
}

Cell side_count(sqlite3* db, std::int64_t table, const char* kind) {
  Statement query(db, "SELECT count(*) FROM main.rowmesh_side WHERE table_id=?1 AND kind=?2");
  query.bind(1, table).bind(2, kind).step();
  return Cell(query.integer(0));
}

std::string key_columns(const std::optional<Layout>& layout) {
  std::string columns;
  if (layout)
    for (std::size_t part = 0; part < layout->table.key.size(); ++part)
      columns += (part ? ", " : "") + layout->key_column(part).name;
  return columns;
}

Rows table_rows(sqlite3* db, const std::string&) {
  Rows rows;
  if (!is_enabled(db)) return rows;
  std::map<std::string, std::string> waiting = current_status(db).node.waiting;
  Statement query(db, "SELECT id, name, wire_name, merge, suspended FROM main.rowmesh_table ORDER BY name");
  while (query.step()) {
    std::int64_t id = query.integer(0);
    std::string name = query.string(1);
    auto layout = read_layout(db, static_cast<TableId>(id));
    std::string state = query.integer(4) ? "suspended" : "replicated", reason;
    if (!layout) {
      state = "missing";
      reason = "the table is not in this file any more: rowmesh_remove_table('" + name + "') forgets it";
    } else if (reason = why_not_replicable(db, name); !reason.empty()) {
      state = "blocked";
    } else if (auto waits = waiting.find(query.string(2)); waits != waiting.end()) {
      state = "waiting";
      reason = waits->second;
    }
    rows.push_back({name, query.string(2), query.string(3), key_columns(layout), state, text_or_null(reason),
                    side_count(db, id, "hidden"), side_count(db, id, "held"), side_count(db, id, "quarantined")});
  }
  return rows;
}

Rows conflict_rows(sqlite3* db, const std::string&) {
  Rows rows;
  if (!is_enabled(db)) return rows;
  Statement query(db,
                  "SELECT id, time_ms, tbl, key_text, type, resolution, winner, loser, winner_version, loser_version, "
                  "restored FROM main.rowmesh_conflict ORDER BY id");
  while (query.step())
    rows.push_back({Cell(query.integer(0)), Cell(iso_time(static_cast<std::uint64_t>(query.integer(1)))),
                    query.string(2), query.string(3), query.string(4), query.string(5), text_or_null(query.string(6)),
                    text_or_null(query.string(7)), query.string(8), query.string(9), text_or_null(query.string(10))});
  return rows;
}

Rows quarantine_rows(sqlite3* db, const std::string&) {
  Rows rows;
  if (!is_enabled(db)) return rows;
  Statement query(
      db,
      "SELECT s.id, t.name, s.key_text, s.reason, s.code, s.payload, s.origin, s.since_ms FROM main.rowmesh_side s "
      "LEFT JOIN main.rowmesh_table t ON t.id=s.table_id WHERE s.kind='quarantined' ORDER BY s.id");
  while (query.step())
    rows.push_back({Cell(query.integer(0)), query.string(1), query.string(2), query.string(3), query.string(4),
                    text_or_null(query.string(5)), text_or_null(query.string(6)),
                    time_or_null(static_cast<std::uint64_t>(query.integer(7)))});
  return rows;
}

Rows dangling_rows(sqlite3* db, const std::string&) {
  Rows rows;
  if (!is_enabled(db)) return rows;
  for (const Dangling& one : dangling_references(db))
    rows.push_back({one.table, one.key, one.columns, one.values, one.to_table});
  return rows;
}

Rows node_rows(sqlite3* db, const std::string&) {
  if (!is_enabled(db)) return {};
  Identity identity = read_identity(db);
  CurrentStatus status = current_status(db);
  const char* served = status.here ? "this process" : status.served ? "another process" : "nobody";
  return {{identity.node, to_hex(identity.origin), identity.name, "sqlite", ROWMESH_VERSION,
           text_or_null(status.node.listening), served, number(status.node.position), number(status.node.captured),
           number(status.node.applied), text_or_null(status.node.blocked)}};
}

Rows token_rows(sqlite3* db, const std::string&) {
  Rows rows;
  if (!is_enabled(db)) return rows;
  for (const Credential& one : read_credentials(db))
    if (one.name != "dashboard") rows.push_back({one.name, one.scope});
  return rows;
}

Rows test_rows(sqlite3* db, const std::string& server) {
  Rows rows;
  for (const ServerCheck& check : check_server(db, server))
    rows.push_back({check.check, Cell(std::int64_t{check.ok}), check.detail, number(check.ms)});
  return rows;
}

constexpr VirtualTable tables[] = {
    {"rowmesh_status",
     "server TEXT, url TEXT, direction TEXT, enabled INTEGER, state TEXT, queued INTEGER, lag_ms INTEGER, last_success "
     "TEXT, last_error TEXT, "
     "rows_sent INTEGER, rows_received INTEGER, conflicts INTEGER, quarantined INTEGER, progress TEXT",
     -1, false, status_rows},
    {"rowmesh_tables",
     "name TEXT, wire_name TEXT, merge TEXT, key TEXT, state TEXT, reason TEXT, hidden INTEGER, held INTEGER, "
     "quarantined INTEGER",
     -1, false, table_rows},
    {"rowmesh_conflicts",
     "id INTEGER, time TEXT, \"table\" TEXT, key TEXT, type TEXT, resolution TEXT, winner TEXT, loser TEXT, "
     "winner_version TEXT, loser_version TEXT, restored TEXT",
     -1, false, conflict_rows},
    {"rowmesh_quarantine",
     "id INTEGER, \"table\" TEXT, key TEXT, reason TEXT, code TEXT, payload TEXT, origin TEXT, since TEXT", -1, false,
     quarantine_rows},
    {"rowmesh_dangling", "\"table\" TEXT, key TEXT, \"column\" TEXT, value TEXT, to_table TEXT", -1, false,
     dangling_rows},
    {"rowmesh_node",
     "node TEXT, incarnation TEXT, name TEXT, engine TEXT, version TEXT, listening TEXT, served_by TEXT, position "
     "INTEGER, captured INTEGER, "
     "applied INTEGER, blocked TEXT",
     -1, false, node_rows},
    {"rowmesh_tokens", "name TEXT, scope TEXT", -1, false, token_rows},
    {"rowmesh_test_server", "\"check\" TEXT, ok INTEGER, detail TEXT, ms INTEGER, server TEXT HIDDEN", 4, true,
     test_rows},
};

}  // namespace

void register_tables(sqlite3* db) {
  for (const VirtualTable& table : tables) define_table(db, table);
}

}  // namespace rowmesh::sqlite
