// History, side rows, conflicts and requests: rows of the tables in schema rowmesh.
#include <algorithm>

#include "pg_ext/guard.hpp"
#include "pg_ext/statement.hpp"
#include "pg_ext/store.hpp"
#include "pg_ext/subtransaction.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
}

namespace rowmesh {
namespace {

constexpr std::uint64_t prune_interval_ms = 3000;
constexpr std::uint64_t rotate_bytes = 16u << 20;  // a log table that has grown to this is left for the other one

SqlArgument number(std::int64_t value) { return SqlArgument::of_number(value); }
SqlArgument text(std::string_view value) { return SqlArgument::of_text(value); }
SqlArgument bytes(std::string_view value) { return SqlArgument::of_bytes(value); }

// For columns of type jsonb, which holds anything but the NUL character.
class JsonText {
 public:
  explicit JsonText(std::string text) : text_(std::move(text)) {
    for (std::size_t at = 0; (at = text_.find("\\u0000", at)) != std::string::npos;) text_.replace(at, 6, "\\ufffd");
  }
  SqlArgument argument() const { return text_.empty() ? SqlArgument::of_null_text() : SqlArgument::of_text(text_); }

 private:
  std::string text_;
};

HistoryRecord to_record(const SqlRow& row) {
  HistoryRecord record;
  record.sequence = std::stoll(*row[0]);
  record.kind = *row[1] == "a" ? HistoryKind::applied : HistoryKind::cut;
  record.marker = *row[2];
  record.state = *row[3];
  record.data = *row[4];
  return record;
}

Oid log_table(int which) {
  return get_relname_relid(which == 0 ? "log_0" : "log_1", get_namespace_oid("rowmesh", false));
}

std::uint64_t log_table_bytes(int which) {
  std::uint64_t size = 0;
  guard([&] {
    Relation heap = RelationIdGetRelation(log_table(which));
    if (heap) {
      size = static_cast<std::uint64_t>(RelationGetNumberOfBlocks(heap)) * BLCKSZ;
      RelationClose(heap);
    }
  });
  return size;
}

}  // namespace

// ---- history

std::int64_t PgStore::append_history(std::span<const HistoryRecord> records) {
  std::int64_t sequence = 0;
  for (const HistoryRecord& record : records) {
    auto rows = run_sql(
        "INSERT INTO rowmesh.history (kind, marker, state, data) VALUES ($1::\"char\", $2, $3, $4) RETURNING sequence",
        {text(record.kind == HistoryKind::applied ? "a" : "c"), text(record.marker), bytes(record.state),
         bytes(record.data)});
    sequence = std::stoll(*rows[0][0]);
  }
  return sequence;
}

void PgStore::load_history(const std::function<void(const HistoryRecord&)>& record, const LogVisitor& entry) {
  if (catalog_.tables().empty()) tables();
  begin(TransactionKind::read);
  try {
    std::vector<HistoryRecord> records;
    std::string pruned;
    for (const SqlRow& row :
         run_sql("SELECT sequence, kind::text, marker, state, data FROM rowmesh.history ORDER BY sequence"))
      if (*row[1] == "p")
        pruned = *row[2];
      else
        records.push_back(to_record(row));
    log_.load(catalog_, GetActiveSnapshot(), pruned, records, record, entry);
    commit();
  } catch (...) {
    rollback();
    throw;
  }
}

// Lazily: what is left over a little longer does no harm, and a busy node is asked often.
void PgStore::prune_history(std::int64_t sequence) {
  prune_to_ = std::max(prune_to_, sequence);
  std::uint64_t now = SystemClock().now_ms();
  if (prune_to_ <= pruned_to_ || now - pruned_at_ms_ < prune_interval_ms) return;
  pruned_at_ms_ = now;
  pruned_to_ = prune_to_;
  in_transaction([&] { prune_now(); });
}

void PgStore::prune_now() {
  auto cut =
      run_sql("SELECT marker FROM rowmesh.history WHERE kind = 'c' AND sequence <= $1 ORDER BY sequence DESC LIMIT 1",
              {number(pruned_to_)});
  // Symptom: after a restart a row was gone, or could not be removed any more, on one server alone. Mechanism: changes
  // stay in the log until it is rotated, and those of pruned positions were read once more, as if they were of the
  // first position that is left; by then the number was another row's. Mend: what was pruned is noted, and left out.
  if (!cut.empty())
    run_sql(
        "INSERT INTO rowmesh.history AS h (sequence, kind, marker) OVERRIDING SYSTEM VALUE VALUES (0, 'p', $1) "
        "ON CONFLICT (sequence) DO UPDATE SET marker = excluded.marker WHERE h.marker <> excluded.marker",
        {text(*cut[0][0])});
  // The newest cut tells the next read where to begin, the newest state where this node stands.
  run_sql(
      "DELETE FROM rowmesh.history WHERE sequence <= $1 AND kind <> 'p' "
      "AND sequence <> coalesce((SELECT max(sequence) FROM rowmesh.history WHERE kind = 'c'), 0) "
      "AND sequence <> coalesce((SELECT max(sequence) FROM rowmesh.history WHERE state <> ''), 0)",
      {number(pruned_to_)});
  if (!cut.empty()) rotate_log(*cut[0][0]);
}

// The log is never deleted row by row: that would bloat it. Of the two tables the one that capture does not write now
// is emptied as a whole once all of its transactions are pruned, and then the two change places.
void PgStore::rotate_log(const std::string& pruned_marker) {
  int current = static_cast<int>(pg_atomic_read_u32(&slot_->log_index)) & 1, other = 1 - current;
  if (log_table_bytes(other) > 0) {
    bool locked = false;
    guard([&] { locked = ConditionalLockRelationOid(log_table(other), AccessExclusiveLock); });
    if (!locked) return;  // a transaction that wrote it is still open
    std::string name = other == 0 ? "rowmesh.log_0" : "rowmesh.log_1";
    auto needed = run_made_sql("SELECT 1 FROM " + name +
                                   " WHERE xid >= pg_catalog.pg_snapshot_xmin($1::pg_catalog.pg_snapshot) "
                                   "AND NOT pg_catalog.pg_visible_in_snapshot(xid, $1::pg_catalog.pg_snapshot) LIMIT 1",
                               {text(pruned_marker)});
    if (!needed.empty()) return;
    run_made_sql("TRUNCATE " + name);
  }
  if (log_table_bytes(current) >= rotate_bytes)
    pg_atomic_write_u32(&slot_->log_index, static_cast<std::uint32_t>(other));
}

// ---- side rows, conflicts, requests

std::int64_t PgStore::put_side(const SideRow& row) {
  JsonText payload(row.payload);
  auto rows = run_sql(
      "INSERT INTO rowmesh.side AS s (table_id, key, packed, kind, reason, code, key_text, payload, origin, since) "
      "VALUES ($1::integer, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, pg_catalog.to_timestamp($10::double precision / "
      "1000)) "
      "ON CONFLICT (table_id, key) DO UPDATE SET packed = excluded.packed, kind = excluded.kind, reason = "
      "excluded.reason, code = excluded.code, "
      "key_text = excluded.key_text, payload = excluded.payload, origin = excluded.origin, since = excluded.since "
      "RETURNING s.id",
      {number(row.table), bytes(row.key), bytes(row.packed), text(row.kind), text(row.reason), text(row.code),
       text(row.key_text), payload.argument(), text(row.origin), number(static_cast<std::int64_t>(row.since_ms))});
  return std::stoll(*rows[0][0]);
}

void PgStore::remove_side(TableId table, KeyView key) {
  run_sql("DELETE FROM rowmesh.side WHERE table_id = $1::integer AND key = $2", {number(table), bytes(key)});
}

std::vector<SideRow> PgStore::load_side() {
  std::vector<SideRow> side;
  in_transaction([&] {
    for (SqlRow& row :
         run_sql("SELECT id, table_id, key, packed, kind, reason, code, key_text, coalesce(payload::text, ''), origin, "
                 "(pg_catalog.extract('epoch', since) * 1000)::bigint FROM rowmesh.side ORDER BY id")) {
      SideRow one;
      one.id = std::stoll(*row[0]);
      one.table = static_cast<TableId>(std::stoll(*row[1]));
      one.key = std::move(*row[2]);
      one.packed = std::move(*row[3]);
      one.kind = std::move(*row[4]);
      one.reason = std::move(*row[5]);
      one.code = std::move(*row[6]);
      one.key_text = std::move(*row[7]);
      one.payload = std::move(*row[8]);
      one.origin = std::move(*row[9]);
      one.since_ms = static_cast<std::uint64_t>(std::stoll(*row[10]));
      side.push_back(std::move(one));
    }
  });
  return side;
}

void PgStore::add_conflict(const ConflictRow& conflict) {
  JsonText winner(conflict.winner), loser(conflict.loser);
  run_sql(
      "INSERT INTO rowmesh.conflict (time, table_name, key_text, type, resolution, winner, loser, winner_version, "
      "loser_version, image) "
      "VALUES (pg_catalog.to_timestamp($1::double precision / 1000), $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8, $9, "
      "$10)",
      {number(static_cast<std::int64_t>(conflict.time_ms)), text(conflict.table), text(conflict.key_text),
       text(conflict.type), text(conflict.resolution), winner.argument(), loser.argument(),
       text(conflict.winner_version), text(conflict.loser_version), bytes(conflict.image)});
}

std::string PgStore::conflict_image(std::int64_t id) {
  std::string image;
  in_transaction([&] {
    auto rows = run_sql("SELECT c.image FROM rowmesh.conflict c WHERE c.id = $1", {number(id)});
    if (!rows.empty()) image = std::move(*rows[0][0]);
  });
  return image;
}

void PgStore::note_restored(std::int64_t id, const std::string& what) {
  run_sql("UPDATE rowmesh.conflict SET restored = $2 WHERE id = $1", {number(id), text(what)});
}

void PgStore::finish_request(std::int64_t id) { run_sql("DELETE FROM rowmesh.request WHERE id = $1", {number(id)}); }

}  // namespace rowmesh
