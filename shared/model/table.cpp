#include "shared/model/table.hpp"

#include <array>

namespace rowmesh {
namespace {
constexpr std::array<const char*, 14> type_names = {"any",         "integer", "real", "boolean", "numeric",
                                                    "text",        "bytes",   "date", "time",    "timestamp",
                                                    "timestamptz", "uuid",    "json", "other"};
}

// cppcheck-suppress CastIntegerToAddressAtReturn
const char* to_string(ColumnType type) { return type_names[static_cast<std::size_t>(type)]; }

ColumnType column_type_from(std::string_view name) {
  for (std::size_t i = 0; i < type_names.size(); i++)
    if (name == type_names[i]) return static_cast<ColumnType>(i);
  return ColumnType::other;
}

int Table::column_index(std::string_view name) const {
  for (std::size_t i = 0; i < columns.size(); i++)
    if (columns[i].name == name && !columns[i].dropped()) return static_cast<int>(i);
  return -1;
}

bool Table::has_dropped() const {
  for (const Column& column : columns)
    if (column.dropped()) return true;
  return false;
}

const Column* Table::find_column(std::string_view name) const {
  int index = column_index(name);
  return index < 0 ? nullptr : &columns[static_cast<std::size_t>(index)];
}

void ColumnSet::add(ColumnIndex column) { add_word(column / 64, 1ULL << (column % 64)); }

void ColumnSet::add_word(std::size_t word, std::uint64_t bits) {
  if (bits == 0) return;
  if (word == 0) {
    first_ |= bits;
    return;
  }
  if (more_.size() < word) more_.resize(word);
  more_[word - 1] |= bits;
}

bool ColumnSet::has(ColumnIndex column) const {
  if (all_) return true;
  std::size_t word = column / 64;
  std::uint64_t bits = word == 0 ? first_ : word <= more_.size() ? more_[word - 1] : 0;
  return bits >> (column % 64) & 1;
}

void ColumnSet::merge(const ColumnSet& other) {
  all_ = all_ || other.all_;
  first_ |= other.first_;
  for (std::size_t i = 0; i < other.more_.size(); i++) add_word(i + 1, other.more_[i]);
}

}  // namespace rowmesh
