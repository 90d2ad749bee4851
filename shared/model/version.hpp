// Versions: a total order over all changes of all nodes (docs/model.md, section 1.1).
#pragma once
#include <compare>
#include <cstdint>
#include <string>

namespace rowmesh {

// One incarnation of one node: a random non-zero 64-bit number. A node that was cloned or restored takes a new one, so
// two different changes can never bear the same version (model, H11).
using Origin = std::uint64_t;

// 48 bits of milliseconds since 1970, 16 bits of counter. 0 means "settled": older than everything that is still told
// apart.
using Hlc = std::uint64_t;

// A commit-safe point in the log of one origin. Numbers of one origin only grow and never repeat; 0 is "nothing".
using PositionNumber = std::uint64_t;

struct Version {
  Hlc hlc = 0;
  Origin origin = 0;

  auto operator<=>(const Version&) const = default;
  bool settled() const { return hlc == 0; }
};

struct Position {
  PositionNumber number = 0;
  std::uint64_t tag = 0;  // random; tells histories apart that give the same number (model, H11)

  bool operator==(const Position&) const = default;
};

constexpr std::uint64_t hlc_to_ms(Hlc hlc) { return hlc >> 16; }
constexpr Hlc ms_to_hlc(std::uint64_t ms) { return ms << 16; }

// 16 lower-case hex digits, the form in documents, views and logs.
std::string to_hex(std::uint64_t number);
// Throws Error(protocol) unless `text` is 1 to 16 hex digits.
std::uint64_t from_hex(const std::string& text);

}  // namespace rowmesh
