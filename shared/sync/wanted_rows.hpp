// Rows that a receiver needs whole: it has no such row, or not the big value that was left out because it had settled.
#pragma once
#include <set>
#include <string>
#include <utility>

#include "shared/model/key.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {

class WantedRows {
 public:
  WantedRows() = default;
  explicit WantedRows(bool all) : all_(all) {}

  // `table`: its name on the wire; `key`: as its sender encodes it. Beyond a bound they are not named one by one any
  // more: a document of a million rows may lack something in each.
  void add(std::string table, Key key) {
    if (all_) return;
    if (rows_.size() < limits::wanted_rows) {
      rows_.emplace(std::move(table), std::move(key));
      return;
    }
    all_ = true;
    rows_.clear();
  }
  bool all() const { return all_; }
  const std::set<std::pair<std::string, Key>>& rows() const { return rows_; }
  bool any() const { return all_ || !rows_.empty(); }
  bool has(const std::string& table, KeyView key) const {
    return all_ || (!rows_.empty() && rows_.contains({table, Key(key)}));
  }
  bool operator==(const WantedRows&) const = default;

 private:
  bool all_ = false;
  std::set<std::pair<std::string, Key>> rows_;
};

}  // namespace rowmesh
