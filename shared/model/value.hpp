// A column's value in the engine-neutral form in which it travels (docs/protocol.md, "Values").
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rowmesh {

enum class ValueKind : std::uint8_t {
  null,
  integer,  // 64-bit signed
  real,     // IEEE double, NaN and infinities included
  boolean,  // in `integer`: 0 or 1
  text,     // UTF-8 (SQLite may hold other bytes: these travel as `bytes` with the text flag set by the codec)
  bytes,
  omitted,  // a big settled value that the sender left out; the receiver keeps its own
};

// A view: text and bytes belong to somebody else, who must outlive it. Copy into an OwnedRow to keep it.
struct Value {
  ValueKind kind = ValueKind::null;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;

  static Value of_null() { return {}; }
  static Value of_integer(std::int64_t number) { return {ValueKind::integer, number, 0, {}}; }
  static Value of_real(double number) { return {ValueKind::real, 0, number, {}}; }
  static Value of_boolean(bool yes) { return {ValueKind::boolean, yes, 0, {}}; }
  static Value of_text(std::string_view text) { return {ValueKind::text, 0, 0, text}; }
  static Value of_bytes(std::string_view bytes) { return {ValueKind::bytes, 0, 0, bytes}; }
  static Value of_omitted() { return {ValueKind::omitted, 0, 0, {}}; }

  bool is_null() const { return kind == ValueKind::null; }
};

// Equal in kind and to the bit (so 1 is not 1.0, and -0.0 is not 0.0): what "nothing changed" means.
bool same_value(const Value& left, const Value& right);

using Row = std::vector<Value>;  // one value per column of the Table, in its order
using RowView = std::span<const Value>;

// A row that owns its texts. Moving keeps the views valid; copying copies the texts.
class OwnedRow {
 public:
  OwnedRow() = default;
  explicit OwnedRow(RowView row);
  OwnedRow(const OwnedRow& other) : OwnedRow(RowView(other.values_)) {}
  OwnedRow& operator=(const OwnedRow& other) { return *this = OwnedRow(RowView(other.values_)); }
  OwnedRow(OwnedRow&&) = default;
  OwnedRow& operator=(OwnedRow&&) = default;

  RowView view() const { return values_; }
  bool empty() const { return values_.empty(); }
  std::size_t size() const { return values_.size(); }
  const Value& operator[](std::size_t column) const { return values_[column]; }
  void set(std::size_t column, const Value& value);  // grows with nulls

 private:
  std::vector<Value> values_;
  std::vector<std::unique_ptr<char[]>> texts_;
};

}  // namespace rowmesh
