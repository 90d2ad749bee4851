#include "sqlite_ext/schema.hpp"

#include <unistd.h>

#include "shared/sync/server_options.hpp"
#include "sqlite_ext/capture.hpp"
#include "sqlite_ext/place.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr const char* tables_sql = R"(
CREATE TABLE rowmesh_state(key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
CREATE TABLE rowmesh_table(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, wire_name TEXT NOT NULL UNIQUE,
  merge TEXT NOT NULL DEFAULT 'column', on_key_collision TEXT NOT NULL DEFAULT 'renumber', suspended INTEGER NOT NULL DEFAULT 0, rebuilt_ms INTEGER);
CREATE TABLE rowmesh_column(table_id INTEGER NOT NULL, idx INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY(table_id, idx)) WITHOUT ROWID;
CREATE TABLE rowmesh_reference(table_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE NOCASE, to_id INTEGER NOT NULL, PRIMARY KEY(table_id, name)) WITHOUT ROWID;
CREATE TABLE rowmesh_server(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, url TEXT NOT NULL DEFAULT '',
  secret TEXT NOT NULL DEFAULT '', old_secret TEXT NOT NULL DEFAULT '', direction TEXT NOT NULL DEFAULT 'both', enabled INTEGER NOT NULL DEFAULT 1, start_state BLOB,
  options TEXT NOT NULL DEFAULT '{}', tables TEXT);
CREATE TABLE rowmesh_log(seq INTEGER PRIMARY KEY, tbl, mask, ts, k1);
CREATE TABLE rowmesh_history(sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, marker BLOB, state BLOB, data BLOB);
CREATE TABLE rowmesh_side(id INTEGER PRIMARY KEY AUTOINCREMENT, table_id INTEGER NOT NULL, key BLOB NOT NULL, packed BLOB, kind TEXT, reason TEXT,
  code TEXT, key_text TEXT, payload TEXT, origin TEXT, since_ms INTEGER, UNIQUE(table_id, key));
CREATE TABLE rowmesh_conflict(id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER, tbl TEXT, key_text TEXT, type TEXT, resolution TEXT,
  winner TEXT, loser TEXT, winner_version TEXT, loser_version TEXT, image BLOB, restored TEXT);
CREATE TABLE rowmesh_request(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, argument TEXT NOT NULL DEFAULT '');
CREATE TABLE rowmesh_published(id INTEGER PRIMARY KEY, time_ms INTEGER, status TEXT);
)";

constexpr const char* table_names[] = {"rowmesh_published", "rowmesh_request", "rowmesh_conflict", "rowmesh_side",
                                       "rowmesh_history",   "rowmesh_log",     "rowmesh_server",   "rowmesh_column",
                                       "rowmesh_reference", "rowmesh_table",   "rowmesh_state"};

Direction direction_from(const std::string& text) {
  if (text == "push") return Direction::push;
  if (text == "pull") return Direction::pull;
  return Direction::both;
}

std::string file_name(sqlite3* db) {
  const char* path = sqlite3_db_filename(db, "main");
  std::string name = path ? path : "";
  name = name.substr(name.rfind('/') + 1);
  std::size_t dot = name.find('.');
  return name.empty() ? "sqlite" : name.substr(0, dot == 0 ? std::string::npos : dot);
}

Origin random_origin() {
  for (;;)
    if (Origin origin = random_number()) return origin;
}

}  // namespace

std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (getentropy(&number, sizeof number) != 0)
    throw Error(ErrorKind::transient, "no_randomness", "the system gives no random numbers (getentropy)");
  return number;
}

std::string random_uuid() {
  std::string hex = to_hex(random_number()) + to_hex(random_number());
  hex[12] = '4';
  hex[16] = "89ab"[random_number() % 4];
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

bool is_enabled(sqlite3* db) noexcept {
  try {
    return query_integer(db, "SELECT count(*) FROM main.sqlite_master WHERE type='table' AND name='rowmesh_state'") ==
           1;
  } catch (const Error&) {
    return false;
  }
}

void ensure_schema(sqlite3* db, const std::string& name) {
  Savepoint savepoint(db);
  if (!is_enabled(db)) {
    execute(db, tables_sql);
    set_state_value(db, "version", std::to_string(schema_version));
    set_state_value(db, "node", random_uuid());
    set_state_value(db, "origin", to_hex(random_origin()));
    set_state_value(db, "name", name.empty() ? file_name(db) : name);
    note_place(db);
    bump_generation(db);
  } else if (std::string version = state_value(db, "version"); version != std::to_string(schema_version)) {
    throw Error(ErrorKind::config, "newer_schema",
                "this file's rowmesh tables have version '" + version + "', this library knows version " +
                    std::to_string(schema_version) +
                    ": load the rowmesh library that the file was last used with, or a newer one");
  }
  savepoint.release();
}

void remove_schema(sqlite3* db) {
  if (!is_enabled(db)) return;
  Savepoint savepoint(db);
  remove_table(db, "*");
  for (const char* table : table_names) execute(db, std::string("DROP TABLE IF EXISTS main.") + table);
  savepoint.release();
}

std::string state_value(sqlite3* db, const std::string& key) {
  Statement query(db, "SELECT value FROM main.rowmesh_state WHERE key=?1");
  query.bind(1, key);
  return query.step() ? query.string(0) : "";
}

// Not INSERT OR REPLACE: inside of an application's trigger its conflict clause would win.
void set_state_value(sqlite3* db, const std::string& key, const std::string& value) {
  Statement update(
      db,
      "INSERT INTO main.rowmesh_state(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value=excluded.value");
  update.bind(1, key).bind(2, value).run();
}

void bump_generation(sqlite3* db) {
  execute(db,
          "INSERT INTO main.rowmesh_state(key, value) VALUES('generation', 1) ON CONFLICT(key) DO UPDATE SET "
          "value=value+1");
}

void set_setting(sqlite3* db, const std::string& name, const std::string& value) {
  set_state_value(db, "setting." + name, value);
  bump_generation(db);
}

Identity read_identity(sqlite3* db) {
  Identity identity;
  identity.node = state_value(db, "node");
  identity.origin = from_hex(state_value(db, "origin"));
  identity.name = state_value(db, "name");
  return identity;
}

void write_identity(sqlite3* db, const Identity& identity) {
  set_state_value(db, "node", identity.node);
  set_state_value(db, "origin", to_hex(identity.origin));
  set_state_value(db, "name", identity.name);
  note_place(db);
  bump_generation(db);
}

std::vector<ServerConfig> read_servers(sqlite3* db) {
  std::vector<ServerConfig> servers;
  Statement query(db,
                  "SELECT id, name, url, secret, direction, enabled, start_state, old_secret, options, tables FROM "
                  "main.rowmesh_server ORDER BY id");
  while (query.step()) {
    ServerConfig server;
    server.id = query.integer(0);
    server.name = query.string(1);
    server.url = query.string(2);
    server.secret = query.string(3);
    server.direction = direction_from(query.string(4));
    server.enabled = query.integer(5) != 0;
    server.start_state = std::string(query.bytes(6));
    server.old_secret = query.string(7);
    server.options = parse_server_options(query.string(8));
    if (!query.is_null(9)) set_server_tables(server, query.string(9));
    servers.push_back(std::move(server));
  }
  return servers;
}

std::string newest_state(sqlite3* db) {
  Statement query(
      db, "SELECT state FROM main.rowmesh_history WHERE kind<2 AND length(state)>0 ORDER BY sequence DESC LIMIT 1");
  return query.step() ? std::string(query.bytes(0)) : "";
}

}  // namespace rowmesh::sqlite
