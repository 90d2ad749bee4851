// Texts of a batch of rows, freed all at once.
#pragma once
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "shared/model/value.hpp"

namespace rowmesh {

class Arena {
 public:
  std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    char* room = take(text.size());
    std::memcpy(room, text.data(), text.size());
    return {room, text.size()};
  }
  Value keep(Value value) {
    value.text = keep(value.text);
    return value;
  }
  // Values for one row, uninitialised beyond being constructed as null.
  std::span<Value> row(std::size_t columns) {
    std::size_t room = columns * sizeof(Value) + alignof(Value);
    void* place = take(room);
    auto* values = static_cast<Value*>(std::align(alignof(Value), columns * sizeof(Value), place, room));
    for (std::size_t i = 0; i < columns; i++) new (values + i) Value();
    return {values, columns};
  }
  void clear() {
    big_.clear();
    block_ = 0;
    used_ = 0;
  }

 private:
  static constexpr std::size_t block_bytes = 256 << 10;
  char* take(std::size_t bytes) {
    if (bytes > block_bytes / 4) return big_.emplace_back(new char[bytes]).get();
    if (blocks_.empty()) blocks_.emplace_back(new char[block_bytes]);
    if (used_ + bytes > block_bytes) {
      if (++block_ == blocks_.size()) blocks_.emplace_back(new char[block_bytes]);
      used_ = 0;
    }
    char* room = blocks_[block_].get() + used_;
    used_ += bytes;
    return room;
  }

  std::vector<std::unique_ptr<char[]>> blocks_, big_;
  std::size_t block_ = 0, used_ = 0;
};

}  // namespace rowmesh
