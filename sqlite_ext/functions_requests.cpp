// What a person asks the worker for: copy, retry, discard are rows that it finds; wait stays until the answer is there.
#include <poll.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "shared/sync/lost_row.hpp"
#include "sqlite_ext/current_status.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/server_check.hpp"

namespace rowmesh::sqlite {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::int64_t default_wait_ms = 30000;

void request(sqlite3* db, const std::string& kind, const std::string& argument) {
  Statement insert(db, "INSERT INTO main.rowmesh_request(kind, argument) VALUES(?1, ?2)");
  insert.bind(1, kind).bind(2, argument).run();
}

void require_one_of(const std::string& value, const char* option, std::initializer_list<const char*> allowed) {
  std::string list;
  for (const char* word : allowed) {
    if (value == word) return;
    list += (list.empty() ? "'" : ", '") + std::string(word) + "'";
  }
  throw Error(ErrorKind::config, "wrong_argument",
              std::string("the option '") + option + "' is one of " + list + ", not '" + value + "'");
}

// -> its name on the wire
std::string known_table(sqlite3* db, const std::string& table) {
  Statement known(db, "SELECT wire_name FROM main.rowmesh_table WHERE name=?1 COLLATE NOCASE OR wire_name=?1");
  if (!known.bind(1, table).step())
    throw Error(ErrorKind::config, "unknown_table",
                "the table '" + table + "' is not replicated: rowmesh_add_table('" + table + "') makes it so");
  return known.string(0);
}

void copy_function(sqlite3* db, const Arguments& arguments, Result result) {
  std::string server = arguments.text(0, "the server's name");
  auto options = arguments.options(1, "table direction on_existing");
  require_enabled(db);
  require_server(db, server);
  std::string direction = option_text(options, "direction", "push"),
              existing = option_text(options, "on_existing", "fail");
  require_one_of(direction, "direction", {"push", "pull"});
  require_one_of(existing, "on_existing", {"fail", "source", "newer"});
  nlohmann::json argument = {{"server", server}, {"direction", direction}, {"on_existing", existing}};
  if (std::string table = option_text(options, "table", ""); !table.empty()) argument["table"] = known_table(db, table);
  request(db, "copy", argument.dump());
  result.null();
}

// Compares rows with those of another server while both change. What differs is listed in rowmesh_conflicts, counted in
// rowmesh_status.
void check(sqlite3* db, const Arguments& arguments, Result result, bool repair) {
  std::string server = arguments.text(0, "the server's name");
  auto options = arguments.options(1, repair ? "table winner" : "table");
  require_enabled(db);
  require_server(db, server);
  std::string winner = repair ? option_text(options, "winner", "") : "there", kind = repair ? "repair" : "verify";
  require_one_of(winner, "winner", {"here", "there"});
  nlohmann::json argument = {
      {"server", server}, {"direction", winner == "here" ? "push" : "pull"}, {"on_existing", kind}};
  if (std::string table = option_text(options, "table", ""); !table.empty()) argument["table"] = known_table(db, table);
  request(db, kind, argument.dump());
  result.null();
}

void verify_function(sqlite3* db, const Arguments& arguments, Result result) { check(db, arguments, result, false); }
void repair_function(sqlite3* db, const Arguments& arguments, Result result) { check(db, arguments, result, true); }

// A quarantined entry, or a sentence.
void require_quarantined(sqlite3* db, std::int64_t id) {
  Statement known(db, "SELECT 1 FROM main.rowmesh_side WHERE id=?1 AND kind='quarantined'");
  if (!known.bind(1, id).step())
    throw Error(
        ErrorKind::config, "unknown_entry",
        "there is no entry " + std::to_string(id) + " in quarantine: see rowmesh_quarantine for those there are");
}

void retry_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  std::int64_t id = arguments.is_null(0) ? 0 : arguments.integer(0, "the entry's id");
  if (id != 0) require_quarantined(db, id);
  request(db, "retry", std::to_string(id));
  result.null();
}

void discard_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  std::int64_t id = arguments.integer(0, "the entry's id");
  require_quarantined(db, id);
  request(db, "discard", std::to_string(id));
  result.null();
}

// The reading statement ends before anything is written: while it stands on its row, the connection keeps that
// snapshot, and a write behind a commit of the worker would be refused as 'database is locked' at once.
void require_restorable(sqlite3* db, std::int64_t id) {
  Statement conflict(db, "SELECT resolution, image IS NOT NULL FROM main.rowmesh_conflict WHERE id=?1");
  if (!conflict.bind(1, id).step())
    throw Error(ErrorKind::config, "unknown_entry",
                "there is no conflict " + std::to_string(id) + ": see rowmesh_conflicts for those there are");
  if (conflict.integer(1) == 0) throw Error(ErrorKind::config, "nothing_lost", nothing_to_restore(conflict.string(0)));
}

void restore_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  std::int64_t id = arguments.integer(0, "the conflict's id");
  require_restorable(db, id);
  execute(db, "UPDATE main.rowmesh_conflict SET restored=NULL WHERE id=" + std::to_string(id));
  request(db, "restore", std::to_string(id));
  result.null();
}

