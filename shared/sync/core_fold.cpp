// The local log, folded into the window.
#include <algorithm>

#include "shared/codec/document.hpp"
#include "shared/sync/core.hpp"
#include "shared/sync/lost_row.hpp"

namespace rowmesh {

// A transaction that took its version while the clock was wrong and commits after that was set right, be it that it was
// prepared: nobody else would listen to us while we have that version. It is as new as its commit, and so is what comes
// behind it in the log.
Hlc Core::given_anew(Hlc given) {
  auto [at, added] = given_anew_.try_emplace(given, given);
  if (!added) return at->second;
  bool wrong_time = cutting_ && (given > store.clock().now() || given <= std::max(newest_anew_, state.rebased));
  if (!wrong_time) {
    given_anew_.erase(at);
    return given;
  }
  // Symptom: a row that had come with a new node's copy counted as deleted there, by whoever had not seen it; and a
  // reference named a row that its writer had not seen. Mechanism: the log was read after the first piece had been
  // applied, so what was given anew by then was younger than that. Mend: at the rebase versions are set aside for it,
  // older than whatever is applied afterwards.
  bool before_copy = given <= state.rebased && late_versions_.first <= late_versions_.second;
  at->second = before_copy ? late_versions_.first++ : store.clock().tick();
  newest_anew_ = std::max(newest_anew_, at->second);
  return at->second;
}

void Core::fold(const LogEntry& log_entry, Batch& batch) {
  const Table* table = this->table(log_entry.table);
  if (!table) return;
  Version version{given_anew(log_entry.hlc), state.self};
  batch.newest = std::max(batch.newest, version.hlc);
  counters.captured++;
  batch.late |= log_entry.op == LogOp::update && log_entry.columns.empty();  // a key that is handed on once more
  if (log_entry.op == LogOp::truncate) {
    fold_truncate(*table, version);
    return;
  }
  Entry& entry = window.get(log_entry.table, log_entry.key);
  Version truncated = state.truncated(table->id);
  bool side = entry.state.kept_aside();
  if (side) list_unseen(*table, entry, log_entry, version);
  switch (log_entry.op) {
    case LogOp::insert:
      fold_insert(entry.state, version, table->keeps_lives_apart(), truncated);
      // A truncate of another server, older in coming than in time, has killed it before it was seen here: it must not
      // outlive the truncate's being forgotten.
      if (Life* born = entry.state.find(version); born && version < truncated) {
        born->removed = truncated;
        batch.newest = std::max(batch.newest, truncated.hlc);
      }
      break;
    case LogOp::update:
      leave_meaning(*table, entry.state, log_entry.columns, version);
      fold_update(entry.state, version, log_entry.columns, table->columns.size(), table->merge == MergePolicy::row);
      break;
    case LogOp::remove: fold_remove(entry.state, version, table->keeps_lives_apart(), truncated); break;
    case LogOp::truncate: break;
  }
  if (side) {
    mark_side(entry);
    if (log_entry.op == LogOp::update) touched_sides_[&entry].merge(log_entry.columns);
  }
  if (!plain(entry.state, truncated)) unreconciled.insert(&entry);
  // While the history is loaded nobody knows yet when numbers changed hands.
  if ((replaying_ != 0 || version.hlc < keys_changed_at) && !log_entry.columns.empty() && !table->references.empty())
    look_once_more(entry, version.hlc);
  if (!table->uniques.empty()) recheck_hidden.insert(table->id);
  batch.entries.push_back(&entry);
}

// Symptom: a reference named another row than its writer meant. Mechanism: where the later edit of a row counts as a
// whole, a row was edited here of which somebody else had written the reference. So that counted as ours from then on,
// and followed the row that had the number here, also where this was not yet the one that its writer meant. Mend: it is
// noted who knows what it means, and ours follows only the row that he saw there (Applier::remember_meant).
void Core::leave_meaning(const Table& table, RowState& state, const ColumnSet& changed, Version version) {
  Life* life = state.in_table();
  if (!life || changed.empty() || table.merge != MergePolicy::row) return;
  for (const Reference& reference : table.references) {
    Version written = life->columns.of(reference.column);
    auto writer = this->state.members.find(written.origin);
    bool known = writer == this->state.members.end() || writer->second.away() || writer->second.node == identity.node;
    if (known || changed.has(reference.column) || life->meaning(reference.column) || life->applied_at > version.hlc)
      continue;
    life->meant.push_back({reference.column, Meant::known_elsewhere, written, version.hlc});
  }
}

void Core::fold_truncate(const Table& table, Version version) {
  Version& truncated = state.truncates[table.id];
  truncated = std::max(truncated, version);
  window.for_each(table.id, [&](Entry& entry) {
    if (replaying_ != 0 && entry.side_stored && replaying_ <= static_cast<std::int64_t>(entry.mark))
      return;  // its side row knows it already
    auto& lives = entry.state.lives;
    std::erase_if(lives, [&](const Life& life) { return life.birth == version; });
    if (entry.state.has_side())
      list_unseen(table, entry, {table.id, LogOp::truncate, {}, ColumnSet::all(), version.hlc}, version);
    for (Life& life : lives) {
      life.in_table = false;
      if (!life.side || !life.dead(truncated)) continue;
      life.side = nullptr;
      mark_side(entry);
    }
    if (!plain(entry.state, truncated)) unreconciled.insert(&entry);
  });
}

// A local change replaces values that wait in quarantine. Whoever made it looked at the table, where they are not.
void Core::list_unseen(const Table& table, const Entry& entry, const LogEntry& change, Version version) {
  if (!cutting_ || change.op == LogOp::insert) return;
  bool one_life = change.op == LogOp::update || (change.op == LogOp::remove && table.keeps_lives_apart());
  auto refused = [](const Life& life) { return life.side && life.side->kind == SideKind::quarantined; };
  // Of several lives under a natural key it is the row of all together that was refused.
  bool any_refused = std::any_of(entry.state.lives.begin(), entry.state.lives.end(), refused);
  for (const Life& life : entry.state.lives) {
    bool waits = refused(life) || (any_refused && life.side && life.side->kind == SideKind::merged);
    if (!waits || life.applied_at > version.hlc || (one_life && !life.in_table)) continue;
    Loss loss{"update_quarantined",
              change.op == LogOp::update ? "keep_local" : "keep_delete",
              {},
              OwnedRow(life_values(table, life, {})),
              {},
              {},
              version,
              life.birth,
              life.side->types};
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      if (!life.side->columns.has(column) || (change.op == LogOp::update && !change.columns.has(column))) continue;
      loss.columns.add(column);
      loss.loser_version = std::max(loss.loser_version, life.columns.of(column));
    }
    if (!loss.columns.empty()) pending_conflicts_.push_back(conflict_row(table, *entry.key, loss, now_ms()));
  }
}

