// The document's checksum: XXH64 (seed 0) over a stream. It finds damage, not malice: requests are signed for that.
// libzstd has the same function but does not export it.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace rowmesh {

class Checksum {
 public:
  void update(std::string_view bytes) {
    total_ += bytes.size();
    if (held_ + bytes.size() < block_bytes) return hold(bytes);
    if (held_ > 0) {
      std::string_view missing = bytes.substr(0, block_bytes - held_);
      bytes.remove_prefix(missing.size());
      hold(missing);
      block(buffer_);
      held_ = 0;
    }
    for (; bytes.size() >= block_bytes; bytes.remove_prefix(block_bytes)) block(bytes.data());
    hold(bytes);
  }

  // Of all bytes so far; more may follow.
  std::uint64_t value() const {
    std::uint64_t sum = prime5;
    if (total_ >= block_bytes) {
      sum = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
      for (std::uint64_t lane : lanes_) sum = (sum ^ round(0, lane)) * prime1 + prime4;
    }
    sum += total_;
    std::size_t at = 0;
    for (; at + 8 <= held_; at += 8)
      sum = std::rotl(sum ^ round(0, load<std::uint64_t>(buffer_ + at)), 27) * prime1 + prime4;
    if (at + 4 <= held_) {
      sum = std::rotl(sum ^ load<std::uint32_t>(buffer_ + at) * prime1, 23) * prime2 + prime3;
      at += 4;
    }
    for (; at < held_; at++) sum = std::rotl(sum ^ static_cast<unsigned char>(buffer_[at]) * prime5, 11) * prime1;
    sum = (sum ^ sum >> 33) * prime2;
    sum = (sum ^ sum >> 29) * prime3;
    return sum ^ sum >> 32;
  }

 private:
  static constexpr std::size_t block_bytes = 32;
  static constexpr std::uint64_t prime1 = 0x9E3779B185EBCA87, prime2 = 0xC2B2AE3D27D4EB4F, prime3 = 0x165667B19E3779F9,
                                 prime4 = 0x85EBCA77C2B2AE63, prime5 = 0x27D4EB2F165667C5;

  template <typename Number>
  static std::uint64_t load(const char* at) {  // little endian, as every machine is that we run on
    Number number;
    std::memcpy(&number, at, sizeof number);
    return number;
  }
  static std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
    return std::rotl(lane + input * prime2, 31) * prime1;
  }

  void hold(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(buffer_ + held_, bytes.data(), bytes.size());
    held_ += bytes.size();
  }
  void block(const char* at) {
    for (int lane = 0; lane < 4; lane++) lanes_[lane] = round(lanes_[lane], load<std::uint64_t>(at + 8 * lane));
  }

  std::uint64_t lanes_[4] = {prime1 + prime2, prime2, 0, 0 - prime1};
  std::uint64_t total_ = 0;
  std::size_t held_ = 0;
  char buffer_[block_bytes] = {};
};

static_assert(std::endian::native == std::endian::little);

}  // namespace rowmesh
