// History, side rows, conflicts, status: what the store keeps for the core.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "shared/sync/status_json.hpp"
#include "sqlite_ext/store_impl.hpp"

namespace rowmesh::sqlite {
namespace {
constexpr std::int64_t kept_conflicts = 100000;
constexpr int prune_rows = 200;  // a batch: short write transactions
constexpr auto status_every = std::chrono::milliseconds(250);
constexpr auto status_stale = std::chrono::seconds(15);
// A cut's marker: the last folded record of which it has the entries.
std::int64_t marker_number(const std::string& marker) { return std::strtoll(marker.c_str(), nullptr, 10); }

}  // namespace

// Given here and not by AUTOINCREMENT, so that a record's number is known before it is written. The table's counter
// keeps numbers from coming twice after everything was pruned.
std::int64_t SqliteStore::Impl::next_sequence() {
  Statement& query = cached("SELECT seq FROM main.sqlite_sequence WHERE name='rowmesh_history'");
  Resetter reset(query);
  if (query.step()) last_sequence = std::max(last_sequence, query.integer(0));
  return ++last_sequence;
}

std::int64_t SqliteStore::Impl::put_history(StoredKind kind, std::string_view marker, std::string_view state,
                                            std::string_view data) {
  std::int64_t sequence = next_sequence();
  cached("INSERT INTO main.rowmesh_history(sequence, kind, marker, state, data) VALUES(?1, ?2, ?3, ?4, ?5)")
      .bind(1, sequence)
      .bind(2, static_cast<std::int64_t>(kind))
      .bind_bytes(3, marker)
      .bind_bytes(4, state)
      .bind_bytes(5, data)
      .run();
  return sequence;
}

std::int64_t SqliteStore::append_history(std::span<const HistoryRecord> records) {
  impl_->need(Impl::Open::read, "append_history");
  std::int64_t sequence = 0;
  for (const HistoryRecord& record : records) {
    if (impl_->open == Impl::Open::read) {
      impl_->waiting_history.push_back(record);
      sequence = impl_->last_sequence + static_cast<std::int64_t>(impl_->waiting_history.size());
    } else {
      sequence = impl_->put_history(static_cast<StoredKind>(record.kind), record.marker, record.state, record.data);
    }
  }
  return sequence;
}

void SqliteStore::load_history(const std::function<void(const HistoryRecord&)>& record, const LogVisitor& entry) {
  Impl& impl = *impl_;
  impl.refresh();
  impl.given = 0;
  std::int64_t after = 0;
  for (;;) {
    // One at a time: delivering the entries in between runs statements of its own.
    Statement query(impl.db,
                    "SELECT sequence, kind, marker, state, data FROM main.rowmesh_history WHERE kind<2 AND sequence>?1 "
                    "ORDER BY sequence LIMIT 64");
    query.bind(1, after);
    bool any = false;
    while (query.step()) {
      any = true;
      HistoryRecord loaded;
      loaded.sequence = after = query.integer(0);
      loaded.kind = query.integer(1) == 0 ? HistoryKind::cut : HistoryKind::applied;
      loaded.marker = query.bytes(2);
      loaded.state = query.bytes(3);
      loaded.data = query.bytes(4);
      record(loaded);
      if (loaded.kind != HistoryKind::cut) continue;
      // Two cuts may be written by one transaction, behind the entries of both.
      std::int64_t upto = std::max(impl.given, marker_number(loaded.marker));
      impl.deliver(impl.given, upto, entry);
      impl.given = upto;
    }
    if (!any) break;
  }
  impl.given_now = impl.given;
}

// A cut's entries go with it, and first: entries without their cut would be given to the next one.
void SqliteStore::prune_history(std::int64_t sequence) {
  Impl& impl = *impl_;
  impl.prune_to = std::max(impl.prune_to, sequence);
  try {
    // The newest state is what a restart begins with, settled or not.
    Statement& newest = impl.cached("SELECT max(sequence) FROM main.rowmesh_history WHERE kind<2 AND length(state)>0");
    std::int64_t upto_state = newest.step() ? newest.integer(0) - 1 : 0;
    newest.reset();
    std::int64_t upto_records = std::min(impl.prune_to, upto_state);
    Statement& last_cut = impl.cached(
        "SELECT marker FROM main.rowmesh_history WHERE kind=0 AND sequence<=?1 ORDER BY sequence DESC LIMIT 1");
    last_cut.bind(1, impl.prune_to);
    std::int64_t folded = last_cut.step() ? marker_number(last_cut.string(0)) : 0;
    last_cut.reset();
    auto remove = [&](const char* kinds, std::int64_t upto) {
      do {
        impl.write_alone([&] {
          impl.cached(std::string("DELETE FROM main.rowmesh_history WHERE sequence IN (SELECT sequence FROM "
                                  "main.rowmesh_history WHERE ") +
                      kinds + " AND sequence<=?1 ORDER BY sequence LIMIT ?2)")
              .bind(1, upto)
              .bind(2, prune_rows)
              .run();
        });
      } while (sqlite3_changes(impl.db) == prune_rows);
    };
    auto any = [&](const char* kinds, std::int64_t upto) {
      Statement& query =
          impl.cached(std::string("SELECT 1 FROM main.rowmesh_history WHERE ") + kinds + " AND sequence<=?1 LIMIT 1");
      Resetter reset(query);
      query.bind(1, upto);
      return query.step();
    };
    if (any("kind=2", folded)) remove("kind=2", folded);
    if (any("kind<2", upto_records)) remove("kind<2", upto_records);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::transient) throw;  // the rest goes with the next call
  }
}

