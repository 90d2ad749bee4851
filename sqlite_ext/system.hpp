// Time and chance from the system.
#pragma once
#include <chrono>

#include "shared/model/clock.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {

class SystemClock : public WallClock {
 public:
  std::uint64_t now_ms() override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

class SystemRandom : public Random {
 public:
  std::uint64_t next() override { return random_number(); }
};

}  // namespace rowmesh::sqlite
