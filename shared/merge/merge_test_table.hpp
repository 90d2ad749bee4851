// The table whose keys the tests of the merge give their lives.
#pragma once
#include "shared/merge/merge.hpp"

namespace rowmesh {

inline constexpr std::size_t columns = 3;

inline Table table(bool integer_key) {
  Table table;
  table.id = 1;
  table.columns = {{"id", integer_key ? ColumnType::integer : ColumnType::text, "", true, false},
                   {"a", ColumnType::text, "", false, false},
                   {"b", ColumnType::text, "", false, false}};
  table.key = {0};
  table.integer_key = integer_key;
  return table;
}

}  // namespace rowmesh
