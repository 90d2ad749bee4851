#include "pg_ext/row_writer.hpp"

#include <algorithm>

#include "pg_ext/guard.hpp"
#include "pg_ext/subtransaction.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "parser/parse_relation.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace rowmesh {
namespace {

std::uint64_t pack(const ItemPointerData& tid) {
  return static_cast<std::uint64_t>(ItemPointerGetBlockNumber(&tid)) << 16 | ItemPointerGetOffsetNumber(&tid);
}

ItemPointerData unpack(std::uint64_t handle) {
  ItemPointerData tid;
  ItemPointerSet(&tid, static_cast<BlockNumber>(handle >> 16), static_cast<OffsetNumber>(handle & 0xffff));
  return tid;
}

// ---- find

struct Locked {
  bool exists;
  ItemPointerData tid;
  TransactionId writer;
};

// Is the key in the slot still the one that the scan was for? Only asked when the row was changed while we waited for
// it.
bool same_key(TableAccess* access, TupleTableSlot* left, TupleTableSlot* right) {
  for (const PgKeyPart& part : access->table->key) {
    bool left_null, right_null;
    Datum a = slot_getattr(left, part.attribute, &left_null), b = slot_getattr(right, part.attribute, &right_null);
    if (left_null || right_null || !DatumGetBool(OidFunctionCall2Coll(part.equal, part.collation, a, b))) return false;
  }
  return true;
}

// RAISES. Locks the newest version of the row in access->slot. Others that write it are waited for.
Locked lock_row(TableAccess* access, Snapshot snapshot) {
  if (!access->lock_slot) access->lock_slot = table_slot_create(access->heap, nullptr);
  ItemPointerData tid = access->slot->tts_tid;
  TM_FailureData failure;
  TM_Result result =
      table_tuple_lock(access->heap, &tid, snapshot, access->lock_slot, GetCurrentCommandId(false),
                       LockTupleNoKeyExclusive, LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
  Locked locked = {};
  if (result == TM_Deleted || result == TM_SelfModified) return locked;
  if (result != TM_Ok)
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("a row was changed while it was being locked")));
  if (failure.traversed && !same_key(access, access->slot, access->lock_slot)) return locked;
  bool is_null;
  locked.exists = true;
  locked.tid = access->lock_slot->tts_tid;
  locked.writer = DatumGetTransactionId(slot_getsysattr(access->lock_slot, MinTransactionIdAttributeNumber, &is_null));
  return locked;
}

FoundRow to_found(const Locked& locked, const SeenWriter& seen) {
  FoundRow found;
  if (!locked.exists) return found;
  found.exists = true;
  found.handle = pack(locked.tid);
  found.newer_than_log = !seen(locked.writer);
  return found;
}

// RAISES. One look-up by key.
Locked look_up_and_lock(TableAccess* access, const ReadContext& context, const Value* values, std::int64_t number) {
  PgTable& table = *access->table;
  MemoryContextReset(context.scratch);
  MemoryContextSwitchTo(context.scratch);
  Datum datums[INDEX_MAX_KEYS];
  if (values)
    key_to_datums(table, values, datums);
  else
    datums[0] = integer_key_datum(table, number);
  MemoryContextSwitchTo(context.keys);
  start_point_scan(access, context.snapshot, datums);
  if (!index_getnext_slot(access->point, ForwardScanDirection, access->slot)) return {};
  return lock_row(access, context.snapshot);
}

// RAISES. Whether any row lies between the two keys.
bool any_between(TableAccess* access, const ReadContext& context, std::int64_t first, std::int64_t last) {
  MemoryContextSwitchTo(context.keys);
  start_range_scan(access, context.snapshot, integer_key_datum(*access->table, first),
                   integer_key_datum(*access->table, last));
  return index_getnext_slot(access->range, ForwardScanDirection, access->slot);
}

// RAISES. The keys that the running range scan meets, in one guard; `found` has room for all.
void lock_range(TableAccess* access, const ReadContext& context, const std::int64_t* numbers, std::size_t count,
                Locked* found) {
  std::size_t at = 0;
  do {
    bool is_null;
    std::int64_t number =
        integer_key_number(*access->table, slot_getattr(access->slot, access->table->key[0].attribute, &is_null));
    while (at < count && numbers[at] < number) at++;
    if (at == count) return;
    if (numbers[at] == number) found[at] = lock_row(access, context.snapshot);
  } while (index_getnext_slot(access->range, ForwardScanDirection, access->slot));
}