std::int64_t SqliteStore::put_side(const SideRow& row) {
  impl_->need(Impl::Open::write, "put_side");
  Statement& put = impl_->cached(
      "INSERT INTO main.rowmesh_side(table_id, key, packed, kind, reason, code, key_text, payload, origin, since_ms) "
      "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) ON CONFLICT(table_id, key) DO UPDATE SET packed=excluded.packed, "
      "kind=excluded.kind, "
      "reason=excluded.reason, code=excluded.code, key_text=excluded.key_text, payload=excluded.payload, "
      "origin=excluded.origin, "
      "since_ms=excluded.since_ms");
  put.bind(1, static_cast<std::int64_t>(row.table)).bind_bytes(2, row.key).bind_bytes(3, row.packed).bind(4, row.kind);
  put.bind(5, row.reason).bind(6, row.code).bind(7, row.key_text).bind(8, row.payload).bind(9, row.origin);
  put.bind(10, static_cast<std::int64_t>(row.since_ms)).run();
  Statement& query = impl_->cached("SELECT id FROM main.rowmesh_side WHERE table_id=?1 AND key=?2");
  Resetter reset(query);
  query.bind(1, static_cast<std::int64_t>(row.table)).bind_bytes(2, row.key).step();
  return query.integer(0);
}

void SqliteStore::remove_side(TableId table, KeyView key) {
  impl_->need(Impl::Open::write, "remove_side");
  Statement& remove = impl_->cached("DELETE FROM main.rowmesh_side WHERE table_id=?1 AND key=?2");
  remove.bind(1, static_cast<std::int64_t>(table)).bind_bytes(2, key).run();
}

std::vector<SideRow> SqliteStore::load_side() {
  std::vector<SideRow> rows;
  Statement& query = impl_->cached(
      "SELECT id, table_id, key, packed, kind, reason, code, key_text, payload, origin, since_ms FROM "
      "main.rowmesh_side ORDER BY id");
  Resetter reset(query);
  while (query.step()) {
    SideRow row;
    row.id = query.integer(0);
    row.table = static_cast<TableId>(query.integer(1));
    row.key = query.bytes(2);
    row.packed = query.bytes(3);
    row.kind = query.text(4);
    row.reason = query.text(5);
    row.code = query.text(6);
    row.key_text = query.text(7);
    row.payload = query.text(8);
    row.origin = query.text(9);
    row.since_ms = static_cast<std::uint64_t>(query.integer(10));
    rows.push_back(std::move(row));
  }
  return rows;
}

