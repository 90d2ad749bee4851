#include "pg_ext/row_reader.hpp"

#include <vector>

#include "pg_ext/guard.hpp"
#include "pg_ext/subtransaction.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace rowmesh {
namespace {

// Below this many neighbours a range scan gains nothing; above this many index entries a key it loses to single
// look-ups (a look-up costs about six skipped entries: measured).
constexpr std::size_t dense_run = 64;
constexpr std::int64_t dense_gap = 4;

// Length of the dense run that begins at `numbers[0]`; 0: none.
std::size_t dense_length(std::span<const std::int64_t> numbers) {
  if (numbers.size() < dense_run) return 0;
  auto span = [&](std::size_t last) {
    return static_cast<std::uint64_t>(numbers[last]) - static_cast<std::uint64_t>(numbers[0]);
  };
  std::size_t length = dense_run;
  if (span(length - 1) >= dense_run * dense_gap) return 0;
  while (length < numbers.size() &&
         static_cast<std::uint64_t>(numbers[length]) - static_cast<std::uint64_t>(numbers[length - 1]) <
             dense_run * dense_gap / 4)
    length++;
  return length;
}

// One row after the other, each fetched under a guard of its own (10 ns): the visitor runs outside of it and may throw.
class Reader {
 public:
  Reader(TableAccess* access, const ReadContext& context)
      : access_(access), context_(context), table_(*access->table), row_(table_.columns.size()) {}

  // The row that the running scan gives next; false at the end.
  bool next(IndexScanDesc scan) {
    bool found = false;
    guard([&] {
      MemoryContextReset(context_.scratch);
      // A scan allocates lazily in the current context: never one that is reset per row.
      MemoryContext old = MemoryContextSwitchTo(context_.keys);
      found = index_getnext_slot(scan, ForwardScanDirection, access_->slot);
      if (found) fill();
      MemoryContextSwitchTo(old);
    });
    return found;
  }

  bool look_up(KeyView key, std::optional<std::int64_t> number) {
    Row values;
    if (number) {
      if (!integer_fits(table_, *number)) return false;
    } else {
      values = decode_key(key);
      if (values.size() != table_.key.size()) throw Error(ErrorKind::bug, "bad_key", "a key does not fit its table");
    }
    const Value* columns = values.data();
    bool found = false;
    guard([&] {
      MemoryContextReset(context_.scratch);
      MemoryContext old = MemoryContextSwitchTo(context_.scratch);
      Datum datums[INDEX_MAX_KEYS];
      if (number)
        datums[0] = integer_key_datum(table_, *number);
      else
        key_to_datums(table_, columns, datums);
      MemoryContextSwitchTo(context_.keys);
      start_point_scan(access_, context_.snapshot, datums);
      found = index_getnext_slot(access_->point, ForwardScanDirection, access_->slot);
      if (found) fill();
      MemoryContextSwitchTo(old);
    });
    return found;
  }

  std::int64_t number() const { return row_[table_.key[0].column].integer; }
  RowView row() const { return row_; }

 private:
  void fill() {
    MemoryContextSwitchTo(context_.scratch);
    slot_to_values(table_, access_->slot, row_.data());
    MemoryContextSwitchTo(context_.keys);
  }

