// Who is logged in, and who may try to. In memory: a restart of the worker ends all sessions.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "shared/model/clock.hpp"

namespace rowmesh {

class Sessions {
 public:
  Sessions(WallClock& wall, Random& random) : wall_(wall), random_(random) {}

  std::string open();                 // the id, for the cookie
  bool known(const std::string& id);  // and notes that it was used
  void close(const std::string& id);
  void close_all() { sessions_.clear(); }
  // What a request that changes something must say beside the cookie; a page of another site cannot know it.
  static std::string csrf_of(const std::string& id);
  std::uint64_t ends_ms(const std::string& id) const;  // unless it goes unused before

 private:
  struct Session {
    std::uint64_t opened_ms, used_ms;
  };
  bool over(const Session& session) const;
  WallClock& wall_;
  Random& random_;
  std::map<std::string, Session> sessions_;
};

// Slows down whoever guesses. Counts failures by address and in all, so that many addresses do not help.
class Attempts {
 public:
  explicit Attempts(WallClock& wall) : wall_(wall) {}
  // 0: go on; otherwise how long to wait.
  std::uint64_t wait_ms(const std::string& address);
  void failed(const std::string& address);
  void succeeded(const std::string& address) { by_address_.erase(address); }

 private:
  struct Failures {
    std::uint32_t count = 0;
    std::uint64_t last_ms = 0;
  };
  WallClock& wall_;
  std::map<std::string, Failures> by_address_;
  std::deque<std::uint64_t> recent_ms_;
};

}  // namespace rowmesh
