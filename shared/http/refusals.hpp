// Why requests were refused, counted: what `status`, /metrics and people who look for an attack see.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace rowmesh {

enum class RefusedFor : std::uint8_t {
  // by the listener, before a node hears of it
  too_many_connections,  // in all or from one address
  rate,                  // more requests a second from one address than allowed
  framing,               // two lengths, a length beside chunks, a header twice, no HTTP/1.1
  header_size,
  body_size,
  slow,         // the head or the body did not come in time
  certificate,  // no certificate of a client, or one that our CA did not sign
  // by the node
  not_signed,
  signature,  // wrong secret, or changed on the way
  unknown_node,
  old,
  replayed,
  changed_body,
  direction,  // this server takes nothing from the one that asks
  disabled,
  not_found,
  document,  // read, and then not taken: a gap, another history, damaged
  other,
};
inline constexpr std::size_t refusal_kinds = static_cast<std::size_t>(RefusedFor::other) + 1;

struct RefusalCounts {
  std::array<std::uint64_t, refusal_kinds> of{};

  void count(RefusedFor why) { of[static_cast<std::size_t>(why)]++; }
  std::uint64_t operator[](RefusedFor why) const { return of[static_cast<std::size_t>(why)]; }
  RefusalCounts& operator+=(const RefusalCounts& more) {
    for (std::size_t i = 0; i < refusal_kinds; i++) of[i] += more.of[i];
    return *this;
  }
  std::uint64_t sum() const {
    std::uint64_t all = 0;
    for (std::uint64_t one : of) all += one;
    return all;
  }
};

// The label in metrics and views. In the order of RefusedFor.
inline constexpr std::array<const char*, refusal_kinds> refusal_names = {
    "too_many_connections", "rate",       "framing",   "header_size",  "body_size", "slow",
    "certificate",          "not_signed", "signature", "unknown_node", "old",       "replayed",
    "changed_body",         "direction",  "disabled",  "not_found",    "document",  "other"};

}  // namespace rowmesh