void find_integer_rows(TableAccess* access, const ReadContext& context, const SeenWriter& seen,
                       std::span<const KeyView> keys, std::vector<FoundRow>& found) {
  PgTable& table = *access->table;
  std::vector<std::int64_t> numbers(keys.size());
  std::vector<Locked> locked(keys.size());
  bool fits = true;
  for (std::size_t i = 0; i < keys.size(); i++) {
    if (!integer_of_key(keys[i], &numbers[i])) throw Error(ErrorKind::bug, "bad_key", "a key does not fit its table");
    fits = fits && integer_fits(table, numbers[i]);
  }
  auto span = static_cast<std::uint64_t>(numbers.back()) - static_cast<std::uint64_t>(numbers.front());
  guard([&] {
    MemoryContext old = CurrentMemoryContext;
    // New rows, the usual case of a big shipment, need no look-ups: the range is empty.
    if (numbers.size() == 1 || !fits || any_between(access, context, numbers.front(), numbers.back())) {
      if (fits && numbers.size() > 1 && span / 4 < numbers.size())
        lock_range(access, context, numbers.data(), numbers.size(), locked.data());
      else
        for (std::size_t i = 0; i < numbers.size(); i++)
          if (integer_fits(table, numbers[i])) locked[i] = look_up_and_lock(access, context, nullptr, numbers[i]);
    }
    release_pins(access);
    MemoryContextSwitchTo(old);
  });
  for (std::size_t i = 0; i < keys.size(); i++) found[i] = to_found(locked[i], seen);
}

// ---- write

// Everything a batch needs, without destructors.
struct Batch {
  TableAccess* access;
  const ReadContext* context;
  const ColumnType* types;
  const RowWrite* writes;
  std::size_t count;
};

// RAISES.
void open_for_writing(TableAccess* access) {
  if (access->estate) return;
  EState* estate = CreateExecutorState();
  RangeTblEntry* entry = makeNode(RangeTblEntry);
  entry->rtekind = RTE_RELATION;
  entry->relid = RelationGetRelid(access->heap);
  entry->relkind = access->heap->rd_rel->relkind;
  entry->rellockmode = RowExclusiveLock;
  ExecInitRangeTable(estate, list_make1(entry));
  estate->es_output_cid = GetCurrentCommandId(true);
  ResultRelInfo* result = makeNode(ResultRelInfo);
  InitResultRelInfo(result, access->heap, 1, nullptr, 0);
  ExecOpenIndices(result, false);
  // Made here and not when a trigger first asks for them: then they would belong to a subtransaction.
  ExecGetTriggerOldSlot(estate, result);
  ExecGetTriggerNewSlot(estate, result);
  // So that an AFTER trigger finds it, and does not open the table again inside of a subtransaction.
  estate->es_opened_result_relations = lappend(estate->es_opened_result_relations, result);
  access->result = result;
  access->write_slot = table_slot_create(access->heap, nullptr);
  access->estate = estate;
}

void clear_slots(TableAccess* access) {
  ExecClearTuple(access->write_slot);
  ExecClearTuple(access->slot);
  ExecClearTuple(access->result->ri_TrigOldSlot);
  ExecClearTuple(access->result->ri_TrigNewSlot);
}

// The columns of the write into the slot. Others keep what the slot has.
void fill_slot(const Batch& batch, const RowWrite& write) {
  PgTable& table = *batch.access->table;
  TupleTableSlot* slot = batch.access->write_slot;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    if (write.columns && !write.columns->has(static_cast<ColumnIndex>(i))) continue;
    const Value& value = write.values[i];
    if (value.kind == ValueKind::omitted && write.kind == WriteKind::update) continue;
    int at = table.columns[i].attribute - 1;
    if (at < 0) continue;
    if (value.kind == ValueKind::omitted) {
      slot->tts_values[at] = default_value(batch.access, at + 1, &slot->tts_isnull[at]);
      continue;
    }
    slot->tts_values[at] = value_to_datum(table.columns[i].io, value, batch.types[i], &slot->tts_isnull[at]);
  }
}

