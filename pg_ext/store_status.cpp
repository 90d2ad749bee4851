// The status as JSON text in shared memory, where the views and functions of all sessions read it.
#include <nlohmann/json.hpp>

#include "pg_ext/store.hpp"
#include "shared/sync/refusals_json.hpp"

#include "pg_ext/guard.hpp"

namespace rowmesh {
namespace {

nlohmann::json to_json(const ServerStatus& server) {
  return {{"id", server.id},
          {"name", server.name},
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
          {"acked", server.acked},
          {"progress", server.progress}};
}

nlohmann::json to_json(const NodeStatus& status) {
  nlohmann::json json = {{"time_ms", status.time_ms},
                         {"position", status.position},
                         {"unsettled", status.unsettled},
                         {"side_rows", status.side_rows},
                         {"quarantined", status.quarantined},
                         {"captured", status.captured},
                         {"applied", status.applied},
                         {"conflicts", status.conflicts},
                         {"refused_requests", status.refused_requests},
                         {"refused", status.refused},
                         {"wait_cut", status.wait_cut},
                         {"blocked", status.blocked},
                         {"identity", status.identity},
                         {"servers", nlohmann::json::array()}};
  for (const ServerStatus& server : status.servers) json["servers"].push_back(to_json(server));
  return json;
}

}  // namespace

void PgStore::publish_status(const NodeStatus& status) {
  nlohmann::json json = to_json(status);
  json["listening"] = listening_;
  json["listen_problem"] = listen_problem_;
  // Not UTF-8 somewhere (a message of a database in another encoding) must not stop the worker.
  std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  guard([&] { publish_status_text(slot_, text); });
}

void PgStore::set_listening(const std::string& address, const std::string& problem) {
  listening_ = address;
  listen_problem_ = problem;
}

}  // namespace rowmesh
