#include "shared/model/hex.hpp"

namespace rowmesh {
namespace {

unsigned digit(char of) {
  if (of >= '0' && of <= '9') return static_cast<unsigned>(of - '0');
  if (of >= 'a' && of <= 'f') return static_cast<unsigned>(of - 'a' + 10);
  return of >= 'A' && of <= 'F' ? static_cast<unsigned>(of - 'A' + 10) : 0;
}

}  // namespace

std::string bytes_to_hex(std::string_view bytes) {
  std::string hex;
  for (unsigned char byte : bytes) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  return hex;
}

std::string bytes_from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return bytes;
}

}  // namespace rowmesh
