// Header, table and trailer lines of a document: the few lines for which a JSON library with a tree is fast enough.
#pragma once
#include <string>
#include <string_view>

#include "shared/codec/document.hpp"

namespace rowmesh {

// Without the '\n'.
std::string header_line(const DocumentHeader& header);
std::string table_line(std::uint32_t number, const Table& table);
std::string trailer_line(std::uint64_t rows, std::uint64_t sum);

DocumentHeader parse_header_line(std::string_view line);

struct Trailer {
  std::uint64_t rows = 0, sum = 0;
};
// A line that begins with '{' and is not the header.
struct ObjectLine {
  bool is_trailer = false;
  Trailer trailer;
  std::uint64_t table_number = 0;
  WireTable table;
};
ObjectLine parse_object_line(std::string_view line);

}  // namespace rowmesh
