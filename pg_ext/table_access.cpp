#include "pg_ext/table_access.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
}

namespace rowmesh {
namespace {

[[noreturn]] void altered(const PgTable& table) {
  ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                  errmsg("table %u was altered since it was last looked at", table.relation)));
  pg_unreachable();
}

void check_unaltered(const PgTable& table, Relation heap) {
  TupleDesc descriptor = RelationGetDescr(heap);
  if (static_cast<std::size_t>(descriptor->natts) != table.attribute_types.size()) altered(table);
  for (int i = 0; i < descriptor->natts; i++) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (table.attribute_types[static_cast<std::size_t>(i)] !=
        (attribute->attisdropped ? InvalidOid : attribute->atttypid))
      altered(table);
  }
}

// A TRUNCATE of one partition must not pass either, and nobody may attach or detach one meanwhile.
void lock_leaves(const PgTable& table, LOCKMODE lock) {
  List* all = find_all_inheritors(table.relation, lock, nullptr);
  std::size_t leaves = 0;
  ListCell* cell;
  foreach (cell, all) {
    Oid relation = lfirst_oid(cell);
    if (get_rel_relkind(relation) != RELKIND_RELATION) continue;
    bool known = false;
    for (const auto& leaf : table.leaves) known = known || leaf->relation == relation;
    if (!known) altered(table);
    leaves++;
  }
  list_free(all);
  if (leaves != table.leaves.size()) altered(table);
}

}  // namespace

TableAccess* open_table(PgTable& table, LOCKMODE lock) {
  auto* access = static_cast<TableAccess*>(palloc0(sizeof(TableAccess)));
  access->table = &table;
  access->heap = try_table_open(table.relation, lock);
  if (!access->heap) altered(table);
  check_unaltered(table, access->heap);
  access->lock = lock;
  if (table.partitioned) {
    lock_leaves(table, lock);
    return access;
  }
  access->slot = table_slot_create(access->heap, nullptr);
  access->index = try_index_open(table.key_index, AccessShareLock);
  if (!access->index) altered(table);
  access->point_keys = static_cast<ScanKeyData*>(palloc0(sizeof(ScanKeyData) * table.key.size()));
  return access;
}

void close_table(TableAccess* access) {
  for (std::size_t i = 0; i < access->leaf_count; i++) close_table(access->leaves[i]);
  if (access->route_slot) ExecDropSingleTupleTableSlot(access->route_slot);
  if (access->route_estate) FreeExecutorState(access->route_estate);
  if (access->point) index_endscan(access->point);
  if (access->range) index_endscan(access->range);
  if (access->result) ExecCloseIndices(access->result);
  if (access->write_slot) ExecDropSingleTupleTableSlot(access->write_slot);
  if (access->lock_slot) ExecDropSingleTupleTableSlot(access->lock_slot);
  if (access->slot) ExecDropSingleTupleTableSlot(access->slot);
  if (access->estate) {
    ExecResetTupleTable(access->estate->es_tupleTable, false);
    FreeExecutorState(access->estate);
  }
  if (access->index) index_close(access->index, NoLock);
  table_close(access->heap, NoLock);
}

// As COPY does it (commands/copyfrom.c) for columns that it is not given.
Datum default_value(TableAccess* access, int attribute, bool* is_null) {
  if (!access->defaults) {
    MemoryContext old = MemoryContextSwitchTo(access->estate->es_query_cxt);
    int count = RelationGetNumberOfAttributes(access->heap);
    access->defaults = static_cast<ExprState**>(palloc0(sizeof(ExprState*) * static_cast<std::size_t>(count)));
    for (int i = 0; i < count; i++) {
      Form_pg_attribute column = TupleDescAttr(RelationGetDescr(access->heap), i);
      if (column->attisdropped || column->attgenerated) continue;
      if (auto* expression = reinterpret_cast<Expr*>(build_column_default(access->heap, i + 1)))
        access->defaults[i] = ExecInitExpr(expression_planner(expression), nullptr);
    }
    MemoryContextSwitchTo(old);
  }
  *is_null = true;
  ExprState* expression = access->defaults[attribute - 1];
  if (!expression) return 0;
  MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(access->estate));
  Datum value = ExecEvalExpr(expression, GetPerTupleExprContext(access->estate), is_null);
  MemoryContextSwitchTo(old);
  return value;
}

