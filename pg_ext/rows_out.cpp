#include "pg_ext/rows_out.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/memutils.h"
}

namespace rowmesh {

RowsOut start_rows(FunctionCallInfo call) {
  auto* result = reinterpret_cast<ReturnSetInfo*>(call->resultinfo);
  if (!result || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("this function returns rows; call it in FROM")));
  MemoryContext old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
  TupleDesc descriptor;
  if (get_call_result_type(call, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "this function must be declared with OUT arguments");
  RowsOut out = {CreateTupleDescCopy(descriptor), tuplestore_begin_heap(true, false, work_mem)};
  result->returnMode = SFRM_Materialize;
  result->setResult = out.rows;
  result->setDesc = out.descriptor;
  MemoryContextSwitchTo(old);
  return out;
}

void put_row(const RowsOut& out, const Datum* values, const bool* nulls) {
  tuplestore_putvalues(out.rows, out.descriptor, const_cast<Datum*>(values), const_cast<bool*>(nulls));
}

}  // namespace rowmesh
