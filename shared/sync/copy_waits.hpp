// Servers that take copies of each other in a ring: which of them gives all the same. What is passed on with each
// refusal, and what follows from it; nothing else (shared/sync/README.md, "Copies in a ring").
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>

namespace rowmesh {

// Who waits for whom, as who refuses a piece knows it. A server goes by a random number, which is another one as soon
// as it has other copies to take: what is said of a number holds as long as anybody has that number.
struct CopyWaits {
  struct Said {
    std::uint64_t count = 0;        // grows with each change of what it says: the last counts, whichever way it came
    bool all = false;               // all of whom it takes copies have refused; else one may still give
    std::set<std::uint64_t> whose;  // of whom it takes copies, as far as they have
    bool operator==(const Said&) const = default;
  };
  std::uint64_t self = 0;  // who refuses; 0: an older server, which does not say
  std::map<std::uint64_t, Said> all;

  void take(const CopyWaits& from);
  // Do all whom `self` waits for wait for `self` in turn, is `asker` one of them, and is it for `self` to give?
  bool gives_to(std::uint64_t asker) const;
  // Of what is known only that by which `self` waits; nothing at all of more than limits::copy_waits.
  void keep_to_own();
};

// The top bits of a number order servers: the lowest of a ring gives.
enum class GivesInRing : std::uint64_t {
  first = 0,
  last = 1,  // it has no rows but those captured since
  never = 2  // it was put back or copied, and has not come back
};
std::uint64_t copy_number(GivesInRing when, std::uint64_t random);
GivesInRing gives_in_ring(std::uint64_t number);

nlohmann::json copy_waits_to_json(const CopyWaits& waits);
CopyWaits copy_waits_of(const nlohmann::json& from);  // throws on anything else

}  // namespace rowmesh
