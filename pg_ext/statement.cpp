#include "pg_ext/statement.hpp"

#include <unordered_map>

#include "pg_ext/guard.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
}

namespace rowmesh {
namespace {

constexpr int most_arguments = 20;

// What a statement gave: palloc'd, so that an error on the way leaves nothing behind.
struct RawResult {
  std::uint64_t rows = 0;
  int columns = 0;
  char** cells = nullptr;  // nullptr: null
  int* lengths = nullptr;
};

Datum to_datum(const SqlArgument& argument) {
  if (argument.null) return 0;
  if (argument.type == INT8OID) return Int64GetDatum(argument.number);
  return PointerGetDatum(cstring_to_text_with_len(argument.bytes.data(), static_cast<int>(argument.bytes.size())));
}

void copy_cell(RawResult& result, std::size_t at, HeapTuple tuple, TupleDesc descriptor, int column,
               MemoryContext keep) {
  bool is_null;
  Datum datum = SPI_getbinval(tuple, descriptor, column + 1, &is_null);
  result.cells[at] = nullptr;
  if (is_null) return;
  Oid type = SPI_gettypeid(descriptor, column + 1), function;
  bool is_varlena;
  if (type == BYTEAOID) {
    struct varlena* bytes = PG_DETOAST_DATUM_PACKED(datum);
    result.lengths[at] = static_cast<int>(VARSIZE_ANY_EXHDR(bytes));
    result.cells[at] = static_cast<char*>(MemoryContextAlloc(keep, static_cast<Size>(result.lengths[at]) + 1));
    memcpy(result.cells[at], VARDATA_ANY(bytes), static_cast<Size>(result.lengths[at]));
    return;
  }
  getTypeOutputInfo(type, &function, &is_varlena);
  result.cells[at] = MemoryContextStrdup(keep, OidOutputFunctionCall(function, datum));
  result.lengths[at] = static_cast<int>(strlen(result.cells[at]));
}

void copy_result(RawResult& result, MemoryContext keep) {
  if (!SPI_tuptable) return;
  result.rows = SPI_processed;
  result.columns = SPI_tuptable->tupdesc->natts;
  std::size_t cells = result.rows * static_cast<std::size_t>(result.columns);
  result.cells = static_cast<char**>(MemoryContextAllocHuge(keep, (cells + 1) * sizeof(char*)));
  result.lengths = static_cast<int*>(MemoryContextAllocHuge(keep, (cells + 1) * sizeof(int)));
  std::size_t at = 0;
  for (std::uint64_t row = 0; row < result.rows; row++)
    for (int column = 0; column < result.columns; column++)
      copy_cell(result, at++, SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, keep);
}

SPIPlanPtr prepare(const char* sql, const SqlArgument* arguments, int count) {
  Oid types[most_arguments];
  for (int i = 0; i < count; i++) types[i] = arguments[i].type;
  SPIPlanPtr plan = SPI_prepare(sql, count, types);
  if (!plan) elog(ERROR, "rowmesh: could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
  return plan;
}

void execute(SPIPlanPtr plan, const SqlArgument* arguments, int count) {
  Datum values[most_arguments];
  char nulls[most_arguments];
  for (int i = 0; i < count; i++) {
    values[i] = to_datum(arguments[i]);
    nulls[i] = arguments[i].null ? 'n' : ' ';
  }
  int code = SPI_execute_plan(plan, values, nulls, false, 0);
  if (code < 0) elog(ERROR, "rowmesh: a statement failed: %s", SPI_result_code_string(code));
}

std::vector<SqlRow> to_rows(const RawResult& raw) {
  std::vector<SqlRow> rows(raw.rows);
  std::size_t at = 0;
  for (SqlRow& row : rows) {
    row.resize(static_cast<std::size_t>(raw.columns));
    for (auto& cell : row) {
      if (raw.cells[at]) cell.emplace(raw.cells[at], static_cast<std::size_t>(raw.lengths[at]));
      at++;
    }
  }
  return rows;
}

std::vector<SqlRow> run(const char* sql, SPIPlanPtr* kept, const SqlArgument* arguments, int count) {
  RawResult raw;
  MemoryContext memory = nullptr;
  guard([&] {
    MemoryContext old = CurrentMemoryContext;
    memory = AllocSetContextCreate(CurTransactionContext, "rowmesh statement", ALLOCSET_DEFAULT_SIZES);
    SPI_connect();
    SPIPlanPtr plan = kept ? *kept : nullptr;
    if (!plan) plan = prepare(sql, arguments, count);
    if (kept && !*kept) {
      SPI_keepplan(plan);
      *kept = plan;
    }
    execute(plan, arguments, count);
    copy_result(raw, memory);
    SPI_finish();
    MemoryContextSwitchTo(old);
  });
  std::vector<SqlRow> rows = to_rows(raw);
  MemoryContextDelete(memory);
  return rows;
}

}  // namespace

std::vector<SqlRow> run_sql(const char* sql, std::initializer_list<SqlArgument> arguments) {
  static auto& plans = *new std::unordered_map<const char*, SPIPlanPtr>();
  return run(sql, &plans[sql], arguments.begin(), static_cast<int>(arguments.size()));
}

std::vector<SqlRow> run_made_sql(const std::string& sql, std::span<const SqlArgument> arguments) {
  return run(sql.c_str(), nullptr, arguments.data(), static_cast<int>(arguments.size()));
}

}  // namespace rowmesh
