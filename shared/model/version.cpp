#include "shared/model/version.hpp"

#include <charconv>

#include "shared/model/error.hpp"

namespace rowmesh {

std::string to_hex(std::uint64_t number) {
  std::string text(16, '0');
  for (std::size_t digit = 16; digit-- > 0; number >>= 4) text[digit] = "0123456789abcdef"[number & 15];
  return text;
}

std::uint64_t from_hex(const std::string& text) {
  std::uint64_t number = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (failure != std::errc() || end != text.data() + text.size() || text.size() > 16)
    throw Error(ErrorKind::protocol, "bad_number",
                "'" + text.substr(0, 32) + "' is not a number of up to 16 hex digits");
  return number;
}

}  // namespace rowmesh