void SqliteStore::add_conflict(const ConflictRow& conflict) {
  impl_->need(Impl::Open::write, "add_conflict");
  Statement& insert = impl_->cached(
      "INSERT INTO main.rowmesh_conflict(time_ms, tbl, key_text, type, resolution, winner, loser, winner_version, "
      "loser_version, image) "
      "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)");
  insert.bind(1, static_cast<std::int64_t>(conflict.time_ms)).bind(2, conflict.table).bind(3, conflict.key_text);
  insert.bind(4, conflict.type).bind(5, conflict.resolution).bind(6, conflict.winner).bind(7, conflict.loser);
  insert.bind(8, conflict.winner_version).bind(9, conflict.loser_version);
  if (conflict.image.empty())
    insert.bind_null(10).run();
  else
    insert.bind_bytes(10, conflict.image).run();
  std::int64_t id = sqlite3_last_insert_rowid(impl_->db);
  if (id % 1000 == 0)
    impl_->cached("DELETE FROM main.rowmesh_conflict WHERE id<=?1").bind(1, id - kept_conflicts).run();
}

std::string SqliteStore::conflict_image(std::int64_t id) {
  Statement& query = impl_->cached("SELECT image FROM main.rowmesh_conflict WHERE id=?1");
  Resetter reset(query);
  return query.bind(1, id).step() ? std::string(query.bytes(0)) : "";
}

void SqliteStore::note_restored(std::int64_t id, const std::string& text) {
  impl_->need(Impl::Open::write, "note_restored");
  impl_->cached("UPDATE main.rowmesh_conflict SET restored=?2 WHERE id=?1").bind(1, id).bind(2, text).run();
}

// ---- status

void SqliteStore::publish_status(const NodeStatus& status) {
  {
    std::lock_guard lock(impl_->status_mutex);
    impl_->status = status;
    impl_->status.listening = impl_->listening;
    impl_->status.inside = impl_->inside;
  }
  impl_->save_status(false);
}

void SqliteStore::set_listening(const std::string& address, const std::string& inside) {
  std::lock_guard lock(impl_->status_mutex);
  impl_->listening = address;
  impl_->inside = inside;
}

NodeStatus SqliteStore::latest_status() const {
  std::lock_guard lock(impl_->status_mutex);
  return impl_->status;
}

void SqliteStore::flush_status() { impl_->save_status(true); }

// Never waits for a lock: nobody needs it that much.
void SqliteStore::Impl::save_status(bool now) {
  auto time = std::chrono::steady_clock::now();
  if (open != Open::none || (!now && time - status_saved_at < status_every)) return;
  // Passing time alone is no news: writing costs a sync and wakes everybody who watches the file.
  NodeStatus compared = status;
  compared.time_ms = 0;
  for (ServerStatus& server : compared.servers) server.lag_ms = server.last_success_ms = 0;
  std::string news = status_to_json(compared);
  if (news == status_saved && time - status_saved_at < status_stale) return;
  std::string json = status_to_json(status);
  sqlite3_busy_timeout(db, 0);  // takes the place of our handler for this one transaction
  bool saved = sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK;
  if (saved) {
    try {
      cached(
          "INSERT INTO main.rowmesh_published(id, time_ms, status) VALUES(1, ?1, ?2) ON CONFLICT(id) DO UPDATE SET "
          "time_ms=excluded.time_ms, status=excluded.status")
          .bind(1, static_cast<std::int64_t>(status.time_ms))
          .bind(2, json)
          .run();
      execute(db, "COMMIT");
    } catch (const Error&) {
      saved = false;
      sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
    }
  }
  restore_busy_handler();
  status_saved_at = time;
  if (saved) status_saved = news;
}

}  // namespace rowmesh::sqlite
