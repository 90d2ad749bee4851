#include "pg_ext/log_reader.hpp"

#include <algorithm>
#include <map>

#include "pg_ext/guard.hpp"
#include "pg_ext/log_record.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"
}

namespace rowmesh {
namespace {

// ---- from the tables, palloc'd

struct RawRecord {
  std::uint64_t xid;
  Hlc hlc;  // the transaction's version; of its records but the last their number, which is far lower
  struct varlena* bytes;
};

struct RawLog {
  RawRecord* records;
  std::size_t count, room;
};

void add_record(RawLog& log, TupleTableSlot* slot, const AttrNumber* at) {
  if (log.count == log.room) {
    log.room = log.room ? log.room * 2 : 16;
    Size size = log.room * sizeof(RawRecord);
    log.records = static_cast<RawRecord*>(log.records ? repalloc_huge(log.records, size)
                                                      : MemoryContextAllocHuge(CurrentMemoryContext, size));
  }
  bool is_null;
  RawRecord& record = log.records[log.count++];
  record.xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot_getattr(slot, at[0], &is_null)));
  Datum hlc = slot_getattr(slot, at[1], &is_null);
  record.hlc = is_null ? 0 : static_cast<Hlc>(DatumGetInt64(hlc));
  Datum bytes = slot_getattr(slot, at[2], &is_null);
  if (is_null) bytes = slot_getattr(slot, at[3], &is_null);
  record.bytes = is_null ? nullptr : PG_DETOAST_DATUM_COPY(bytes);
}

struct LogTable {
  Relation heap, index;
  TupleTableSlot* slot;
  IndexScanDesc scan;
  AttrNumber at[4];  // xid, hlc, data, big
};

void open_log(LogTable& log, const char* name, Snapshot snapshot) {
  Oid schema = get_namespace_oid("rowmesh", false);
  Oid relation = get_relname_relid(name, schema);
  if (!OidIsValid(relation))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table rowmesh.%s is missing", name)));
  log.heap = table_open(relation, AccessShareLock);
  log.at[0] = get_attnum(relation, "xid");
  log.at[1] = get_attnum(relation, "hlc");
  log.at[2] = get_attnum(relation, "data");
  log.at[3] = get_attnum(relation, "big");
  List* indexes = RelationGetIndexList(log.heap);
  if (indexes == NIL) elog(ERROR, "table rowmesh.%s has lost its index", name);
  log.index = index_open(linitial_oid(indexes), AccessShareLock);
  log.slot = table_slot_create(log.heap, nullptr);
  log.scan = index_beginscan(log.heap, log.index, snapshot, 1, 0);
}

