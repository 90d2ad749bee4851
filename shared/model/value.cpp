#include "shared/model/value.hpp"

#include <cstring>

namespace rowmesh {

bool same_value(const Value& left, const Value& right) {
  if (left.kind != right.kind) return false;
  switch (left.kind) {
    case ValueKind::null:
    case ValueKind::omitted: return true;
    case ValueKind::integer:
    case ValueKind::boolean: return left.integer == right.integer;
    // NaN is the same as itself, and -0 is not 0: NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    case ValueKind::real: return std::memcmp(&left.real, &right.real, sizeof left.real) == 0;
    case ValueKind::text:
    case ValueKind::bytes: return left.text == right.text;
  }
  return false;
}

OwnedRow::OwnedRow(RowView row) {
  values_.reserve(row.size());
  for (std::size_t column = 0; column < row.size(); column++) set(column, row[column]);
}

void OwnedRow::set(std::size_t column, const Value& value) {
  if (values_.size() <= column) values_.resize(column + 1);
  Value copy = value;
  if (!value.text.empty()) {
    auto& text = texts_.emplace_back(new char[value.text.size()]);
    std::memcpy(text.get(), value.text.data(), value.text.size());
    copy.text = {text.get(), value.text.size()};
  }
  values_[column] = copy;
}

}  // namespace rowmesh
