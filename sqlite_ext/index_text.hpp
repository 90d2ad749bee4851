// The parts of a CREATE INDEX statement, cut out of its text: what a trigger needs to ask the same question of a new
// row.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace rowmesh::sqlite {

struct IndexText {
  std::vector<std::string> terms;  // columns and expressions, without COLLATE, ASC and DESC
  std::string condition;           // after WHERE; '' if there is none
};

// nullopt: the text is not understood.
std::optional<IndexText> parse_index(const std::string& sql);

}  // namespace rowmesh::sqlite
