#include "shared/fuzz/target.hpp"

#include <cstdio>
#include <cstdlib>

namespace rowmesh::fuzz {

void broken(const char* promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

std::uint8_t Input::byte() {
  if (rest_.empty()) return 0;
  auto first = static_cast<std::uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return first;
}

std::uint64_t Input::number(unsigned bytes) {
  std::uint64_t number = 0;
  while (bytes-- > 0) number = number << 8 | byte();
  return number;
}

std::string_view Input::part() {
  std::size_t end = rest_.find('\xff');
  std::string_view part = rest_.substr(0, end);
  rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
  return part;
}

std::string_view Input::rest() {
  std::string_view all = rest_;
  rest_ = {};
  return all;
}

}  // namespace rowmesh::fuzz