  TableAccess* access_;
  const ReadContext& context_;
  PgTable& table_;
  Row row_;
};

// The wanted keys are neighbours: one walk over the index, merged with them. Returns false if the visitor wants no
// more.
bool read_range(Reader& reader, TableAccess* access, const ReadContext& context, std::span<const std::int64_t> numbers,
                std::span<const KeyView> keys, std::size_t base, const RowVisitor& visit) {
  PgTable& table = *access->table;
  if (!integer_fits(table, numbers.front()) || !integer_fits(table, numbers.back())) return true;
  guard([&] {
    MemoryContext old = MemoryContextSwitchTo(context.keys);
    start_range_scan(access, context.snapshot, integer_key_datum(table, numbers.front()),
                     integer_key_datum(table, numbers.back()));
    MemoryContextSwitchTo(old);
  });
  std::size_t at = 0;
  while (reader.next(access->range)) {
    while (at < numbers.size() && numbers[at] < reader.number()) at++;
    if (at == numbers.size()) break;
    if (numbers[at] != reader.number()) continue;
    if (!visit(base + at, keys[at], reader.row())) return false;
  }
  return true;
}

void read_integer_rows(TableAccess* access, const ReadContext& context, std::span<const KeyView> keys,
                       const RowVisitor& visit) {
  std::vector<std::int64_t> numbers(keys.size());
  for (std::size_t i = 0; i < keys.size(); i++)
    if (!integer_of_key(keys[i], &numbers[i])) throw Error(ErrorKind::bug, "bad_key", "a key does not fit its table");
  Reader reader(access, context);
  for (std::size_t i = 0; i < keys.size();) {
    std::span<const std::int64_t> rest = std::span(numbers).subspan(i);
    if (std::size_t length = dense_length(rest)) {
      if (!read_range(reader, access, context, rest.first(length), keys.subspan(i, length), i, visit)) return;
      i += length;
    } else {
      if (reader.look_up(keys[i], numbers[i]) && !visit(i, keys[i], reader.row())) return;
      i++;
    }
  }
}

// "(a, b, ...) > (x, y, ...)" as nbtree takes it. Palloc'd: lives as long as the scan.
ScanKeyData* row_greater_key(PgTable& table, const Datum* after) {
  bool descending = table.key[0].descending;
  StrategyNumber strategy = descending ? BTLessStrategyNumber : BTGreaterStrategyNumber;
  auto count = table.key.size();
  auto* parts = static_cast<ScanKeyData*>(palloc0(sizeof(ScanKeyData) * count));
  for (std::size_t i = 0; i < count; i++) {
    const PgKeyPart& part = table.key[i];
    int flags = SK_ROW_MEMBER | (i + 1 == count ? SK_ROW_END : 0);
    ScanKeyEntryInitialize(&parts[part.index_attribute - 1], flags, part.index_attribute, strategy, InvalidOid,
                           part.collation, descending ? part.less : part.greater, after[i]);
  }
  auto* header = static_cast<ScanKeyData*>(palloc0(sizeof(ScanKeyData)));
  header->sk_flags = SK_ROW_HEADER;
  header->sk_attno = 1;
  header->sk_strategy = strategy;
  header->sk_argument = PointerGetDatum(parts);
  return header;
}

IndexScanDesc start_full_scan(TableAccess* access, const ReadContext& context, const Value* after) {
  PgTable& table = *access->table;
  MemoryContext old = MemoryContextSwitchTo(context.keys);
  ScanKeyData* key = nullptr;
  if (after) {
    Datum datums[INDEX_MAX_KEYS];
    key_to_datums(table, after, datums);
    if (table.key.size() == 1) {
      const PgKeyPart& part = table.key[0];
      key = static_cast<ScanKeyData*>(palloc0(sizeof(ScanKeyData)));
      ScanKeyEntryInitialize(key, 0, 1, part.descending ? BTLessStrategyNumber : BTGreaterStrategyNumber, InvalidOid,
                             part.collation, part.descending ? part.less : part.greater, datums[0]);
    } else {
      key = row_greater_key(table, datums);
    }
  }
  IndexScanDesc scan = index_beginscan(access->heap, access->index, context.snapshot, key ? 1 : 0, 0);
  index_rescan(scan, key, key ? 1 : 0, nullptr, 0);
  MemoryContextSwitchTo(old);
  return scan;
}

// The first row of a unique index that has these values. Equality of the index's own operator class.
bool look_up_unique(TableAccess* access, const ReadContext& context, std::size_t unique_index, const Value* row,
                    Value* out) {
  PgTable& table = *access->table;
  const std::vector<ColumnIndex>& columns = table.table.uniques[unique_index].columns;
  MemoryContextReset(context.scratch);
  MemoryContext old = MemoryContextSwitchTo(context.scratch);
  Relation index = try_index_open(table.unique_indexes[unique_index], AccessShareLock);
  bool found = false;
  if (index) {
    auto count = static_cast<int>(columns.size());
    ScanKeyData keys[INDEX_MAX_KEYS];
    for (int i = 0; i < count; i++) {
      std::size_t column = columns[static_cast<std::size_t>(i)];
      TypeIo& io = table.columns[column].io;
      bool is_null;
      Datum datum = value_to_datum(io, row[column], io.wire, &is_null);
      Oid type = index->rd_opcintype[i];
      Oid equal = get_opfamily_member(index->rd_opfamily[i], type, type, BTEqualStrategyNumber);
      ScanKeyEntryInitialize(&keys[i], 0, static_cast<AttrNumber>(i + 1), BTEqualStrategyNumber, InvalidOid,
                             index->rd_indcollation[i], get_opcode(equal), datum);
    }
    IndexScanDesc scan = index_beginscan(access->heap, index, context.snapshot, count, 0);
    index_rescan(scan, keys, count, nullptr, 0);
    found = index_getnext_slot(scan, ForwardScanDirection, access->slot);
    if (found) {
      // The values are read by the caller, when the subtransaction's hold on the page is gone. (An empty slot cannot be
      // materialized.)
      ExecMaterializeSlot(access->slot);
      slot_to_values(table, access->slot, out);
    }
    index_endscan(scan);
    index_close(index, NoLock);
  }
  MemoryContextSwitchTo(old);
  return found;
}

}  // namespace

