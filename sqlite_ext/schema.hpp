// The tables that rowmesh keeps in the user's file, and what is in them. Plain tables, so that everything is backed up
// with the file and can be read without the extension. Their names are singular; the plural ones (rowmesh_tables,
// rowmesh_conflicts, ...) and rowmesh_status belong to what people query.
//
//   rowmesh_state(key, value)     'version', 'node', 'origin' (hex), 'name', 'generation', 'clock', 'all_tables',
//   'place' (place.hpp), 'setting.<name>' rowmesh_table                 replicated tables: id, name (as the file spells
//   it), wire_name, merge, on_key_collision, suspended, rebuilt_ms rowmesh_column                (table_id, idx, name):
//   the number of a column in masks of the log; never given twice rowmesh_server                id, name, url, secret,
//   old_secret, direction, enabled, start_state, options (JSON) rowmesh_log                   what the capture triggers
//   write; empty whenever the worker has read it (capture.hpp) rowmesh_history               sequence, kind (0 cut, 1
//   applied, 2 folded log entries: the store's own), marker, state, data rowmesh_side                  quarantined,
//   hidden and held rows: id, table_id, key, packed, kind, reason, code, key_text,
//                                 payload, origin, since_ms
//   rowmesh_conflict              id and the fields of ConflictRow; the newest 100000
//   rowmesh_request               id, kind, argument: what a person asked for
//   rowmesh_published             one row (id 1, time_ms, status): NodeStatus as JSON, for processes without the worker
//
// All functions throw Error and work on `main`. They may be called inside of a transaction of the caller.
#pragma once
#include <string>

#include "shared/sync/store.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

inline constexpr int schema_version = 1;

// Does the file have rowmesh's tables? False also for files that cannot be read (encrypted, not a database).
bool is_enabled(sqlite3* db) noexcept;
// Creates or upgrades the tables and gives the file an identity. `name`: for people; empty: the file's name.
// Idempotent. Refuses a file that a newer version of rowmesh has upgraded.
void ensure_schema(sqlite3* db, const std::string& name = "");
// Drops all triggers and tables: the file is an ordinary one afterwards.
void remove_schema(sqlite3* db);

std::string state_value(sqlite3* db, const std::string& key);  // '' if there is none
void set_state_value(sqlite3* db, const std::string& key, const std::string& value);
// Whoever changes identity, tables, servers or settings ends with this: the worker reads them anew.
void bump_generation(sqlite3* db);

inline std::string setting_value(sqlite3* db, const std::string& name) { return state_value(db, "setting." + name); }
void set_setting(sqlite3* db, const std::string& name, const std::string& value);  // bumps the generation

Identity read_identity(sqlite3* db);
void write_identity(sqlite3* db, const Identity& identity);  // and that it belongs to this place
std::vector<ServerConfig> read_servers(sqlite3* db);
// HistoryRecord::state of the newest history record that has one: what add_server stores as start_state.
std::string newest_state(sqlite3* db);

std::uint64_t random_number();  // from the system's generator
std::string random_uuid();

}  // namespace rowmesh::sqlite
