#include "sqlite_ext/administration.hpp"

#include <sys/statvfs.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "shared/sync/status_json.hpp"
#include "sqlite_ext/credentials.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/lease.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

using nlohmann::json;

constexpr std::int64_t counted_rows = 100000;  // counted up to here: a table without end must not hold the worker up
constexpr const char* local_key_name = "local_key";
constexpr std::size_t most_neighbours = 64;

// Which arguments a function takes by place; what else there is goes into its options, a JSON object.
struct Call {
  const char* function;
  std::vector<const char*> places;
  bool needs_options = false;
};
const Call* find_call(const std::string& function) {
  static const std::vector<Call>& calls = *new std::vector<Call>{
      {"add_server", {"name", "url", "secret"}},
      {"alter_server", {"name"}, true},
      {"remove_server", {"name"}},
      {"enable_server", {"name"}},
      {"disable_server", {"name"}},
      {"copy", {"server"}},
      {"verify", {"server"}},
      {"repair", {"server"}},
      {"add_table", {"table"}},
      {"remove_table", {"table"}},
      {"retry", {"id"}},
      {"discard", {"id"}},
      {"restore", {"id"}},
      {"enable", {}},
      {"disable", {}},
  };
  for (const Call& call : calls)
    if (function == call.function) return &call;
  return nullptr;
}

void bind_json(Statement& statement, int at, const json& value, std::vector<std::string>& keep) {
  if (value.is_null()) {
    statement.bind_null(at);
  } else if (value.is_number_integer()) {
    statement.bind(at, value.get<std::int64_t>());
  } else {
    keep.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    statement.bind(at, keep.back());
  }
}

// What SQLite says around our own sentence is of no use to a person in front of a browser.
std::string sentence_of(const std::string& text, const std::string& function) {
  std::string mark = "rowmesh_" + function + ": ";
  std::size_t at = text.rfind(mark);
  return at == std::string::npos ? text : text.substr(at + mark.size());
}

std::optional<Neighbour> look_into(const std::string& path) {
  if (!lease_holder(path).held) return std::nullopt;
  sqlite3* db = nullptr;
  std::optional<Neighbour> found;
  if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr) == SQLITE_OK) {
    sqlite3_busy_timeout(db, 100);
    try {
      if (is_enabled(db)) {
        Identity identity = read_identity(db);
        Statement published(db, "SELECT status FROM main.rowmesh_published WHERE id=1");
        NodeStatus status = published.step() ? status_from_json(published.string(0)) : NodeStatus();
        found =
            Neighbour{identity.node, identity.name, status.listening, status.inside, state_value(db, local_key_name)};
      }
    } catch (const Error&) {
      // Not ours to mend: its own worker says what is wrong with it.
    }
  }
  sqlite3_close(db);
  return found;
}

}  // namespace

std::uint64_t free_bytes(const std::string& path) {
  struct statvfs disk;
  return statvfs(path.c_str(), &disk) == 0 ? static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize : ~0ULL;
}

SqliteAdministration::SqliteAdministration(sqlite3* db, const std::string& path) : db_(db), path_(path) {
  register_functions(db);
  register_tables(db);
  if (state_value(db_, local_key_name).empty())
    set_state_value(db_, local_key_name, to_hex(random_number()) + to_hex(random_number()) + to_hex(random_number()));
}

EngineInfo SqliteAdministration::engine() { return {"sqlite", sqlite3_libversion(), path_}; }

std::vector<Credential> SqliteAdministration::credentials() { return read_credentials(db_); }

std::vector<ListedTable> SqliteAdministration::list_tables() {
  std::vector<ListedTable> tables;
  Statement query(
      db_,
      "SELECT name, wire_name, merge, key, coalesce(reason, ''), hidden+held, quarantined, state FROM rowmesh_tables");
  while (query.step()) {
    ListedTable table;
    table.name = query.string(0);
    table.wire_name = query.string(1);
    table.merge = query.string(2);
    table.key = query.string(3);
    table.trouble = query.string(4);
    table.waiting = static_cast<std::uint64_t>(query.integer(5));
    table.quarantined = static_cast<std::uint64_t>(query.integer(6));
    if (query.string(7) != "missing")
      table.rows = static_cast<std::uint64_t>(query_integer(db_, "SELECT count(*) FROM (SELECT 1 FROM main." +
                                                                     quoted_name(table.name) + " LIMIT " +
                                                                     std::to_string(counted_rows + 1) + ")"));
    table.rows_exact = table.rows <= static_cast<std::uint64_t>(counted_rows);
    tables.push_back(std::move(table));
  }
  return tables;
}

