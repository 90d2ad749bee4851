// For functions that return rows: a tuplestore in the caller's result.
#pragma once
#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/tupdesc.h"
#include "utils/tuplestore.h"
}

namespace rowmesh {

struct RowsOut {
  TupleDesc descriptor;
  Tuplestorestate* rows;
};

// RAISE.
RowsOut start_rows(FunctionCallInfo call);
void put_row(const RowsOut& out, const Datum* values, const bool* nulls);

}  // namespace rowmesh