void insert_row(const Batch& batch, const RowWrite& write) {
  TupleTableSlot* slot = batch.access->write_slot;
  ExecClearTuple(slot);
  ResetPerTupleExprContext(batch.access->estate);
  for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++) {
    slot->tts_values[i] = 0;
    slot->tts_isnull[i] = true;
  }
  fill_slot(batch, write);
  ExecStoreVirtualTuple(slot);
  ExecSimpleRelationInsert(batch.access->result, batch.access->estate, slot);
}

[[noreturn]] void vanished() {
  ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("the row is not there any more")));
  pg_unreachable();
}

// The row version that find_rows locked; a later one of ours if this transaction has written it since.
void fetch_old(const Batch& batch, const RowWrite& write, const Value* key_values) {
  TableAccess* access = batch.access;
  ItemPointerData tid = unpack(write.handle);
  if (write.handle && table_tuple_fetch_row_version(access->heap, &tid, SnapshotSelf, access->slot)) return;
  ReadContext latest = *batch.context;
  latest.snapshot = RegisterSnapshot(GetLatestSnapshot());
  MemoryContext old = CurrentMemoryContext;
  PgTable& table = *access->table;
  Datum datums[INDEX_MAX_KEYS];
  key_to_datums(table, key_values, datums);
  MemoryContextSwitchTo(latest.keys);
  start_point_scan(access, latest.snapshot, datums);
  bool found = index_getnext_slot(access->point, ForwardScanDirection, access->slot);
  if (found) ExecMaterializeSlot(access->slot);
  index_rescan(access->point, nullptr, access->point->numberOfKeys, nullptr, 0);
  UnregisterSnapshot(latest.snapshot);
  MemoryContextSwitchTo(old);
  if (!found) vanished();
}

void update_row(const Batch& batch, const RowWrite& write, const Value* key_values) {
  TableAccess* access = batch.access;
  fetch_old(batch, write, key_values);
  slot_getallattrs(access->slot);
  TupleTableSlot* slot = access->write_slot;
  ExecClearTuple(slot);
  auto attributes = static_cast<std::size_t>(slot->tts_tupleDescriptor->natts);
  memcpy(slot->tts_values, access->slot->tts_values, attributes * sizeof(Datum));
  memcpy(slot->tts_isnull, access->slot->tts_isnull, attributes * sizeof(bool));
  fill_slot(batch, write);
  ExecStoreVirtualTuple(slot);
  EPQState recheck;
  EvalPlanQualInit(&recheck, access->estate, nullptr, NIL, -1);
  ExecSimpleRelationUpdate(access->result, access->estate, &recheck, access->slot, slot);
  EvalPlanQualEnd(&recheck);
}

void remove_row(const Batch& batch, const RowWrite& write, const Value* key_values) {
  fetch_old(batch, write, key_values);
  EPQState recheck;
  EvalPlanQualInit(&recheck, batch.access->estate, nullptr, NIL, -1);
  ExecSimpleRelationDelete(batch.access->result, batch.access->estate, &recheck, batch.access->slot);
  EvalPlanQualEnd(&recheck);
}

// Which columns an update touches: what generated columns and index entries are recomputed for.
void mark_updated(TableAccess* access) {
  RangeTblEntry* entry = exec_rt_fetch(1, access->estate);
  if (entry->updatedCols) return;
  MemoryContext old = MemoryContextSwitchTo(access->estate->es_query_cxt);
  for (const PgColumn& column : access->table->columns)
    entry->updatedCols = bms_add_member(entry->updatedCols, column.attribute - FirstLowInvalidHeapAttributeNumber);
  MemoryContextSwitchTo(old);
}

// RAISES. Runs inside the subtransaction of attempt().
void write_some(const Batch& batch, const Value* const* key_values) {
  TableAccess* access = batch.access;
  MemoryContext old = MemoryContextSwitchTo(batch.context->scratch);
  AfterTriggerBeginQuery();
  PushActiveSnapshot(GetTransactionSnapshot());
  for (std::size_t i = 0; i < batch.count; i++) {
    const RowWrite& write = batch.writes[i];
    MemoryContextReset(batch.context->scratch);
    access->estate->es_output_cid = GetCurrentCommandId(true);
    switch (write.kind) {
      case WriteKind::insert: insert_row(batch, write); break;
      case WriteKind::update:
        mark_updated(access);
        update_row(batch, write, key_values[i]);
        break;
      case WriteKind::remove: remove_row(batch, write, key_values[i]); break;
    }
    ResetPerTupleExprContext(access->estate);
    clear_slots(access);
    // So that a later write of the batch, or a look-up, sees it.
    CommandCounterIncrement();
  }
  PopActiveSnapshot();
  AfterTriggerEndQuery(access->estate);
  MemoryContextSwitchTo(old);
}

