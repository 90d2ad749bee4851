// /api/v1/: lists and actions. Actions are the SQL functions; a request's members are their arguments.
#include <charconv>
#include <nlohmann/json.hpp>

#include "shared/model/error.hpp"
#include "shared/web/answers.hpp"
#include "shared/web/site.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;
constexpr std::size_t page_rows = 50, most_page_rows = 500;

std::int64_t number_of(const std::string& text, std::int64_t otherwise) {
  std::int64_t number = otherwise;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size() && !text.empty() ? number : otherwise;
}

std::int64_t id_of(const std::string& text) {
  std::int64_t id = number_of(text, -1);
  if (id < 0) throw Error(ErrorKind::config, "bad_request", "'" + text + "' is not the number of an entry");
  return id;
}

std::size_t limit_of(const HttpRequest& request) {
  std::int64_t limit = number_of(query_value(request, "limit"), page_rows);
  return limit < 1 ? 1 : std::min<std::size_t>(static_cast<std::size_t>(limit), most_page_rows);
}

// Images come as JSON text; what is none (cut off, say) is shown as it is.
json image(const std::string& text) {
  if (text.empty()) return nullptr;
  json parsed = json::parse(text, nullptr, false);
  return parsed.is_discarded() ? json(text) : parsed;
}

json server_json(const ServerStatus& server) {
  return {{"name", server.name},
          {"url", server.url},
          {"direction", server.direction},
          {"enabled", server.enabled},
          {"state", server.state},
          {"queued", server.queued},
          {"lag_ms", server.lag_ms},
          {"last_success_ms", server.last_success_ms},
          {"last_error", server.last_error},
          {"rows_sent", server.rows_sent},
          {"rows_received", server.rows_received},
          {"conflicts", server.conflicts},
          {"failures", server.failures},
          {"clock_ahead_ms", server.clock_ahead_ms},
          {"progress", server.progress}};
}

json servers_json(const NodeStatus& status) {
  json servers = json::array();
  for (const ServerStatus& server : status.servers) servers.push_back(server_json(server));
  return servers;
}

}  // namespace

HttpResponse Site::overview(const HttpRequest&, const Names&) {
  look_around();
  NodeStatus now = status();
  json node = {{"id", identity_.node},
               {"name", identity_.name},
               {"engine", engine_.engine},
               {"engine_version", engine_.version},
               {"database", engine_.database},
               {"version", ROWMESH_VERSION},
               {"started_ms", now.started_ms},
               {"enabled", enabled_},
               {"functions", functions_},
               {"blocked", now.blocked},
               {"listen_problem", now.listen_problem},
               {"captured", now.captured},
               {"applied", now.applied},
               {"conflicts", now.conflicts},
               {"quarantined", now.quarantined},
               {"unsettled", now.unsettled},
               {"log_bytes", storage_.log_bytes},
               {"database_bytes", storage_.database_bytes},
               {"disk_free_bytes", storage_.disk_free_bytes}};
  return json_answer(200, {{"now_ms", services_.wall.now_ms()},
                           {"node", node},
                           {"health", health_to_json(judge(), identity_.name)},
                           {"servers", servers_json(now)}});
}

HttpResponse Site::history(const HttpRequest&, const Names&) { return json_answer(200, history_.to_json()); }

HttpResponse Site::servers(const HttpRequest&, const Names&) {
  return json_answer(200, {{"servers", servers_json(status())}});
}

HttpResponse Site::tables(const HttpRequest&, const Names&) {
  services_.node.require_idle();
  std::vector<ServerDetail> details = services_.node.details();
  json tables = json::array();
  for (const ListedTable& table : services_.administration.list_tables()) {
    json fits = json::object();
    for (const ServerDetail& server : details) {
      auto misfit = server.misfits.find(table.wire_name);
      fits[server.name] = !server.met || misfit == server.misfits.end() ? json(nullptr) : json(misfit->second);
    }
    tables.push_back({{"name", table.name},
                      {"wire_name", table.wire_name},
                      {"key", table.key},
                      {"merge", table.merge},
                      {"trouble", table.trouble},
                      {"rows", table.rows},
                      {"rows_exact", table.rows_exact},
                      {"quarantined", table.quarantined},
                      {"waiting", table.waiting},
                      {"fits", fits}});
  }
  return json_answer(200, {{"tables", tables}});
}

