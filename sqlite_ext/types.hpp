// Values between the wire's form and SQLite's: nothing is bent on the way. What a column cannot hold is refused with a
// sentence.
#pragma once
#include <deque>
#include <string>
#include <string_view>

#include "shared/model/table.hpp"
#include "shared/model/value.hpp"

namespace rowmesh::sqlite {

enum class Affinity : unsigned char { none, text, integer, real, numeric };

Affinity affinity_of(std::string_view declared);       // SQLite's five rules; STRICT's ANY is `none`
ColumnType column_type_of(std::string_view declared);  // what the column is called on the wire
bool is_integer_type(std::string_view declared);       // contains INT

// How timestamps from the wire are written: setting `datetime_fraction`.
enum class Fraction : unsigned char { always, nonzero };

// Owns the texts that a conversion makes.
using Scratch = std::deque<std::string>;

struct StoredValue {
  Value value;         // integer, real, text, bytes or null: what to bind, and what the column then holds
  std::string reason;  // not empty: the column cannot hold it; a sentence without the column's name
};

// A value of wire type `wire` for a column with this affinity.
StoredValue to_stored(const Value& value, ColumnType wire, Affinity affinity, Fraction fraction, Scratch& scratch);

// "YYYY-MM-DD HH:MM:SS.ffffff" from ISO 8601 with a T; anything else comes back as it is.
std::string stored_timestamp(std::string_view wire, Fraction fraction);

// The one form of all values that the column's affinity and collation hold for equal: 1.0 is 1, 'ABC' under NOCASE is
// 'abc'.
Value canonical_value(const Value& stored, Affinity affinity, std::string_view collation, Scratch& scratch);

// A native value as it goes on the wire: 0 and 1 of a boolean column become booleans.
Value to_wire(const Value& native, ColumnType type);

}  // namespace rowmesh::sqlite
