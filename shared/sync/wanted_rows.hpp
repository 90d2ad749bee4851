// Rows that a receiver needs whole: it has no such row, or not the big value that was left out because it had settled.
#pragma once
#include <set>
#include <string>
#include <utility>

#include "shared/model/key.hpp"

namespace rowmesh {

struct WantedRows {
  bool all = false;
  std::set<std::pair<std::string, Key>> rows;  // the table's name on the wire, the key as its sender encodes it

  bool any() const { return all || !rows.empty(); }
  bool has(const std::string& table, KeyView key) const {
    return all || (!rows.empty() && rows.contains({table, Key(key)}));
  }
  bool operator==(const WantedRows&) const = default;
};

}  // namespace rowmesh