void release_pins(TableAccess* access) {
  ExecClearTuple(access->slot);
  if (access->lock_slot) ExecClearTuple(access->lock_slot);
  if (access->write_slot) ExecClearTuple(access->write_slot);
  if (access->point) index_rescan(access->point, nullptr, access->point->numberOfKeys, nullptr, 0);
  if (access->range) index_rescan(access->range, nullptr, access->range->numberOfKeys, nullptr, 0);
}

void make_point_scan(TableAccess* access, Snapshot snapshot) {
  if (access->point) return;
  for (const PgKeyPart& part : access->table->key)
    ScanKeyEntryInitialize(&access->point_keys[part.index_attribute - 1], 0, part.index_attribute,
                           BTEqualStrategyNumber, InvalidOid, part.collation, part.equal, 0);
  auto count = static_cast<int>(access->table->key.size());
  access->point = index_beginscan(access->heap, access->index, snapshot, count, 0);
  // Its own copy of the keys is not initialized before, and release_pins has it looked at ("cache lookup failed for
  // type 6").
  index_rescan(access->point, access->point_keys, count, nullptr, 0);
}

void start_point_scan(TableAccess* access, Snapshot snapshot, const Datum* key) {
  make_point_scan(access, snapshot);
  PgTable& table = *access->table;
  // Index columns are scanned in the index's order, whatever the order of the key.
  for (std::size_t i = 0; i < table.key.size(); i++)
    access->point_keys[table.key[i].index_attribute - 1].sk_argument = key[i];
  access->point->xs_snapshot = snapshot;
  index_rescan(access->point, access->point_keys, static_cast<int>(table.key.size()), nullptr, 0);
}

void start_range_scan(TableAccess* access, Snapshot snapshot, Datum first, Datum last) {
  const PgKeyPart& part = access->table->key[0];
  if (!access->range) {
    ScanKeyEntryInitialize(&access->range_keys[0], 0, 1, BTGreaterEqualStrategyNumber, InvalidOid, part.collation,
                           part.greater_equal, first);
    ScanKeyEntryInitialize(&access->range_keys[1], 0, 1, BTLessEqualStrategyNumber, InvalidOid, part.collation,
                           part.less_equal, last);
    access->range = index_beginscan(access->heap, access->index, snapshot, 2, 0);
  }
  access->range_keys[0].sk_argument = first;
  access->range_keys[1].sk_argument = last;
  access->range->xs_snapshot = snapshot;
  index_rescan(access->range, access->range_keys, 2, nullptr, 0);
}

bool integer_of_key(KeyView key, std::int64_t* number) {
  constexpr char integer_tag = 1;  // key.cpp
  if (key.size() != 9 || key[0] != integer_tag) return false;
  std::uint64_t bits = 0;
  for (std::size_t i = 1; i < 9; i++) bits = bits << 8 | static_cast<unsigned char>(key[i]);
  *number = static_cast<std::int64_t>(bits ^ 1ULL << 63);
  return true;
}

void key_to_datums(PgTable& table, const Value* values, Datum* datums) {
  for (std::size_t i = 0; i < table.key.size(); i++) {
    bool is_null;
    datums[i] = value_to_datum(table.key_io(i), values[i], table.key_io(i).wire, &is_null);
  }
}

bool integer_fits(const PgTable& table, std::int64_t number) {
  switch (table.columns[table.key[0].column].io.form) {
    case PgForm::int2: return number >= PG_INT16_MIN && number <= PG_INT16_MAX;
    case PgForm::int4: return number >= PG_INT32_MIN && number <= PG_INT32_MAX;
    default: return true;
  }
}

Datum integer_key_datum(const PgTable& table, std::int64_t number) {
  switch (table.columns[table.key[0].column].io.form) {
    case PgForm::int2: return Int16GetDatum(static_cast<int16>(number));
    case PgForm::int4: return Int32GetDatum(static_cast<int32>(number));
    default: return Int64GetDatum(number);
  }
}

std::int64_t integer_key_number(const PgTable& table, Datum datum) {
  switch (table.columns[table.key[0].column].io.form) {
    case PgForm::int2: return DatumGetInt16(datum);
    case PgForm::int4: return DatumGetInt32(datum);
    default: return DatumGetInt64(datum);
  }
}

}  // namespace rowmesh
