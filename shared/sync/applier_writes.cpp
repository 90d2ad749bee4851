// The writing half of the applier: carrying out what was decided, quarantine, lists of losers, truncates, and the
// commit.
#include <algorithm>

#include "shared/codec/document.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/applier.hpp"

namespace rowmesh {

void Applier::write(WriteKind kind, Entry& entry, std::size_t index, const FoundRow& found, RowView values,
                    ColumnSet columns) {
  RowWrite row;
  row.kind = kind;
  row.key = *entry.key;
  row.handle = found.handle;
  row.values = values;
  if (kind == WriteKind::update) {
    column_sets_.push_back(std::make_unique<ColumnSet>(std::move(columns)));
    row.columns = column_sets_.back().get();
  }
  row_writes_.push_back(row);
  writes_.push_back({&entry, index, {}, {}, 0});
}

void Applier::carry_out_writes() {
  if (row_writes_.empty()) return;
  const Table& table = *mapping().table;
  write_rows_by_type();
  std::vector<WriteResult> results;
  results.swap(results_);  // removals on the way have results of their own
  for (std::size_t i = 0; i < row_writes_.size(); i++) {
    Entry& entry = *writes_[i].entry;
    const RowWrite& row = row_writes_[i];
    const WriteResult& result = results[i];
    touched_.push_back(&entry);
    if (!table.uniques.empty()) recheck_.insert(table.id);
    switch (result.status) {
      case WriteResult::ok: written(writes_[i], row); break;
      case WriteResult::raced: throw Raced{};
      case WriteResult::unique: {
        // Decided at the end, when all other rows of the document are in place: values may only have changed hands.
        OwnedRow desired(row.values);
        if (row.kind == WriteKind::update) {
          core_.store.read_rows(table, {&row.key, 1}, [&](std::size_t, KeyView, RowView here) {
            for (std::size_t column = 0; column < here.size(); column++)
              if (!row.columns->has(static_cast<ColumnIndex>(column))) desired.set(column, here[column]);
            return true;
          });
        } else {
          entry.state.set_in_table(nullptr);
        }
        deferred_[table.id].push_back({&entry, std::move(desired), types_of(writes_[i])});
        break;
      }
      case WriteResult::refused:
        if (row.kind == WriteKind::remove)
          throw Error(ErrorKind::transient, result.code,
                      "a row of " + table.local_name + " cannot be removed: " + result.reason);
        quarantine(entry, row, result.code, result.reason, types_of(writes_[i]), writes_[i].refused_since_ms);
        break;
    }
  }
}

// One call, unless values that waited beside the table are of other types than those of the document.
void Applier::write_rows_by_type() {
  const Table& table = *mapping().table;
  std::vector<WriteResult> some;
  results_.clear();
  for (std::size_t begin = 0; begin < row_writes_.size();) {
    std::size_t end = begin + 1;
    while (end < row_writes_.size() && writes_[end].types == writes_[begin].types) end++;
    bool all = begin == 0 && end == row_writes_.size();
    core_.store.write_rows(table, types_of(writes_[begin]), std::span(row_writes_).subspan(begin, end - begin),
                           all ? results_ : some);
    if (!all) results_.insert(results_.end(), some.begin(), some.end());
    begin = end;
  }
}

void Applier::written(const Write& write, const RowWrite& row) {
  core_.counters.applied++;
  RowState& state = write.entry->state;
  const Table& table = *mapping().table;
  if (row.kind == WriteKind::remove)
    state.set_in_table(nullptr);
  else if (state.lives.size() > 1 || !state.lives[0].in_table)
    leave_table(table, *write.entry, shown_life(state, table.keeps_lives_apart(), state_.truncated(table.id)));
  if (Life* shown = state.in_table(); shown && row.kind == WriteKind::insert) shown->shown_at = Life::being_applied;
}

void Applier::remove_row(const Table& table, KeyView key, std::uint64_t handle) {
  RowWrite removal{WriteKind::remove, key, handle, {}, nullptr};
  core_.store.write_rows(table, {}, {&removal, 1}, results_);
  if (results_[0].status != WriteResult::ok) throw Raced{};
}

// Before a row is hidden or quarantined. They are all in memory; one document could bring more than there is room for.
void Applier::keep_room_aside(const Entry& entry) {
  if (entry.side_stored) return;
  if (core_.sides().size() + ++put_aside_ > limits::side_rows)
    throw Error(ErrorKind::transient, "quarantine_full",
                "quarantined and hidden rows are " + std::to_string(limits::side_rows) +
                    " already; see what refuses them, then retry or discard");
}

// `row`: what was to be written.
void Applier::quarantine(Entry& entry, const RowWrite& row, const std::string& code, const std::string& reason,
                         const std::vector<ColumnType>& types, std::uint64_t since_ms) {
  const Table& table = *core_.table(entry.table);
  Life* shown = shown_life(entry.state, table.keeps_lives_apart(), state_.truncated(table.id));
  if (!shown) return;
  keep_room_aside(entry);
  core_.window.touch(entry);
  Life* here = row.kind == WriteKind::update ? entry.state.in_table() : nullptr;
  // An older image of the same row may stay; the row of another life must not.
  if (here && here != shown && (table.keeps_lives_apart() || here->dead(state_.truncated(table.id)))) {
    remove_row(table, row.key, row.handle);
    here = nullptr;
  }
  leave_table(table, entry, here ? shown : nullptr);
  bool merged = shown->side && shown->side->kind == SideKind::merged;
  auto side = std::make_unique<Side>();
  side->kind = SideKind::quarantined;
  side->columns = merged || !here ? ColumnSet::all() : *row.columns;
  side->values = merged ? std::move(shown->side->values) : OwnedRow(row.values);
  if (merged)
    side->types = std::move(shown->side->types);
  else
    side->types = types;
  side->code = code;
  side->reason = reason;
  side->since_ms = since_ms != 0 ? since_ms : core_.now_ms();
  shown->side = std::move(side);
  core_.mark_side(entry);
}

void Applier::list(const Table& table, KeyView key, const Loss& loss) {
  ConflictRow conflict = conflict_row(table, key, loss, core_.now_ms());
  core_.store.add_conflict(conflict);
  conflicts_by_type_[conflict.type]++;
  conflicts_++;
}

// ---- truncates ----

void Applier::apply_truncates() {
  for (auto& [name, version] : header_.truncates) {
    const Table* table = core_.table_by_wire_name(name);
    if (only_ && !only_->contains(name)) continue;
    if (!table || version <= state_.truncated(table->id) || context(*table).forgotten(version)) continue;
    remove_born_before(*table, version);
    state_.truncates[table->id] = version;
    if (version.hlc <= state_.prune_horizon) state_.late_truncates[table->id] = core_.store.clock().tick();
    newest_ = std::max(newest_, version.hlc);
    recheck_.insert(table->id);
  }
}

// Symptom: a row of a transaction that had been prepared before a truncate was heard of, and was committed after it,
// was in no list. Mechanism: it was dead when it was read, and waited for its turn to be taken out of the table and
// listed; another truncate took it out first. Mend: that one lists it. (Who killed it had not seen it, whatever he says
// by now.)
void Applier::list_truncated(const Table& table, const Entry& entry, const Life& life, Version truncated) {
  MergeContext rules = context(table);
  bool waits_to_go = life.in_table && life.dead(rules.truncated);
  if ((life.dead(rules.truncated) && !waits_to_go) || !(life.birth < truncated) || life.newest().settled()) return;
  Version killer = truncated;
  if (waits_to_go) killer = std::max(life.death(), life.birth < rules.truncated ? rules.truncated : Version{});
  bool unseen = waits_to_go && killer == rules.truncated;
  Loss loss{"update_truncated", "keep_delete", {}, {}, {}, {}, killer};
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    Version version = life.columns.of(static_cast<ColumnIndex>(i));
    if (!unseen && rules.had_seen(killer, version)) continue;
    loss.columns.add(static_cast<ColumnIndex>(i));
    loss.loser_version = std::max(loss.loser_version, version);
  }
  if (!loss.columns.empty()) list_lost_life(table, *entry.key, life, std::move(loss));
}