void scan_log(LogTable& log, StrategyNumber strategy, RegProcedure compare, std::uint64_t xid, RawLog& out) {
  ScanKeyData key;
  ScanKeyInit(&key, 1, strategy, compare, FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
  index_rescan(log.scan, &key, 1, nullptr, 0);
  while (index_getnext_slot(log.scan, ForwardScanDirection, log.slot)) add_record(out, log.slot, log.at);
}

void close_log(LogTable& log) {
  index_endscan(log.scan);
  ExecDropSingleTupleTableSlot(log.slot);
  index_close(log.index, NoLock);
  table_close(log.heap, NoLock);
}

// RAISES. In two steps, as PgQ does: the transactions that were running then, and what began since. One condition for
// both would read again everything since the oldest open transaction (measured.md, PG 2).
RawLog read_raw(Snapshot snapshot, const std::uint64_t* finished, std::size_t finished_count, std::uint64_t from) {
  RawLog raw = {};
  for (const char* name : {"log_0", "log_1"}) {
    LogTable log = {};
    open_log(log, name, snapshot);
    for (std::size_t i = 0; i < finished_count; i++) scan_log(log, BTEqualStrategyNumber, F_XID8EQ, finished[i], raw);
    scan_log(log, BTGreaterEqualStrategyNumber, F_XID8GE, from, raw);
    close_log(log);
  }
  return raw;
}

// ---- one transaction's records, in their order

struct Transaction {
  std::uint64_t xid = 0;
  Hlc hlc = 0;
  std::size_t cut = 0;  // load only
  std::vector<std::pair<Hlc, std::string_view>> records;
};

std::vector<Transaction> group(const RawLog& raw) {
  std::vector<Transaction> transactions;
  std::map<std::uint64_t, std::size_t> by_xid;
  for (std::size_t i = 0; i < raw.count; i++) {
    const RawRecord& record = raw.records[i];
    bool same = !transactions.empty() && transactions.back().xid == record.xid;
    std::size_t at = same ? transactions.size() - 1 : by_xid.try_emplace(record.xid, transactions.size()).first->second;
    if (at == transactions.size()) transactions.emplace_back().xid = record.xid;
    Transaction& transaction = transactions[at];
    transaction.hlc = std::max(transaction.hlc, record.hlc);
    std::string_view bytes(record.bytes ? VARDATA_ANY(record.bytes) : nullptr,
                           record.bytes ? VARSIZE_ANY_EXHDR(record.bytes) : 0);
    if (record.bytes) transaction.records.emplace_back(record.hlc, bytes);
  }
  // The scan gives them by their places in the table, which is not the order in which they were written.
  for (Transaction& transaction : transactions)
    std::stable_sort(transaction.records.begin(), transaction.records.end(),
                     [](auto& left, auto& right) { return left.first < right.first; });
  return transactions;
}

// By version: of two transactions that changed one row, the one that committed first has the lower version, not the
// lower xid.
void sort_by_version(std::vector<Transaction>& transactions) {
  std::stable_sort(transactions.begin(), transactions.end(), [](const Transaction& a, const Transaction& b) {
    return a.cut != b.cut ? a.cut < b.cut : a.hlc < b.hlc;
  });
}

ColumnSet columns_of(const PgTable& table, const AttributeMask& mask) {
  if (mask.all) return ColumnSet::all();
  ColumnSet columns;
  for (std::size_t i = 0; i < table.column_of.size(); i++)
    if (table.column_of[i] >= 0 && mask.has(static_cast<int>(i) + 1))
      columns.add(static_cast<ColumnIndex>(table.column_of[i]));
  return columns;
}

void give(Catalog& catalog, const Transaction& transaction, const LogVisitor& visit) {
  LogEntry entry;
  entry.hlc = transaction.hlc;
  auto change = [&](const RecordedChange& recorded) {
    PgTable* table = catalog.find(recorded.table);
    if (!table) return;
    entry.table = recorded.table;
    entry.op = recorded.op;
    entry.key = recorded.key;
    entry.columns = recorded.op == LogOp::update ? columns_of(*table, recorded.columns) : ColumnSet::all();
    visit(entry);  // also without columns: note_local has a key shipped anew
  };
  for (auto& [number, record] : transaction.records) decode_log_record(record, change);
}

// Memory for the records of one read. Forgotten with the transaction on errors.
struct ScratchContext {
  MemoryContext memory = nullptr;
  ScratchContext() {
    guard([&] { memory = AllocSetContextCreate(TopTransactionContext, "rowmesh log", ALLOCSET_DEFAULT_SIZES); });
  }
  void done() { MemoryContextDelete(memory); }
};

// Symptom, at some starts (always behind a WAL switch): "xlog flush request ... is not satisfied", and the log was not
// read until something else was written. Mechanism: GetXLogInsertRecPtr() tells where the next record will begin, and
// on a new page that is behind a header which nobody has written yet. Fix: up to where records end.
XLogRecPtr end_of_last_record() {
  XLogRecPtr next = GetXLogInsertRecPtr();
  std::uint32_t in_page = static_cast<std::uint32_t>(next % XLOG_BLCKSZ);
  bool first_of_segment = XLogSegmentOffset(next, wal_segment_size) == in_page;
  std::uint32_t header = first_of_segment ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;
  return in_page == header ? next - header : next;
}

std::uint64_t to_number(const std::string& text, std::size_t& at) {
  std::size_t end = text.find_first_not_of("0123456789", at);
  if (end == std::string::npos) end = text.size();
  if (end == at || end - at > 20)
    throw Error(ErrorKind::corrupt, "bad_snapshot", "a stored snapshot is not readable: " + text);
  std::uint64_t number = std::stoull(text.substr(at, end - at));
  at = end;
  return number;
}

}  // namespace