// RAISES. The slots' buffers belong to the subtransaction: they must be let go before it is rolled back.
void write_or_let_go(const Batch& batch, const Value* const* key_values) {
  PG_TRY();
  { write_some(batch, key_values); }
  PG_CATCH();
  {
    clear_slots(batch.access);
    PG_RE_THROW();
  }
  PG_END_TRY();
}

void judge(PgTable& table, const RowWrite& write, const DatabaseRefusal& refusal, WriteResult& result) {
  result.code = refusal.code;
  result.reason = refusal.text;
  result.status = WriteResult::refused;
  if (refusal.code == "P0002" || refusal.code == "02000") result.status = WriteResult::raced;
  if (refusal.code != "23505") return;
  // A partition's indexes have names of their own.
  auto violates = [&](Oid index) {
    const char* name = nullptr;
    guard([&] { name = get_rel_name(index); });
    return name && refusal.constraint == name;
  };
  if (violates(table.key_index) && write.kind == WriteKind::insert) result.status = WriteResult::raced;
  for (std::size_t i = 0; i < table.unique_indexes.size(); i++)
    if (violates(table.unique_indexes[i])) {
      result.status = WriteResult::unique;
      result.unique_index = i;
    }
}

}  // namespace

void find_rows(TableAccess* access, const ReadContext& context, const SeenWriter& seen, std::span<const KeyView> keys,
               std::vector<FoundRow>& found) {
  found.assign(keys.size(), {});
  if (keys.empty()) return;
  if (access->table->table.integer_key) return find_integer_rows(access, context, seen, keys, found);
  for (std::size_t i = 0; i < keys.size(); i++) {
    Row values = decode_key(keys[i]);
    Locked locked = {};
    guard([&] {
      MemoryContext old = CurrentMemoryContext;
      locked = look_up_and_lock(access, context, values.data(), 0);
      release_pins(access);
      MemoryContextSwitchTo(old);
    });
    found[i] = to_found(locked, seen);
  }
}

void write_rows(TableAccess* access, const ReadContext& context, const std::vector<ColumnType>& types,
                std::span<const RowWrite> writes, std::vector<WriteResult>& results,
                const std::function<void(TransactionId)>& note_writer) {
  results.assign(writes.size(), {});
  if (writes.empty()) return;
  PgTable& table = *access->table;
  std::vector<Row> keys(writes.size());
  std::vector<const Value*> key_values(writes.size());
  for (std::size_t i = 0; i < writes.size(); i++) {
    if (writes[i].kind == WriteKind::insert) continue;
    keys[i] = decode_key(writes[i].key);
    key_values[i] = keys[i].data();
  }
  std::vector<ColumnType> own_types;
  if (types.size() != table.columns.size())
    for (const PgColumn& column : table.columns) own_types.push_back(column.io.wire);
  const ColumnType* wire = own_types.empty() ? types.data() : own_types.data();

  guard([&] {
    MemoryContext old = MemoryContextSwitchTo(context.keys);
    open_for_writing(access);
    make_point_scan(access, context.snapshot);
    release_pins(access);
    MemoryContextSwitchTo(old);
  });
  TransactionId writer = InvalidTransactionId;
  auto run = [&](std::size_t first, std::size_t count, DatabaseRefusal& refusal) {
    Batch batch = {access, &context, wire, writes.data() + first, count};
    bool done = attempt(
        [&] {
          write_or_let_go(batch, key_values.data() + first);
          writer = GetCurrentTransactionId();
        },
        refusal);
    if (done) note_writer(writer);
    return done;
  };
  DatabaseRefusal refusal;
  if (run(0, writes.size(), refusal)) return;
  // One of them is refused: which one, and not the others.
  for (std::size_t i = 0; i < writes.size(); i++) {
    DatabaseRefusal own;
    if (writes.size() == 1) own = refusal;
    if (writes.size() == 1 || !run(i, 1, own)) judge(table, writes[i], own, results[i]);
  }
}

}  // namespace rowmesh
