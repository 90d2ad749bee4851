#include "shared/sync/table_fit.hpp"

#include <algorithm>

namespace rowmesh {
namespace {

enum class Family : std::uint8_t { open, number, moment, uuid, bytes, json };

Family family_of(ColumnType type) {
  switch (type) {
    case ColumnType::integer:
    case ColumnType::real:
    case ColumnType::boolean:
    case ColumnType::numeric: return Family::number;
    case ColumnType::date:
    case ColumnType::time:
    case ColumnType::timestamp:
    case ColumnType::timestamptz: return Family::moment;
    case ColumnType::uuid: return Family::uuid;
    case ColumnType::bytes: return Family::bytes;
    case ColumnType::json: return Family::json;
    case ColumnType::any:
    case ColumnType::text:
    case ColumnType::other: return Family::open;
  }
  return Family::open;
}

// No value of one type could be a value of the other.
bool incompatible(ColumnType left, ColumnType right) {
  Family here = family_of(left), there = family_of(right);
  return here != there && here != Family::open && there != Family::open;
}

}  // namespace

std::string table_misfit(const Table& here, const WireTable& there) {
  std::string table = "table '" + here.wire_name + "'";
  for (const std::string& name : there.columns)
    if (here.column_index(name) < 0)
      return table + " has no column '" + name + "' here, but on the other server: add it here, or drop it there";
  std::vector<ColumnIndex> key;
  for (std::uint32_t column : there.key)
    key.push_back(static_cast<ColumnIndex>(here.column_index(there.columns[column])));
  if (key != here.key)
    return table +
           " has another primary key here than on the other server: make the keys the same columns in the same order";
  for (const Column& column : here.columns) {
    auto at = std::find(there.columns.begin(), there.columns.end(), column.name);
    if (at == there.columns.end()) {
      if (column.not_null && !column.has_default)
        return table + " has a column '" + column.name +
               "' here that is NOT NULL without a default, and the other server has no such column: give it a default, "
               "or add it there";
      continue;
    }
    ColumnType theirs = there.types[static_cast<std::size_t>(at - there.columns.begin())];
    if (incompatible(column.type, theirs))
      return table + ", column '" + column.name + "', is of type " + to_string(column.type) + " here and " +
             to_string(theirs) + " on the other server, which have no values in common: give it the same type on both";
  }
  return "";
}

std::string table_shape(const Table& table) {
  std::string shape;
  for (const Column& column : table.columns)
    shape += column.name + '\0' + to_string(column.type) + (column.not_null ? "!" : "") +
             (column.has_default ? "=" : "") + '\0';
  for (ColumnIndex column : table.key) shape += std::to_string(column) + ',';
  return shape;
}

}  // namespace rowmesh
