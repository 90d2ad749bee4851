// PostgreSQL's values <-> the engine-neutral form (docs/protocol.md, "Values").
//
// Functions marked RAISES call PostgreSQL and may leave by longjmp: run them under guard() and hold nothing with a
// destructor. They allocate in CurrentMemoryContext; a Value that they return is a view into it or into the datum.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "shared/model/key.hpp"
#include "shared/model/table.hpp"
#include "shared/model/value.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

// Forms with a reader and a writer of our own; everything else goes through the type's text functions.
enum class PgForm : std::uint8_t {
  int2,
  int4,
  int8,
  float4,
  float8,
  boolean,
  text,
  bpchar,
  bytea,
  date,
  time,
  timestamp,
  timestamptz,
  uuid,
  numeric,
  citext,
  other,
};

// How the values of one column travel.
struct TypeIo {
  Oid type = InvalidOid;
  std::int32_t typmod = -1;
  PgForm form = PgForm::other;
  ColumnType wire = ColumnType::other;
  bool domain = false;  // written through its input function, which checks the domain's constraints
  bool by_value = false;
  std::int16_t length = 0;
  Oid input_param = InvalidOid;
  FmgrInfo output = {};
  FmgrInfo input = {};
};

// RAISES. What PostgreSQL caches for the functions lives in `keep`.
void init_type_io(TypeIo& io, Oid type, std::int32_t typmod, MemoryContext keep);

// RAISES.
Value datum_to_value(const TypeIo& io, Datum datum, bool is_null);

// RAISES for values that the type does not hold, with a message for people. `wire`: the column's type at the sender.
Datum value_to_datum(TypeIo& io, const Value& value, ColumnType wire, bool* is_null);

// The one form of a key column's value among those that the engine holds for equal (key.hpp): a numeric without
// trailing zeros, a char(n) without padding. A view into the argument or into `scratch`.
Value canonical_key_value(const TypeIo& io, const Value& value, std::string& scratch);

}  // namespace rowmesh
