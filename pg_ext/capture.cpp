#include "pg_ext/capture.hpp"

#include "pg_ext/capture_buffer.hpp"
#include "pg_ext/captured_table.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/shared_memory.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace rowmesh {
namespace {

bool truncated = false, config_changed = false, poke_at_commit = false;

constexpr int most_mask_bytes = (MaxHeapAttributeNumber + 7) / 8;

struct ChangedColumns {
  bool any;
  unsigned char mask[most_mask_bytes];
};

void compare_column(const CapturedTable* table, TriggerData* data, TupleDesc descriptor, int at,
                    ChangedColumns* changed) {
  if (at < 0 || at >= table->attributes || table->logged_as[at] == 0) return;
  bool old_null, new_null;
  Datum old_value = heap_getattr(data->tg_trigtuple, at + 1, descriptor, &old_null);
  Datum new_value = heap_getattr(data->tg_newtuple, at + 1, descriptor, &new_null);
  Form_pg_attribute attribute = TupleDescAttr(descriptor, at);
  if (old_null && new_null) return;
  if (!old_null && !new_null && datumIsEqual(old_value, new_value, attribute->attbyval, attribute->attlen)) return;
  int bit = table->logged_as[at] - 1;
  changed->mask[bit / 8] = static_cast<unsigned char>(changed->mask[bit / 8] | 1u << (bit % 8));
  changed->any = true;
}

// By bytes, not by the type's equality: 1.0 -> 1.00 is a change, and an unchanged out-of-line value is never fetched.
void compare_rows(const CapturedTable* table, TriggerData* data, ChangedColumns* changed) {
  TupleDesc descriptor = RelationGetDescr(data->tg_relation);
  changed->any = false;
  memset(changed->mask, 0, table->mask_size);
  if (data->tg_updatedcols && !table->compare_all) {
    for (int bit = -1; (bit = bms_next_member(data->tg_updatedcols, bit)) >= 0;)
      compare_column(table, data, descriptor, bit + FirstLowInvalidHeapAttributeNumber - 1, changed);
    return;
  }
  for (int at = 0; at < table->attributes; at++) compare_column(table, data, descriptor, at, changed);
}

bool key_changed(const CapturedTable* table, const ChangedColumns& changed) {
  for (int i = 0; i < table->key_columns; i++) {
    int bit = table->logged_as[table->key[i] - 1] - 1;
    if (bit >= 0 && (changed.mask[bit / 8] >> (bit % 8) & 1)) return true;
  }
  return false;
}

void note(const CapturedTable* table, LogOp op, const KeyBytes& key, const unsigned char* mask,
          std::uint16_t mask_size) {
  if (likely(key.integer))
    buffer_integer_key(table->id, op, key.number, mask, mask_size);
  else
    buffer_key(table->id, op, key.bytes, key.size, mask, mask_size);
}

void capture_update(const CapturedTable* table, TriggerData* data) {
  ChangedColumns changed;
  compare_rows(table, data, &changed);
  if (!changed.any) return;
  TupleDesc descriptor = RelationGetDescr(data->tg_relation);
  KeyBytes key = {}, old_key = {};
  read_key(table, data->tg_newtuple, descriptor, &key);
  if (key_changed(table, changed)) {
    read_key(table, data->tg_trigtuple, descriptor, &old_key);
    bool same = key.integer ? key.number == old_key.number
                            : key.size == old_key.size && memcmp(key.bytes, old_key.bytes, key.size) == 0;
    if (!same) {
      note(table, LogOp::remove, old_key, nullptr, 0);
      note(table, LogOp::insert, key, nullptr, 0);
      return;
    }
  }
  std::uint16_t size = table->mask_size;
  while (changed.mask[size - 1] == 0) size--;
  note(table, LogOp::update, key, changed.mask, size);
}

void capture_row(TriggerData* data) {
  CapturedTable* table = captured_table(data);
  if (TRIGGER_FIRED_BY_UPDATE(data->tg_event)) {
    capture_update(table, data);
    return;
  }
  KeyBytes key = {};
  read_key(table, data->tg_trigtuple, RelationGetDescr(data->tg_relation), &key);
  note(table, TRIGGER_FIRED_BY_INSERT(data->tg_event) ? LogOp::insert : LogOp::remove, key, nullptr, 0);
}

// TRUNCATE of a partitioned table fires for each partition too; of a partition alone, only there. 0: no TRUNCATE of a
// whole table is running.
TableId truncating = 0;

// Nobody can name "all rows of that partition" to another node, so each row is noted as deleted. The table is locked;
// the newest snapshot also shows what was committed while TRUNCATE waited for the lock.
void capture_partition_truncate(TriggerData* data) {
  if (data->tg_relation->rd_rel->relkind != RELKIND_RELATION) return;
  CapturedTable* table = captured_table(data);
  TupleTableSlot* slot = table_slot_create(data->tg_relation, nullptr);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TableScanDesc scan = table_beginscan(data->tg_relation, snapshot, 0, nullptr);
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "rowmesh truncated row", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(memory);
  while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
    CHECK_FOR_INTERRUPTS();
    KeyBytes key = {};
    bool ours;
    HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &ours);
    read_key(table, tuple, RelationGetDescr(data->tg_relation), &key);
    note(table, LogOp::remove, key, nullptr, 0);
    if (ours) heap_freetuple(tuple);
    MemoryContextReset(memory);
  }
  MemoryContextSwitchTo(old);
  MemoryContextDelete(memory);
  table_endscan(scan);
  UnregisterSnapshot(snapshot);
  ExecDropSingleTupleTableSlot(slot);
}