// Symptom: a value was lost without a trace, and its row changed where nobody had written. Mechanism: of two lives
// under a natural key, where the later edit counts as a whole, somebody edited the row that showed one's values; the
// edit was the other one's, which showed what it had had before. Mend: the whole row that was there when it was edited.
static bool shows_whole_row(const Table& table, const RowState& state) {
  return table.merge == MergePolicy::row && std::all_of(state.lives.begin(), state.lives.end(), [](const Life& life) {
           return !life.side || life.side->kind == SideKind::merged;
         });
}

// Local updates of rows of which some values lie in the side table: the table's row is newer now. In the snapshot of
// the cut.
void Core::refresh_side_values() {
  for (auto& [entry, columns] : touched_sides_) {
    Life* life = entry->state.in_table();
    if (!life || !life->side) continue;
    const Table& table = *this->table(entry->table);
    Side& side = *life->side;
    if (side.kind == SideKind::quarantined && !side.columns.is_all()) {
      ColumnSet left;
      for (std::size_t i = 0; i < table.columns.size(); i++)
        if (side.columns.has(static_cast<ColumnIndex>(i)) && !columns.has(static_cast<ColumnIndex>(i)))
          left.add(static_cast<ColumnIndex>(i));
      side.columns = left;
      if (left.empty()) life->side = nullptr;
      continue;
    }
    KeyView key = *entry->key;
    bool whole = shows_whole_row(table, entry->state);
    store.read_rows(table, {&key, 1}, [&, &columns = columns](std::size_t, KeyView, RowView row) {
      for (std::size_t i = 0; i < row.size(); i++) {
        if (!whole && !columns.has(static_cast<ColumnIndex>(i))) continue;
        side.values.set(i, row[i]);
        if (i < side.types.size()) side.types[i] = table.columns[i].type;
      }
      return true;
    });
  }
  touched_sides_.clear();
}

ConflictRow conflict_row(const Table& table, KeyView key, const Loss& loss, std::uint64_t now_ms) {
  auto version_text = [](Version version) {
    return version.settled() ? std::string("settled")
                             : std::to_string(hlc_to_ms(version.hlc)) + "/" + to_hex(version.origin);
  };
  ConflictRow row;
  row.time_ms = now_ms;
  row.table = table.local_name;
  row.key_text = key_to_text(key);
  row.type = loss.type;
  row.resolution = loss.resolution;
  if (!loss.winner.empty()) row.winner = row_to_json(table, loss.winner.view(), &loss.columns);
  row.loser = row_to_json(table, loss.loser.view(), &loss.columns);
  row.winner_version = version_text(loss.winner_version);
  row.loser_version = version_text(loss.loser_version);
  row.image = pack_lost(table.id, key, loss);
  return row;
}

}  // namespace rowmesh