std::uint64_t next_xid() { return U64FromFullTransactionId(ReadNextFullTransactionId()); }

std::uint64_t widen_xid(TransactionId xid) {
  std::uint64_t next = next_xid();
  if (!TransactionIdIsNormal(xid)) return xid;
  std::uint64_t wide = (next & ~0xffffffffULL) | xid;
  return wide > next ? wide - (1ULL << 32) : wide;
}

KeptSnapshot::KeptSnapshot(Snapshot snapshot) : xmin_(widen_xid(snapshot->xmin)), xmax_(widen_xid(snapshot->xmax)) {
  for (std::uint32_t i = 0; i < snapshot->xcnt; i++) running_.push_back(widen_xid(snapshot->xip[i]));
  for (std::int32_t i = 0; i < snapshot->subxcnt; i++) running_subs_.push_back(widen_xid(snapshot->subxip[i]));
  std::sort(running_.begin(), running_.end());
  std::sort(running_subs_.begin(), running_subs_.end());
  subs_overflowed_ = snapshot->suboverflowed;
}

KeptSnapshot KeptSnapshot::parse(const std::string& text) {
  KeptSnapshot snapshot;
  std::size_t at = 0;
  snapshot.xmin_ = to_number(text, at);
  if (at >= text.size() || text[at++] != ':')
    throw Error(ErrorKind::corrupt, "bad_snapshot", "a stored snapshot is not readable: " + text);
  snapshot.xmax_ = to_number(text, at);
  for (char separator = ':'; at + 1 < text.size() && text[at] == separator; separator = ',') {
    at++;
    snapshot.running_.push_back(to_number(text, at));
  }
  // What a text does not hold: which subtransactions ran.
  snapshot.subs_overflowed_ = true;
  return snapshot;
}

std::string KeptSnapshot::text() const {
  std::string text = std::to_string(xmin_) + ":" + std::to_string(xmax_) + ":";
  for (std::size_t i = 0; i < running_.size(); i++) text += (i ? "," : "") + std::to_string(running_[i]);
  return text;
}

bool KeptSnapshot::sees(std::uint64_t xid) const {
  if (xid < xmin_) return true;
  return xid < xmax_ && !std::binary_search(running_.begin(), running_.end(), xid);
}

bool KeptSnapshot::sees_writer(TransactionId xid) const {
  if (!TransactionIdIsNormal(xid)) return true;
  std::uint64_t wide = widen_xid(xid);
  if (wide < xmin_) return true;
  return !subs_overflowed_ && sees(wide) && !std::binary_search(running_subs_.begin(), running_subs_.end(), wide);
}

void LogReader::before_snapshot(Hlc now) {
  if (!promises_.empty() && promises_.back().hlc == now) return;
  promises_.push_back({now, next_xid()});
  // A transaction that stays open for days: a coarser memory does.
  if (promises_.size() <= 4096) return;
  std::deque<Promise> fewer;
  for (std::size_t i = 1; i < promises_.size(); i += 2) fewer.push_back(promises_[i]);
  promises_.swap(fewer);
}