void slot_to_values(const PgTable& table, TupleTableSlot* slot, Value* values) {
  slot_getallattrs(slot);
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    int at = table.columns[i].attribute - 1;
    if (at < 0) {  // dropped, or generated
      values[i] = Value::of_omitted();
      continue;
    }
    values[i] = datum_to_value(table.columns[i].io, slot->tts_values[at], slot->tts_isnull[at]);
  }
}

Key key_of_row(const PgTable& table, RowView row) {
  Value values[INDEX_MAX_KEYS];
  std::string scratch[INDEX_MAX_KEYS];
  std::size_t count = table.key.size();
  for (std::size_t i = 0; i < count; i++) {
    std::size_t column = table.key[i].column;
    values[i] = canonical_key_value(table.columns[column].io, row[column], scratch[i]);
  }
  return encode_key(RowView(values, count));
}

void read_rows(TableAccess* access, const ReadContext& context, std::span<const KeyView> keys,
               const RowVisitor& visit) {
  if (access->table->table.integer_key) return read_integer_rows(access, context, keys, visit);
  Reader reader(access, context);
  for (std::size_t i = 0; i < keys.size(); i++)
    if (reader.look_up(keys[i], std::nullopt) && !visit(i, keys[i], reader.row())) return;
}

void scan_rows(TableAccess* access, const ReadContext& context, KeyView after, const RowVisitor& visit) {
  Row after_values = after.empty() ? Row() : decode_key(after);
  const Value* start = after.empty() ? nullptr : after_values.data();
  IndexScanDesc scan = nullptr;
  guard([&] { scan = start_full_scan(access, context, start); });
  Reader reader(access, context);
  for (std::size_t i = 0; reader.next(scan); i++)
    if (!visit(i, key_of_row(*access->table, reader.row()), reader.row())) break;
  guard([&] { index_endscan(scan); });
}

std::optional<Key> find_unique(TableAccess* access, const ReadContext& context, std::size_t unique_index, RowView row) {
  for (ColumnIndex column : access->table->table.uniques[unique_index].columns)
    if (row[column].is_null() || row[column].kind == ValueKind::omitted) return std::nullopt;
  Row found_row(access->table->columns.size());
  bool found = false;
  // A value that this column cannot hold equals none.
  guard([&] { release_pins(access); });
  DatabaseRefusal refusal;
  bool fits =
      attempt([&] { found = look_up_unique(access, context, unique_index, row.data(), found_row.data()); }, refusal);
  if (!fits || !found) return std::nullopt;
  return key_of_row(*access->table, found_row);
}

}  // namespace rowmesh
