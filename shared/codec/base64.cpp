#include "shared/codec/base64.hpp"

#include <array>
#include <cstdint>

namespace rowmesh {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t not_in_alphabet = 255;

constexpr std::array<std::uint8_t, 256> make_inverse() {
  std::array<std::uint8_t, 256> inverse{};
  inverse.fill(not_in_alphabet);
  for (std::size_t i = 0; i < alphabet.size(); i++)
    inverse[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  return inverse;
}
constexpr std::array<std::uint8_t, 256> inverse = make_inverse();

std::uint32_t byte(std::string_view bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }

}  // namespace

char* encode_base64(char* out, std::string_view bytes) {
  auto put = [&](std::uint32_t group, int characters) {
    for (int i = 0; i < characters; i++) *out++ = alphabet[group >> (18 - 6 * i) & 63];
  };
  std::size_t at = 0;
  for (; at + 3 <= bytes.size(); at += 3)
    put(byte(bytes, at) << 16 | byte(bytes, at + 1) << 8 | byte(bytes, at + 2), 4);
  std::size_t left = bytes.size() - at;
  if (left == 1) {
    put(byte(bytes, at) << 16, 2);
    *out++ = '=';
    *out++ = '=';
  } else if (left == 2) {
    put(byte(bytes, at) << 16 | byte(bytes, at + 1) << 8, 3);
    *out++ = '=';
  }
  return out;
}

char* decode_base64(char* out, std::string_view text) {
  if (text.size() % 4 != 0) return nullptr;
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::size_t missing = at + 4 == text.size() ? padding : 0;
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 4; i++) {
      std::uint8_t bits = i < 4 - missing ? inverse[byte(text, at + i)] : 0;
      if (bits == not_in_alphabet) return nullptr;
      group = group << 6 | bits;
    }
    if ((missing == 1 && group & 0xff) || (missing == 2 && group & 0xffff)) return nullptr;  // one text for one value
    *out++ = static_cast<char>(group >> 16);
    if (missing < 2) *out++ = static_cast<char>(group >> 8);
    if (missing < 1) *out++ = static_cast<char>(group);
  }
  return out;
}

}  // namespace rowmesh
