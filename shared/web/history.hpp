// The last hour, for the charts: a sample every few seconds, in memory, of bounded size.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "shared/sync/status.hpp"

namespace rowmesh {

class RecentHistory {
 public:
  static constexpr std::uint64_t step_ms = 5000;
  static constexpr std::size_t samples = 720;  // an hour

  // Called often; takes a sample when it is time. Returns when the next one is due.
  std::uint64_t look(std::uint64_t now_ms, const NodeStatus& status);
  bool due(std::uint64_t now_ms) const { return now_ms >= next_ms_ || now_ms + 2 * step_ms < next_ms_; }
  std::uint64_t next_ms() const { return next_ms_; }
  // {"step_ms", "until_ms", "captured": [per second], "applied": [...], "servers": {name: {"sent", "received",
  // "lag_ms", "queued"}}}
  nlohmann::json to_json() const;

 private:
  struct Line {
    std::uint64_t sent = 0, received = 0;  // the counters as last seen
    std::deque<float> sent_rate, received_rate, lag_ms, queued;
  };
  float rate(std::uint64_t now, std::uint64_t& before, double seconds) const;

  std::uint64_t next_ms_ = 0, last_ms_ = 0;
  std::uint64_t captured_ = 0, applied_ = 0;
  std::deque<float> captured_rate_, applied_rate_;
  std::map<std::int64_t, std::pair<std::string, Line>> servers_;
};

}  // namespace rowmesh
