#include "shared/web/history.hpp"

#include <nlohmann/json.hpp>

namespace rowmesh {
namespace {

void keep(std::deque<float>& values, float value) {
  values.push_back(value);
  if (values.size() > RecentHistory::samples) values.pop_front();
}

}  // namespace

// A counter that went down began anew.
float RecentHistory::rate(std::uint64_t now, std::uint64_t& before, double seconds) const {
  std::uint64_t more = now >= before ? now - before : now;
  before = now;
  return last_ms_ == 0 ? 0 : static_cast<float>(static_cast<double>(more) / seconds);
}

std::uint64_t RecentHistory::look(std::uint64_t now_ms, const NodeStatus& status) {
  double seconds = now_ms > last_ms_ ? static_cast<double>(now_ms - last_ms_) / 1000 : 1;
  keep(captured_rate_, rate(status.captured, captured_, seconds));
  keep(applied_rate_, rate(status.applied, applied_, seconds));
  std::erase_if(servers_, [&](const auto& known) {
    for (const ServerStatus& server : status.servers)
      if (server.id == known.first) return false;
    return true;
  });
  for (const ServerStatus& server : status.servers) {
    auto [at, added] = servers_.try_emplace(server.id);
    at->second.first = server.name;
    Line& line = at->second.second;
    if (added) line.sent = server.rows_sent, line.received = server.rows_received;
    keep(line.sent_rate, rate(server.rows_sent, line.sent, seconds));
    keep(line.received_rate, rate(server.rows_received, line.received, seconds));
    keep(line.lag_ms, static_cast<float>(server.lag_ms));
    keep(line.queued, static_cast<float>(server.queued));
  }
  last_ms_ = now_ms;
  return next_ms_ = now_ms + step_ms;
}

nlohmann::json RecentHistory::to_json() const {
  nlohmann::json servers = nlohmann::json::object();
  for (auto& [id, named] : servers_)
    servers[named.first] = {{"sent", named.second.sent_rate},
                            {"received", named.second.received_rate},
                            {"lag_ms", named.second.lag_ms},
                            {"queued", named.second.queued}};
  return {{"step_ms", step_ms},
          {"until_ms", last_ms_},
          {"captured", captured_rate_},
          {"applied", applied_rate_},
          {"servers", servers}};
}

}  // namespace rowmesh