HttpResponse Site::conflicts(const HttpRequest& request, const Names&) {
  services_.node.require_idle();
  json rows = json::array();
  for (const ListedConflict& one :
       services_.administration.list_conflicts(number_of(query_value(request, "before"), 0), limit_of(request))) {
    const ConflictRow& conflict = one.conflict;
    rows.push_back({{"id", one.id},
                    {"time_ms", conflict.time_ms},
                    {"table", conflict.table},
                    {"key", conflict.key_text},
                    {"type", conflict.type},
                    {"resolution", conflict.resolution},
                    {"winner", image(conflict.winner)},
                    {"loser", image(conflict.loser)},
                    {"winner_version", conflict.winner_version},
                    {"loser_version", conflict.loser_version},
                    {"restorable", one.restorable},
                    {"restored", conflict.restored}});
  }
  return json_answer(200, {{"conflicts", rows}});
}

HttpResponse Site::quarantine(const HttpRequest& request, const Names&) {
  services_.node.require_idle();
  json rows = json::array();
  for (auto& [table, row] :
       services_.administration.list_quarantine(number_of(query_value(request, "before"), 0), limit_of(request)))
    rows.push_back({{"id", row.id},
                    {"table", table},
                    {"key", row.key_text},
                    {"reason", row.reason},
                    {"code", row.code},
                    {"payload", image(row.payload)},
                    {"origin", row.origin},
                    {"since_ms", row.since_ms}});
  return json_answer(200, {{"quarantine", rows}});
}

// ---- actions

HttpResponse Site::perform(const std::string& function, const json& arguments) {
  services_.node.require_idle();
  json result = services_.administration.call(function, arguments);
  looked_generation_ = ~0ULL;  // what was changed shows at once
  return json_answer(200, {{"result", result}});
}

HttpResponse Site::add_server(const HttpRequest& request, const Names&) {
  return perform("add_server", json_body(request));
}

HttpResponse Site::alter_server(const HttpRequest& request, const Names& names) {
  json arguments = json_body(request);
  arguments["name"] = names[0];
  return perform("alter_server", arguments);
}

HttpResponse Site::remove_server(const HttpRequest&, const Names& names) {
  return perform("remove_server", {{"name", names[0]}});
}

HttpResponse Site::server_action(const HttpRequest& request, const Names& names) {
  const std::string& action = names[1];
  if (action == "enable" || action == "disable") return perform(action + "_server", {{"name", names[0]}});
  if (action != "copy" && action != "verify" && action != "repair")
    return error_answer(
        404, "not_found",
        "a server can be tested, enabled, disabled, copied, verified and repaired; not '" + action + "'");
  json arguments = json_body(request);
  arguments["server"] = names[0];
  return perform(action, arguments);
}

HttpResponse Site::add_table(const HttpRequest& request, const Names&) {
  return perform("add_table", json_body(request));
}
HttpResponse Site::remove_table(const HttpRequest&, const Names& names) {
  return perform("remove_table", {{"table", names[0]}});
}

HttpResponse Site::conflict_action(const HttpRequest&, const Names& names) {
  if (names[1] != "restore") return error_answer(404, "not_found", "what lost can be restored; not '" + names[1] + "'");
  return perform("restore", {{"id", id_of(names[0])}});
}

HttpResponse Site::quarantine_action(const HttpRequest&, const Names& names) {
  if (names[1] != "retry" && names[1] != "discard")
    return error_answer(404, "not_found", "an entry can be retried or discarded; not '" + names[1] + "'");
  return perform(names[1], {{"id", id_of(names[0])}});
}

HttpResponse Site::retry_all(const HttpRequest&, const Names&) { return perform("retry", json::object()); }
HttpResponse Site::switch_on(const HttpRequest&, const Names&) { return perform("enable", json::object()); }
HttpResponse Site::switch_off(const HttpRequest&, const Names&) { return perform("disable", json::object()); }

}  // namespace rowmesh
