// Reading the log by snapshot difference: what this snapshot shows and the last one did not. Exact, whatever the order
// of commits.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "pg_ext/catalog.hpp"
#include "shared/sync/store.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/xlogdefs.h"
#include "utils/snapshot.h"
}

namespace rowmesh {

// A snapshot that outlives its transaction, with 64-bit transaction ids.
class KeptSnapshot {
 public:
  KeptSnapshot() = default;  // sees nothing
  explicit KeptSnapshot(Snapshot snapshot);
  static KeptSnapshot parse(const std::string& text);  // as pg_snapshot's; throws Error(corrupt)
  std::string text() const;

  bool sees(std::uint64_t xid) const;  // of a top-level transaction
  // Whether a row version by this (sub)transaction is visible; says no when it cannot tell.
  bool sees_writer(TransactionId xid) const;
  std::uint64_t xmin() const { return xmin_; }
  std::uint64_t xmax() const { return xmax_; }
  const std::vector<std::uint64_t>& running() const { return running_; }

 private:
  std::uint64_t xmin_ = 0, xmax_ = 0;
  std::vector<std::uint64_t> running_;       // sorted, top-level
  std::vector<std::uint64_t> running_subs_;  // sorted
  bool subs_overflowed_ = false;
};

std::uint64_t next_xid();
std::uint64_t widen_xid(TransactionId xid);

class LogReader {
 public:
  // Before the snapshot of a read transaction is taken: the clock as it is now, and the next transaction id.
  void before_snapshot(Hlc now);
  // The clock was set back: what it promised before holds no more.
  void forget_promises() {
    promises_.clear();
    watermark_ = 0;
  }
  LogRead read(Catalog& catalog, Snapshot snapshot, const LogVisitor& visit);
  // What read() would give.
  void unread(Catalog& catalog, Snapshot snapshot, const LogVisitor& visit) const;
  // Up to where the write-ahead log must be on disk before anything of the last read is shipped.
  XLogRecPtr flush_to() const { return flush_to_; }

  // In a read transaction, at start. The newest cut's snapshot becomes the last read's. `pruned`: the marker up to
  // which the log is settled, and left out; empty: nothing is.
  void load(Catalog& catalog, Snapshot snapshot, const std::string& pruned, const std::vector<HistoryRecord>& records,
            const std::function<void(const HistoryRecord&)>& record, const LogVisitor& entry);

  // For find_rows: was this writer given by the last read, or is it rowmesh's own?
  bool knows_writer(TransactionId xid) const;
  void note_own_writer(TransactionId xid);

 private:
  struct Promise {
    Hlc hlc;
    std::uint64_t next_xid;
  };

  KeptSnapshot last_;
  bool first_ = true;  // of this process: everything must be flushed, whoever wrote it
  std::deque<Promise> promises_;
  Hlc watermark_ = 0;
  XLogRecPtr flush_to_ = InvalidXLogRecPtr;
  std::vector<TransactionId> own_writers_;  // since the last read, ascending but for wrap-around
};

}  // namespace rowmesh
