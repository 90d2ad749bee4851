// The parts of a query string that rowmesh's own requests carry: "name=value&name=value", nothing escaped.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "shared/model/version.hpp"

namespace rowmesh {

// The value of `name`; none: the query does not have it.
inline std::optional<std::string> query_value(std::string_view query, const std::string& name) {
  std::string whole = "&" + std::string(query), wanted = "&" + name + "=";
  std::size_t begin = whole.find(wanted);
  if (begin == std::string::npos) return {};
  begin += wanted.size();
  return whole.substr(begin, whole.find('&', begin) - begin);
}

// HEX of "name=HEX" in a query; 0 if it is not there.
inline std::uint64_t query_number(std::string_view query, const std::string& name) {
  auto value = query_value(query, name);
  return value ? from_hex(*value) : 0;
}

}  // namespace rowmesh