// Row by row rather than by TRUNCATE: rows that were born later, and such as a local writer has just made, stay.
void Applier::remove_born_before(const Table& table, Version truncated) {
  core_.window.for_each(table.id, [&](Entry& entry) {
    for (const Life& life : entry.state.lives) list_truncated(table, entry, life, truncated);
    // What lives on was born later, and may have waited for what died.
    bool dies = std::any_of(entry.state.lives.begin(), entry.state.lives.end(),
                            [&](const Life& life) { return life.birth < truncated; });
    if (!dies) return;
    core_.window.touch(entry);
    if (entry.state.kept_aside()) core_.mark_side(entry);
    for (Life& life : entry.state.lives)
      if (life.birth < truncated) life.side = nullptr;
    touched_.push_back(&entry);
    revisit_.insert(&entry);
  });
  Key after;
  for (bool more = true; more;) {
    std::vector<Key> keys;
    more = false;
    core_.store.scan_rows(table, after, [&](std::size_t, KeyView key, RowView) {
      keys.emplace_back(key);
      more = keys.size() >= limits::batch_rows;
      return !more;
    });
    if (keys.empty()) break;
    after = keys.back();
    std::sort(keys.begin(), keys.end());
    std::vector<KeyView> doomed;
    for (const Key& key : keys) {
      Entry* entry = core_.window.find(table.id, key);
      const Life* here = entry ? entry->state.in_table() : nullptr;
      if (!here || here->birth < truncated) doomed.push_back(key);
    }
    core_.store.find_rows(table, doomed, found_);
    std::vector<RowWrite> removals;
    for (std::size_t i = 0; i < doomed.size(); i++) {
      if (found_[i].newer_than_log) throw Raced{};
      if (found_[i].exists) removals.push_back({WriteKind::remove, doomed[i], found_[i].handle, {}, nullptr});
    }
    core_.store.write_rows(table, {}, removals, results_);
    for (const WriteResult& result : results_)
      if (result.status != WriteResult::ok) throw Raced{};
    for (const RowWrite& removal : removals)
      if (Entry* entry = core_.window.find(table.id, removal.key)) entry->state.set_in_table(nullptr);
  }
}