void capture_truncate(TriggerData* data) {
  auto id = static_cast<TableId>(strtoul(data->tg_trigger->tgargs[0], nullptr, 10));
  if (TRIGGER_FIRED_AFTER(data->tg_event)) {
    truncating = 0;
    note_change(id, LogOp::truncate, nullptr, 0, nullptr, 0);
  } else if (strcmp(data->tg_trigger->tgname, "rowmesh_partition_truncate") != 0) {
    truncating = id;
  } else if (truncating != id) {
    capture_partition_truncate(data);
  }
}

void forget() {
  forget_buffer();
  truncating = 0;
  truncated = config_changed = poke_at_commit = false;
}

// Nothing here may raise: the transaction has been committed.
void announce(bool captured) {
  if (!captured && !config_changed && !poke_at_commit) return;
  SharedSlot* slot = my_slot();
  if (truncated) pg_atomic_fetch_add_u64(&slot->truncates, 1);
  if (config_changed) pg_atomic_fetch_add_u64(&slot->config_generation, 1);
  config_changed || poke_at_commit ? wake_worker(slot) : wake_worker_for_commit(slot);
  if (poke_at_commit) poke_launcher();
}

void on_transaction(XactEvent event, void*) {
  static bool captured = false;
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      captured = write_buffer();
      if (config_changed || poke_at_commit) (void)my_slot();  // may raise, so not after the commit
      break;
    case XACT_EVENT_COMMIT:
      announce(captured);
      captured = false;
      forget();
      break;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
      captured = false;
      forget();
      break;
    default: break;
  }
}

void on_subtransaction(SubXactEvent event, SubTransactionId child, SubTransactionId parent, void*) {
  if (event == SUBXACT_EVENT_COMMIT_SUB) buffer_subtransaction_committed(child, parent);
  if (event == SUBXACT_EVENT_ABORT_SUB) {
    buffer_subtransaction_aborted(child);
    truncating = 0;
  }
}

void require_trigger(FunctionCallInfo call) {
  if (!CALLED_AS_TRIGGER(call))
    ereport(ERROR,
            (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED), errmsg("this function is called by triggers only")));
}

}  // namespace

void note_change(TableId table, LogOp op, const char* key, std::size_t key_size, const unsigned char* mask,
                 std::uint16_t mask_size) {
  if (op == LogOp::truncate) truncated = true;
  buffer_key(table, op, key, key_size, mask, mask_size);
}

void note_config_change() { config_changed = true; }

void install_transaction_callbacks() {
  RegisterXactCallback(on_transaction, nullptr);
  RegisterSubXactCallback(on_subtransaction, nullptr);
}

}  // namespace rowmesh

extern "C" {
PG_FUNCTION_INFO_V1(rowmesh_capture);
PG_FUNCTION_INFO_V1(rowmesh_capture_truncate);
PG_FUNCTION_INFO_V1(rowmesh_config_changed);
PG_FUNCTION_INFO_V1(rowmesh_note_config_change);
PG_FUNCTION_INFO_V1(rowmesh_poke_launcher);

PGDLLEXPORT Datum rowmesh_capture(PG_FUNCTION_ARGS) {
  rowmesh::require_trigger(fcinfo);
  auto* data = reinterpret_cast<TriggerData*>(fcinfo->context);
  rowmesh::door([data] { rowmesh::capture_row(data); });
  return PointerGetDatum(nullptr);
}

PGDLLEXPORT Datum rowmesh_capture_truncate(PG_FUNCTION_ARGS) {
  rowmesh::require_trigger(fcinfo);
  auto* data = reinterpret_cast<TriggerData*>(fcinfo->context);
  rowmesh::door([data] { rowmesh::capture_truncate(data); });
  return PointerGetDatum(nullptr);
}

PGDLLEXPORT Datum rowmesh_config_changed(PG_FUNCTION_ARGS) {
  rowmesh::require_trigger(fcinfo);
  rowmesh::note_config_change();
  return PointerGetDatum(nullptr);
}

PGDLLEXPORT Datum rowmesh_note_config_change(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  rowmesh::note_config_change();
  PG_RETURN_VOID();
}

PGDLLEXPORT Datum rowmesh_poke_launcher(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  rowmesh::poke_at_commit = true;
  PG_RETURN_VOID();
}
}