std::vector<ListedConflict> SqliteAdministration::list_conflicts(std::int64_t before, std::size_t limit) {
  std::vector<ListedConflict> list;
  Statement query(db_,
                  "SELECT id, time_ms, tbl, key_text, type, resolution, winner, loser, winner_version, loser_version, "
                  "restored, image IS NOT NULL FROM main.rowmesh_conflict "
                  "WHERE ?1=0 OR id<?1 ORDER BY id DESC LIMIT ?2");
  query.bind(1, before).bind(2, static_cast<std::int64_t>(limit));
  while (query.step())
    list.push_back({query.integer(0),
                    ConflictRow{static_cast<std::uint64_t>(query.integer(1)), query.string(2), query.string(3),
                                query.string(4), query.string(5), query.string(6), query.string(7), query.string(8),
                                query.string(9), "", query.string(10)},
                    query.integer(11) != 0});
  return list;
}

std::vector<std::pair<std::string, SideRow>> SqliteAdministration::list_quarantine(std::int64_t before,
                                                                                   std::size_t limit) {
  std::vector<std::pair<std::string, SideRow>> list;
  Statement query(db_,
                  "SELECT s.id, t.name, s.key_text, s.reason, s.code, s.payload, s.origin, s.since_ms FROM "
                  "main.rowmesh_side s LEFT JOIN "
                  "main.rowmesh_table t ON t.id=s.table_id WHERE s.kind='quarantined' AND (?1=0 OR s.id<?1) ORDER BY "
                  "s.id DESC LIMIT ?2");
  query.bind(1, before).bind(2, static_cast<std::int64_t>(limit));
  while (query.step()) {
    SideRow side;
    side.id = query.integer(0);
    side.key_text = query.string(2);
    side.reason = query.string(3);
    side.code = query.string(4);
    side.payload = query.string(5);
    side.origin = query.string(6);
    side.since_ms = static_cast<std::uint64_t>(query.integer(7));
    list.emplace_back(query.string(1), std::move(side));
  }
  return list;
}

Storage SqliteAdministration::storage() {
  Storage storage;
  storage.log_bytes = static_cast<std::uint64_t>(query_integer(
      db_,
      "SELECT (SELECT coalesce(sum(length(data)+coalesce(length(state), 0)), 0) FROM main.rowmesh_history) + "
      "(SELECT 24*count(*) FROM main.rowmesh_log)"));
  storage.database_bytes =
      static_cast<std::uint64_t>(query_integer(db_, "PRAGMA page_count") * query_integer(db_, "PRAGMA page_size"));
  storage.disk_free_bytes = free_bytes(path_);
  return storage;
}

// Files that are served in the folder of this one, or by this process.
std::vector<Neighbour> SqliteAdministration::neighbours() {
  const std::string mark = Lease::lock_path("");
  std::set<std::string> paths;
  for (const std::string& path : worker_paths()) paths.insert(path);
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(path_).parent_path(), failure)) {
    std::string name = entry.path().string();
    if (name.ends_with(mark) && paths.size() < most_neighbours) paths.insert(name.substr(0, name.size() - mark.size()));
  }
  std::vector<Neighbour> others;
  for (const std::string& path : paths)
    if (path != path_)
      if (auto found = look_into(path)) others.push_back(std::move(*found));
  return others;
}

std::string SqliteAdministration::local_key() { return state_value(db_, local_key_name); }

bool SqliteAdministration::knows(const std::string& function) {
  Statement query(db_, "SELECT 1 FROM pragma_function_list WHERE name=?1");
  return query.bind(1, "rowmesh_" + function).step();
}

json SqliteAdministration::call(const std::string& function, const json& arguments) {
  const Call* call = find_call(function);
  json options = arguments;
  std::string sql = "SELECT rowmesh_" + function + "(";
  std::vector<json> values;
  for (const char* place : call ? call->places : std::vector<const char*>()) {
    values.push_back(options.contains(place) ? options[place] : json(nullptr));
    options.erase(place);
  }
  if (call && (call->needs_options || !options.empty())) values.emplace_back(options.dump());
  for (std::size_t i = 0; i < values.size(); i++) sql += std::string(i ? ",?" : "?") + std::to_string(i + 1);
  try {
    Statement statement(db_, sql + ")");
    std::vector<std::string> keep;
    keep.reserve(values.size());
    for (std::size_t i = 0; i < values.size(); i++) bind_json(statement, static_cast<int>(i + 1), values[i], keep);
    if (!statement.step() || statement.is_null(0)) return nullptr;
    std::string text = statement.string(0);
    json parsed = json::parse(text, nullptr, false);
    return parsed.is_structured() ? parsed : json(text);
  } catch (const Error& error) {
    std::string text = error.what();
    if (text.find("no such function") != std::string::npos)
      throw Error(ErrorKind::config, "unknown_function", "this version has no function " + function + "()");
    if (text.find("wrong number of arguments") != std::string::npos)
      throw Error(ErrorKind::config, "unknown_argument", function + "() does not take these arguments");
    throw Error(error.kind() == ErrorKind::transient ? ErrorKind::transient : ErrorKind::config, error.code(),
                sentence_of(text, function));
  }
}

}  // namespace rowmesh::sqlite
