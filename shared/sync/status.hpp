// What the views, /health and the dashboard show. Made by the node, published through the store.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "shared/http/refusals.hpp"
#include "shared/model/version.hpp"

namespace rowmesh {

// As in the design: 'streaming', 'catching up', 'copying', 'backing off', 'disabled', 'blocked', 'needs copy'.
struct ServerStatus {
  std::int64_t id = 0;
  std::string name, url, direction;
  bool enabled = true;
  std::string state;
  std::uint64_t queued = 0;           // keys that it has not confirmed
  std::uint64_t lag_ms = 0;           // age of the oldest of them
  std::uint64_t last_success_ms = 0;  // since 1970; 0: never
  std::string last_error;             // a sentence; empty: none since the last success
  std::uint64_t rows_sent = 0, rows_received = 0, conflicts = 0;
  PositionNumber acked = 0;         // own position that it has applied; wait() compares with cut_position
  std::string progress;             // copy: "table 3 of 11, 12000 of about 40000 rows"
  std::uint64_t failures = 0;       // requests since the start that got no useful answer
  std::int64_t clock_ahead_ms = 0;  // its clock before ours, as last heard
};

struct NodeStatus {
  std::string node, name;  // Identity's
  std::uint64_t time_ms = 0;
  PositionNumber position = 0;  // own, newest
  std::uint64_t unsettled = 0;  // rows in the window
  std::uint64_t side_rows = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t captured = 0, applied = 0, conflicts = 0, refused_requests = 0;
  RefusalCounts refused;         // the same by reason, those of the listener included
  std::uint64_t wait_cut = 0;    // number of forced cuts: wait() asks for one and sees it done
  std::string blocked;           // why the whole node stands still; empty: it does not
  std::string identity;          // 'copied', 'restored': this node is not who it was, and `blocked` says what mends it
  std::string listening;         // "127.0.0.1:8080", or ''
  std::string inside;            // behind a neighbour that holds that port: where it listens itself
  std::string listen_problem;    // why it does not listen though it should
  std::uint64_t started_ms = 0;  // since 1970
  std::map<std::string, std::string>
      waiting;  // tables whose changes wait here, by their name on the wire: why, as a sentence
  std::vector<ServerStatus> servers;
};

}  // namespace rowmesh
