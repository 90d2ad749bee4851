// log_entries(): what capture wrote, for people who look for a fault.
#include "pg_ext/guard.hpp"
#include "pg_ext/log_record.hpp"
#include "pg_ext/rows_out.hpp"
#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(rowmesh_log_entries);
}

namespace rowmesh {
namespace {

constexpr const char* op_names[] = {"insert", "update", "delete", "truncate"};

Datum attribute_array(const AttributeMask& mask) {
  Datum numbers[MaxHeapAttributeNumber];
  int count = 0;
  for (int number = 1; number <= MaxHeapAttributeNumber; number++)
    if (mask.has(number)) numbers[count++] = Int32GetDatum(number);
  return PointerGetDatum(construct_array(numbers, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

// RAISES.
void put_entry(const RowsOut& out, const RecordedChange& change, std::uint64_t xid, std::int64_t hlc, const char* key) {
  bool masked = change.op == LogOp::update && !change.columns.all;
  Datum values[6] = {FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)),
                     Int64GetDatum(hlc),
                     Int32GetDatum(static_cast<int32>(change.table)),
                     CStringGetTextDatum(op_names[static_cast<int>(change.op)]),
                     CStringGetTextDatum(key),
                     0};
  bool nulls[6] = {false, false, false, false, change.op == LogOp::truncate, !masked};
  if (masked) values[5] = attribute_array(change.columns);
  put_row(out, values, nulls);
}

void put_record(const RowsOut& out, const SqlRow& row) {
  std::uint64_t xid = std::stoull(row[0].value_or("0"));
  std::int64_t hlc = std::stoll(row[1].value_or("0"));
  if (is_record_number(static_cast<std::uint64_t>(hlc))) hlc = 0;
  decode_log_record(row[2].value_or(""), [&](const RecordedChange& change) {
    std::string key = change.op == LogOp::truncate ? "" : key_to_text(change.key);
    guard([&] { put_entry(out, change, xid, hlc, key.c_str()); });
  });
}

}  // namespace
}  // namespace rowmesh

extern "C" PGDLLEXPORT Datum rowmesh_log_entries(PG_FUNCTION_ARGS) {
  using namespace rowmesh;
  RowsOut out = start_rows(fcinfo);
  door([&] {
    auto rows = run_sql(
        "SELECT l.xid, l.hlc, coalesce(l.data, l.big) FROM "
        "(SELECT 0 AS half, ctid, * FROM rowmesh.log_0 UNION ALL SELECT 1, ctid, * FROM rowmesh.log_1) l ORDER BY "
        "l.xid, l.half, l.ctid");
    for (const SqlRow& row : rows) put_record(out, row);
  });
  return 0;
}
