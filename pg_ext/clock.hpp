// The node's clock lies in shared memory: every backend takes its transactions' versions from it.
#pragma once
#include <sys/random.h>
#include <sys/time.h>

#include <cstdint>

#include "shared/model/clock.hpp"

#include "pg_ext/shared_memory.hpp"

namespace rowmesh {

class SharedClock : public VersionClock {
 public:
  explicit SharedClock(SharedSlot* slot) : slot_(slot) {}
  Hlc tick() override { return clock_tick(slot_); }
  Hlc now() override { return clock_now(slot_); }
  void observe(Hlc seen) override { clock_observe(slot_, seen); }

 private:
  SharedSlot* slot_;
};

class SystemClock : public WallClock {
 public:
  std::uint64_t now_ms() override {
    timeval now;
    gettimeofday(&now, nullptr);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_usec) / 1000;
  }
};

class SystemRandom : public Random {
 public:
  std::uint64_t next() override {
    std::uint64_t bits = 0;
    while (getrandom(&bits, sizeof bits, 0) != sizeof bits) {}
    return bits;
  }
};

}  // namespace rowmesh
