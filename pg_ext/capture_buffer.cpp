#include "pg_ext/capture_buffer.hpp"

#include "pg_ext/shared_memory.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"
}

namespace rowmesh {
namespace {

constexpr std::size_t first_bytes = 512;

struct Segment {
  SubTransactionId subtransaction;
  Segment* below;
  std::uint64_t number;  // of its record, in the order in which the transaction's records were begun
  RunWriter writer;
};

Segment* top = nullptr;
// A record's number stands where the transaction's last record has the version, and tells the reader their order.
// Neither their places in the table do (a small record may find room on an earlier page than the big ones before it)
// nor the order of writing (a subtransaction's record is written before that of the transaction around it, which was
// begun earlier).
std::uint64_t begun_records = 0, newest_spilled = 0;

enum LogColumn { column_xid, column_hlc, column_data, column_big, log_columns };

bytea* to_bytea(const void* bytes, std::size_t size) {
  auto* value = static_cast<bytea*>(palloc(size + VARHDRSZ));
  SET_VARSIZE(value, size + VARHDRSZ);
  memcpy(VARDATA(value), bytes, size);
  return value;
}

// Not the executor, not SPI: no right on the log is asked of the application's role, no trigger, no plan, and it is the
// cheapest way (docs/performance.md).
void write_record(Hlc hlc, const unsigned char* bytes, std::size_t size) {
  const char* name = pg_atomic_read_u32(&my_slot()->log_index) == 0 ? "log_0" : "log_1";
  Oid schema = get_namespace_oid("rowmesh", true);
  Oid log = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
  Relation heap = OidIsValid(log) ? try_table_open(log, RowExclusiveLock) : nullptr;
  if (!heap) return;  // DROP EXTENSION in this very transaction
  Datum values[log_columns] = {FullTransactionIdGetDatum(GetTopFullTransactionId()),
                               Int64GetDatum(static_cast<std::int64_t>(hlc)), 0, 0};
  bool nulls[log_columns] = {false, false, true, true};
  int column = size > log_record_bytes ? column_big : column_data;
  values[column] = PointerGetDatum(to_bytea(bytes, size));
  nulls[column] = false;
  HeapTuple tuple = heap_form_tuple(RelationGetDescr(heap), values, nulls);
  heap_insert(heap, tuple, GetCurrentCommandId(true), 0, nullptr);
  List* indexes = RelationGetIndexList(heap);
  ListCell* cell;
  foreach (cell, indexes) {
    Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
    index_insert(index, values, nulls, &tuple->t_self, heap, UNIQUE_CHECK_NO, false, nullptr);
    index_close(index, NoLock);
  }
  list_free(indexes);
  pfree(DatumGetPointer(values[column]));
  heap_freetuple(tuple);
  table_close(heap, NoLock);
}

Segment* current_segment() {
  SubTransactionId now = GetCurrentSubTransactionId();
  if (likely(top && top->subtransaction == now)) return top;
  auto* segment = static_cast<Segment*>(MemoryContextAlloc(TopTransactionContext, sizeof(Segment)));
  auto* bytes = static_cast<unsigned char*>(MemoryContextAlloc(TopTransactionContext, first_bytes));
  start_record(segment->writer, bytes, first_bytes);
  segment->subtransaction = now;
  segment->below = top;
  segment->number = ++begun_records;
  top = segment;
  // The first change since the server started must learn what the clock gave before; now, since it reads tables.
  make_clock_ready(my_slot());
  return segment;
}

// Early records bear their number, and no version yet; they belong to the current subtransaction and vanish with it.
void spill(Segment* segment) {
  write_record(segment->number, segment->writer.bytes, segment->writer.size);
  newest_spilled = segment->number;
  segment->number = ++begun_records;
  start_record(segment->writer, segment->writer.bytes, segment->writer.capacity);
}

// After put said no. True: try again.
bool make_room(Segment* segment, std::size_t wanted) {
  RunWriter& writer = segment->writer;
  std::size_t capacity = writer.capacity;
  if (capacity < log_record_bytes) {
    capacity = Min(capacity * 2, log_record_bytes);
  } else if (!record_empty(writer)) {
    spill(segment);
    return true;
  } else if (wanted > capacity) {
    capacity = wanted;  // one key longer than a page: goes to the column `big`
  } else {
    return false;
  }
  auto* bytes = static_cast<unsigned char*>(MemoryContextAllocHuge(TopTransactionContext, capacity));
  memcpy(bytes, writer.bytes, writer.size);
  unsigned char* old = writer.bytes;
  move_record(writer, bytes, capacity);
  pfree(old);
  return true;
}

// Turns the list round: a row's delete and its new insert must be read in their order.
Segment* oldest_first() {
  Segment* turned = nullptr;
  while (top) {
    Segment* segment = top;
    top = segment->below;
    segment->below = turned;
    turned = segment;
  }
  return top = turned;
}

void free_segment(Segment* segment) {
  pfree(segment->writer.bytes);
  pfree(segment);
}

}  // namespace

void buffer_integer_key(TableId table, LogOp op, std::int64_t key, const unsigned char* mask, std::uint16_t mask_size) {
  Segment* segment = current_segment();
  while (!put_integer_key(segment->writer, table, op, key, mask, mask_size))
    if (!make_room(segment, 0)) elog(ERROR, "rowmesh: no room for a key in a log record");
}

void buffer_key(TableId table, LogOp op, const char* key, std::size_t key_size, const unsigned char* mask,
                std::uint16_t mask_size) {
  Segment* segment = current_segment();
  while (!put_key(segment->writer, table, op, key, key_size, mask, mask_size))
    if (!make_room(segment, key_size + mask_size + 64)) elog(ERROR, "rowmesh: no room for a key in a log record");
  if (unlikely(segment->writer.capacity > log_record_bytes)) {  // do not let others join it
    spill(segment);
    segment->writer.capacity = log_record_bytes;
  }
}

void buffer_subtransaction_committed(SubTransactionId child, SubTransactionId parent) {
  while (top && top->subtransaction == child) {
    Segment* below = top->below;
    bool joins = below && below->subtransaction == parent && newest_spilled < below->number &&
                 below->writer.size + top->writer.size - 1 <= log_record_bytes;
    if (!joins) {
      for (Segment* segment = top; segment && segment->subtransaction == child; segment = segment->below)
        segment->subtransaction = parent;
      return;
    }
    // Thousands of savepoints in a loop must not become thousands of log records.
    while (below->writer.size + top->writer.size - 1 > below->writer.capacity) (void)make_room(below, 0);
    memcpy(below->writer.bytes + below->writer.size, top->writer.bytes + 1, top->writer.size - 1);
    below->writer.size += top->writer.size - 1;
    below->writer.count_at = 0;
    below->writer.mask = nullptr;
    free_segment(top);
    top = below;
  }
}

void buffer_subtransaction_aborted(SubTransactionId child) {
  while (top && top->subtransaction == child) {
    Segment* below = top->below;
    free_segment(top);
    top = below;
  }
}

bool write_buffer() {
  Segment* last = nullptr;
  for (Segment* segment = oldest_first(); segment; segment = segment->below)
    if (!record_empty(segment->writer)) last = segment;
  if (!last && newest_spilled == 0) return false;
  if (last && last->number < newest_spilled) last = nullptr;
  PushActiveSnapshot(GetTransactionSnapshot());
  // The transaction number first, then the version: a position's watermark relies on this order (docs/model.md, H2).
  (void)GetTopFullTransactionId();
  Hlc version = clock_tick(my_slot());
  for (Segment* segment = top; segment; segment = segment->below)
    if (!record_empty(segment->writer))
      write_record(segment == last ? version : segment->number, segment->writer.bytes, segment->writer.size);
  if (!last) {
    unsigned char bytes[1];
    RunWriter empty;
    start_record(empty, bytes, sizeof bytes);
    write_record(version, bytes, empty.size);  // for the version only
  }
  PopActiveSnapshot();
  return true;
}

void forget_buffer() {
  top = nullptr;
  begun_records = newest_spilled = 0;
}

}  // namespace rowmesh
