// The kept inputs of a fuzzer, each through its target: what once broke something does not break it again.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "shared/fuzz/target.hpp"

namespace rowmesh::fuzz {

inline void replay(const std::string& name, void (*target)(std::string_view)) {
  std::filesystem::path folder = std::filesystem::path(ROWMESH_SOURCE_DIR) / "shared/fuzz/corpus" / name;
  std::size_t inputs = 0;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    SCOPED_TRACE(entry.path().string());
    auto begin = std::chrono::steady_clock::now();
    target(bytes);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << "an input must not cost so much";
    inputs++;
  }
  EXPECT_GT(inputs, 5u) << "the corpus of " << name << " is gone";
}

}  // namespace rowmesh::fuzz