void new_identity_function(sqlite3* db, const Arguments& arguments, Result result) {
  require_enabled(db);
  std::string kind =
      arguments.is_null(0) ? current_status(db).node.identity : arguments.text(0, "what happened to the file");
  if (kind.empty())
    throw Error(ErrorKind::config, "wrong_argument",
                "nothing is known to be wrong with this node's identity; say rowmesh_new_identity('copied') if this "
                "file is a copy that is "
                "to be a node of its own, 'restored' if it was restored from a backup, or 'moved' if it only lies "
                "elsewhere now");
  require_one_of(kind, "kind", {"copied", "restored", "moved"});
  request(db, "new_identity", kind);
  result.null();
}

// ---- wait

// The statement that calls us holds our write lock until it ends, so the question goes through a connection of its own.
class OwnConnection {
 public:
  explicit OwnConnection(const std::string& path) {
    int code = sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (code != SQLITE_OK) {
      sqlite3_close(db_);
      throw_error(nullptr, code, "cannot open " + path + " once more");
    }
    sqlite3_busy_timeout(db_, 5000);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  ~OwnConnection() { sqlite3_close(db_); }
  OwnConnection(const OwnConnection&) = delete;
  OwnConnection& operator=(const OwnConnection&) = delete;
  sqlite3* db() { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

class ForeignCut {
 public:
  explicit ForeignCut(sqlite3* db) : db_(db), key_("wait." + to_hex(random_number())) {
    set_state_value(db_, key_, "");
  }
  ~ForeignCut() {
    try {
      Statement remove(db_, "DELETE FROM main.rowmesh_state WHERE key=?1");
      remove.bind(1, key_).run();
    } catch (const Error&) {
      // The worker clears what is left when it starts.
    }
  }
  PositionNumber wait(steady_clock::time_point until) {
    for (;;) {
      std::string answer = state_value(db_, key_);
      if (!answer.empty()) return std::stoull(answer);
      if (steady_clock::now() >= until) return 0;
      poll(nullptr, 0, 3);
    }
  }

 private:
  sqlite3* db_;
  std::string key_;
};

// All that count have applied our position.
bool applied_everywhere(const NodeStatus& status, const std::string& server, PositionNumber position) {
  for (const ServerStatus& entry : status.servers) {
    if (!server.empty() && entry.name != server) continue;
    if (server.empty() && (!entry.enabled || entry.direction == "pull")) continue;
    if (entry.acked < position) return false;
  }
  return true;
}

void wait_function(sqlite3* db, const Arguments& arguments, Result result) {
  // The server's name may stand before the options, as the first parameter does in PostgreSQL.
  bool named = !arguments.text_or(0, "{").starts_with('{');
  auto options = arguments.options(named ? 1 : 0, "server timeout_ms");
  std::string server = named ? arguments.text(0, "the server's name") : option_text(options, "server", "");
  std::int64_t timeout_ms = option_integer(options, "timeout_ms", default_wait_ms);
  require_enabled(db);
  if (!server.empty()) require_server(db, server);
  if (!sqlite3_get_autocommit(db))
    throw Error(ErrorKind::config, "in_transaction",
                "what this transaction wrote is not committed yet, so nobody can have it: commit, then wait");
  std::string path = database_path(db);
  if (!lease_holder(path).held && !find_worker(path))
    throw Error(ErrorKind::config, "not_served", "no process serves this file: call rowmesh_start() or rowmesh_run()");
  auto until = steady_clock::now() + milliseconds(std::max<std::int64_t>(timeout_ms, 0));
  auto worker = find_worker(path);
  OwnConnection own(path);
  PositionNumber position = 0;
  if (worker && worker->status())
    position = worker->cut(static_cast<std::uint64_t>(std::max<std::int64_t>(timeout_ms, 0)));
  else
    position = ForeignCut(own.db()).wait(until);
  // Position 0 is the answer of a node that never wrote anything, too; but then a cut makes number 1.
  bool done = false;
  while (position && !(done = applied_everywhere(current_status(own.db()).node, server, position)) &&
         steady_clock::now() < until)
    poll(nullptr, 0, 2);
  result.integer(done);
}

}  // namespace

void register_request_functions(sqlite3* db) {
  define(db, "copy", 1, 2, Safety::direct_only, copy_function);
  define(db, "verify", 1, 2, Safety::direct_only, verify_function);
  define(db, "repair", 1, 2, Safety::direct_only, repair_function);
  define(db, "retry", 0, 1, Safety::direct_only, retry_function);
  define(db, "discard", 1, 1, Safety::direct_only, discard_function);
  define(db, "restore", 1, 1, Safety::direct_only, restore_function);
  define(db, "new_identity", 0, 1, Safety::direct_only, new_identity_function);
  define(db, "wait", 0, 2, Safety::direct_only, wait_function);
}

}  // namespace rowmesh::sqlite
