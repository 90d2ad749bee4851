// What a node counts for its operators, beyond the numbers of NodeStatus. Shown by /metrics (shared/web/metrics.cpp).
#pragma once
#include <array>
#include <cstdint>

namespace rowmesh {

inline constexpr std::array<double, 14> seconds_bounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                          0.25,  0.5,    1,     2.5,  5,     10,   60};
inline constexpr std::array<double, 7> changes_bounds = {1, 10, 100, 1000, 10000, 100000, 1000000};

// As Prometheus means it: counts[i] is the number of observations in (bounds[i-1], bounds[i]], the last one of those
// beyond.
template <const auto& bounds>
struct Histogram {
  std::array<std::uint64_t, bounds.size() + 1> counts = {};
  double sum = 0;

  void observe(double value) {
    std::size_t at = 0;
    while (at < bounds.size() && value > bounds[at]) at++;
    counts[at]++;
    sum += value;
  }
  void observe_ms(std::uint64_t ms) { observe(static_cast<double>(ms) / 1000); }
};

// Of one server, since this node started.
struct ServerMeters {
  std::uint64_t documents_sent = 0, documents_received = 0, bytes_sent = 0, bytes_received = 0;
  std::uint64_t failures = 0;               // requests without a useful answer: each was, or will be, tried again
  Histogram<changes_bounds> batch_changes;  // in one document that we sent
  Histogram<seconds_bounds> ship_seconds;   // from sending a document to its answer
  Histogram<seconds_bounds> apply_seconds;  // of a document that we received
  Histogram<seconds_bounds> lag_seconds;    // from the oldest commit in a document to the news that it is applied there
};

}  // namespace rowmesh
