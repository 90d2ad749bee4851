#include "shared/sync/status_json.hpp"

#include <nlohmann/json.hpp>

#include "shared/sync/refusals_json.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;

template <typename Type>
void take(const json& from, const char* name, Type& into) {
  auto at = from.find(name);
  if (at == from.end()) return;
  try {
    into = at->get<Type>();
  } catch (const json::exception&) {
    // Another version wrote something else there; the default stands.
  }
}

// The same list for both directions, so that no field is written and not read.
template <typename Status, typename Field>
void server_fields(Status& server, Field field) {
  field("id", server.id), field("name", server.name), field("url", server.url), field("direction", server.direction);
  field("enabled", server.enabled), field("state", server.state), field("queued", server.queued),
      field("lag_ms", server.lag_ms);
  field("last_success_ms", server.last_success_ms), field("last_error", server.last_error),
      field("rows_sent", server.rows_sent);
  field("rows_received", server.rows_received), field("conflicts", server.conflicts), field("acked", server.acked);
  field("progress", server.progress), field("failures", server.failures),
      field("clock_ahead_ms", server.clock_ahead_ms);
}

template <typename Status, typename Field>
void node_fields(Status& node, Field field) {
  field("node", node.node), field("name", node.name), field("time_ms", node.time_ms), field("position", node.position),
      field("unsettled", node.unsettled);
  field("side_rows", node.side_rows), field("quarantined", node.quarantined), field("captured", node.captured);
  field("applied", node.applied), field("conflicts", node.conflicts), field("refused_requests", node.refused_requests);
  field("refused", node.refused);
  field("wait_cut", node.wait_cut), field("blocked", node.blocked), field("identity", node.identity),
      field("listening", node.listening), field("inside", node.inside);
  field("listen_problem", node.listen_problem), field("started_ms", node.started_ms);
  field("waiting", node.waiting);
}

}  // namespace

std::string status_to_json(const NodeStatus& status) {
  json node;
  node_fields(status, [&](const char* name, const auto& value) { node[name] = value; });
  node["servers"] = json::array();
  for (const ServerStatus& server : status.servers) {
    json one;
    server_fields(server, [&](const char* name, const auto& value) { one[name] = value; });
    node["servers"].push_back(std::move(one));
  }
  return node.dump(-1, ' ', false, json::error_handler_t::replace);
}

NodeStatus status_from_json(const std::string& text) {
  NodeStatus status;
  json node = json::parse(text, nullptr, false);
  if (!node.is_object()) return status;
  node_fields(status, [&](const char* name, auto& value) { take(node, name, value); });
  auto servers = node.find("servers");
  if (servers == node.end() || !servers->is_array()) return status;
  for (const json& one : *servers) {
    ServerStatus server;
    if (one.is_object()) server_fields(server, [&](const char* name, auto& value) { take(one, name, value); });
    status.servers.push_back(std::move(server));
  }
  return status;
}

}  // namespace rowmesh
