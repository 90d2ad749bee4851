// What this node knows of one of its servers while it runs. States are drawn in shared/sync/README.md.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "shared/codec/document.hpp"
#include "shared/sync/store.hpp"

namespace rowmesh {

struct Peer {
  ServerConfig config;
  Position start;              // own position when it was added
  bool met = false;            // a hello was answered since we started, or since it last failed
  bool in_flight = false;
  bool busy = false;           // it is applying a long document of ours: ask again rather than send
  std::uint64_t retry_at_ms = 0;
  std::uint32_t failures = 0;
  std::string blocked;         // a sentence: what a person must mend
  bool needs_copy = false;
  std::string last_error;
  std::string copy_error, copy_error_there;  // why the last copy ended early, here or as the server tells
  std::uint64_t asked_ms = 0;                // when the request in flight was sent
  std::uint64_t last_success_ms = 0, last_hello_ms = 0, last_received_ms = 0;
  std::uint64_t rows_sent = 0, rows_received = 0, conflicts = 0;
  std::uint64_t generation = 0;  // answers to requests of an older one are not listened to

  // from its last hello or answer
  std::set<std::string> tables;   // wire names that it replicates
  std::set<std::string> left_out; // tables of ours that it does not
  bool tables_asked = false;      // was greeted because changes of such a table are to be withheld
  std::set<Origin> direct;        // origins that it gets from themselves
  bool accepts_unknown = true;
  bool zstd = false;

  bool ships() const { return config.enabled && config.direction != Direction::pull && !config.url.empty(); }
  bool takes() const { return config.enabled && config.direction != Direction::push; }
};

// 250 ms, doubling to 30 s, each time somewhere between half and the whole of it, so that peers do not come back in step.
std::uint64_t backoff_ms(std::uint32_t failures, std::uint64_t random);

}  // namespace rowmesh
