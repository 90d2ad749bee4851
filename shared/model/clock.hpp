// Time and chance come in from outside, so that the same code runs under the simulator.
#pragma once
#include <cstdint>

#include "shared/model/version.hpp"

namespace rowmesh {

class WallClock {
 public:
  virtual ~WallClock() = default;
  virtual std::uint64_t now_ms() = 0;  // since 1970; may jump either way
};

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;  // 64 random bits; from the system's generator outside of tests
};

// The node's hybrid logical clock. In PostgreSQL it lies in shared memory, since every backend takes versions from it.
class VersionClock {
 public:
  virtual ~VersionClock() = default;
  virtual Hlc tick() = 0;              // greater than every earlier tick() and observe() of this node
  virtual Hlc now() = 0;               // the last value given or observed; does not move the clock
  virtual void observe(Hlc seen) = 0;  // never goes back
};

// max(wall time, last + 1). One thread.
class HybridClock : public VersionClock {
 public:
  HybridClock(WallClock& wall, Hlc last) : wall_(wall), last_(last) {}
  Hlc tick() override {
    Hlc wall = ms_to_hlc(wall_.now_ms());
    last_ = wall > last_ ? wall : last_ + 1;
    return last_;
  }
  Hlc now() override { return last_; }
  void restart(Hlc last) { last_ = last; }
  void observe(Hlc seen) override { last_ = seen > last_ ? seen : last_; }

 private:
  WallClock& wall_;
  Hlc last_;
};

}  // namespace rowmesh