namespace {

std::vector<Transaction> transactions_since(const KeptSnapshot& last, const KeptSnapshot& now, Snapshot snapshot,
                                            const ScratchContext& scratch) {
  std::vector<std::uint64_t> finished;
  for (std::uint64_t xid : last.running())
    if (now.sees(xid)) finished.push_back(xid);
  RawLog raw = {};
  guard([&] {
    MemoryContext old = MemoryContextSwitchTo(scratch.memory);
    raw = read_raw(snapshot, finished.data(), finished.size(), last.xmax());
    MemoryContextSwitchTo(old);
  });
  std::vector<Transaction> transactions = group(raw);
  sort_by_version(transactions);
  return transactions;
}

}  // namespace

void LogReader::unread(Catalog& catalog, Snapshot snapshot, const LogVisitor& visit) const {
  ScratchContext scratch;
  for (const Transaction& transaction : transactions_since(last_, KeptSnapshot(snapshot), snapshot, scratch))
    give(catalog, transaction, visit);
  scratch.done();
}

LogRead LogReader::read(Catalog& catalog, Snapshot snapshot, const LogVisitor& visit) {
  KeptSnapshot now(snapshot);
  ScratchContext scratch;
  std::vector<Transaction> transactions = transactions_since(last_, now, snapshot, scratch);
  for (const Transaction& transaction : transactions) give(catalog, transaction, visit);

  guard([&] {
    flush_to_ = InvalidXLogRecPtr;
    if (first_) flush_to_ = end_of_last_record();
  });
  if (!first_)
    for (const Transaction& transaction : transactions)
      flush_to_ = std::max(flush_to_, TransactionIdGetCommitLSN(static_cast<TransactionId>(transaction.xid)));
  scratch.done();

  while (!promises_.empty() && promises_.front().next_xid <= now.xmin()) {
    watermark_ = std::max(watermark_, promises_.front().hlc);
    promises_.pop_front();
  }
  LogRead result;
  result.any = !transactions.empty();
  result.watermark = watermark_;
  result.marker = now.text();
  last_ = std::move(now);
  first_ = false;
  own_writers_.clear();
  return result;
}

void LogReader::load(Catalog& catalog, Snapshot snapshot, const std::string& pruned,
                     const std::vector<HistoryRecord>& records, const std::function<void(const HistoryRecord&)>& record,
                     const LogVisitor& entry) {
  std::vector<KeptSnapshot> cuts;
  for (const HistoryRecord& one : records)
    if (one.kind == HistoryKind::cut) cuts.push_back(KeptSnapshot::parse(one.marker));
  ScratchContext scratch;
  RawLog raw = {};
  guard([&] {
    MemoryContext old = MemoryContextSwitchTo(scratch.memory);
    raw = read_raw(snapshot, nullptr, 0, 0);
    MemoryContextSwitchTo(old);
  });
  std::vector<Transaction> transactions = group(raw);
  if (!pruned.empty()) {
    KeptSnapshot seen = KeptSnapshot::parse(pruned);
    std::erase_if(transactions, [&](const Transaction& transaction) { return seen.sees(transaction.xid); });
  }
  // Snapshots of one database are nested, so the first that shows a transaction is found by halving.
  for (Transaction& transaction : transactions)
    transaction.cut = static_cast<std::size_t>(
        std::partition_point(cuts.begin(), cuts.end(),
                             [&](const KeptSnapshot& cut) { return !cut.sees(transaction.xid); }) -
        cuts.begin());
  sort_by_version(transactions);
  std::size_t cut = 0, next = 0;
  for (const HistoryRecord& one : records) {
    record(one);
    if (one.kind != HistoryKind::cut) continue;
    for (; next < transactions.size() && transactions[next].cut == cut; next++)
      give(catalog, transactions[next], entry);
    cut++;
  }
  scratch.done();
  if (!cuts.empty()) last_ = cuts.back();
}

bool LogReader::knows_writer(TransactionId xid) const {
  return last_.sees_writer(xid) || TransactionIdIsCurrentTransactionId(xid) ||
         std::find(own_writers_.rbegin(), own_writers_.rend(), xid) != own_writers_.rend();
}

void LogReader::note_own_writer(TransactionId xid) { own_writers_.push_back(xid); }

}  // namespace rowmesh