// ---- the end ----

void Applier::finish() {
  note_partial();
  for (auto& [origin, to] : header_.to) {
    if (origin == state_.self || header_.kind == DocumentKind::copy) continue;
    Position& applied = state_.applied[origin];
    if (to.number > applied.number) applied = to;
  }
  catch_up();
  core_.store.clock().observe(header_.hlc);
  // Taken while all rows are locked: a local change with a lower version that is read later came before, and had not
  // seen what is new.
  Hlc applied_at = core_.store.clock().tick();

  Batch batch;
  if (header_.kind == DocumentKind::changes)
    for (auto& [origin, to] : header_.to) {
      // Not what another way brought further already: the ends of an origin's batches only grow (Window::gather).
      auto known = core_.state.applied.find(origin);
      if (origin != state_.self && (known == core_.state.applied.end() || known->second.number < to.number))
        batch.ends.emplace_back(origin, to.number);
    }
  for (auto& [name, span] : header_.behind)
    for (auto& [origin, to] : span.to) {
      bool named = std::any_of(batch.ends.begin(), batch.ends.end(),
                               [&, origin = origin](auto& end) { return end.first == origin; });
      auto applied = state_.applied.find(origin);
      if (origin != state_.self && !named)
        batch.ends.emplace_back(
            origin, applied == state_.applied.end() ? to.number : std::max(to.number, applied->second.number));
    }
  // It counts as of the newest version in it, not as of the watermarks it came with: a node whose own part of it is
  // settled sends no more heartbeats, so nobody would ever confirm a later watermark, and this would stay unsettled for
  // ever.
  core_.window.keep_once(touched_);
  forget_ended();
  for (Entry* entry : touched_)
    for (Life& life : entry->state.lives) {
      if (life.applied_at == Life::being_applied) life.applied_at = applied_at;
      if (life.shown_at == Life::being_applied) life.shown_at = applied_at;
    }
  batch.entries = touched_;
  // What the sender's window still holds of these changes stays unsettled here as well, be it without a row (born and
  // dead in between): a node that has nothing unsettled sends no heartbeats, and then the sender would never forget.
  batch.newest = newest_;
  if (header_.kind == DocumentKind::changes)
    batch.newest = std::max(batch.newest, std::min(header_.newest, header_.hlc));
  // What comes late has been passed by G: it is handed on before it is forgotten, so it counts as of now.
  batch.late = !late_.empty() || !late_tables_.empty();
  if (batch.late) batch.newest = std::max(batch.newest, applied_at);
  if (!body_)  // of a reconciliation: what it leaves behind is forgotten together with what it was made of
    for (Entry* entry : touched_) batch.newest = std::max(batch.newest, entry->state.newest().hlc);
  bool keep = batch.newest > state_.prune_horizon || !batch.entries.empty() || !header_.truncates.empty();
  core_.write_pending(applied_records(batch, applied_at), state_);
  core_.store.commit();

  core_.window.keep_changes();
  core_.state = std::move(state_);
  if (keep) {
    batch.sequence = core_.more_written();
    core_.window.add_batch(std::move(batch));
  }
  core_.written();
  core_.counters.conflicts += conflicts_;
  for (auto& [type, count] : conflicts_by_type_) core_.counters.conflicts_by_type[type] += count;
  core_.recheck_hidden.clear();
  core_.late_references.clear();
  for (auto& [to, before] : moved_rows_) core_.moved_rows[to].merge(before);
  for (auto& row : arrived_) core_.awaited_moves.erase(row);
  for (auto& [row, moves] : awaited_)
    for (AwaitedMove& move : moves) core_.awaited_moves[row].push_back(std::move(move));
  if (keys_changed_) core_.keys_changed_at = applied_at;
  for (Entry* entry : reconciled_) core_.unreconciled.erase(entry);
}

}  // namespace rowmesh
