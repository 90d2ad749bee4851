#include "shared/sync/core.hpp"

#include <algorithm>

#include "shared/codec/document.hpp"
#include "shared/codec/packed.hpp"
#include "shared/model/limits.hpp"
#include "shared/model/memory.hpp"

namespace rowmesh {
void Core::load_config() {
  identity = store.identity();
  tables_.clear();
  by_wire_name_.clear();
  for (Table& table : store.tables()) {
    by_wire_name_[table.wire_name] = table.id;
    tables_[table.id] = std::move(table);
  }
  if (state.self != identity.origin && state.self != 0 && loaded_) return;  // renew() comes first
  state.self = identity.origin;
  Member& self = state.members[identity.origin];
  self.node = identity.node;
  self.name = identity.name;
  self.left = false;
}

const Table* Core::table(TableId id) const {
  auto at = tables_.find(id);
  return at == tables_.end() ? nullptr : &at->second;
}

const Table* Core::table_by_wire_name(const std::string& name) const {
  auto at = by_wire_name_.find(name);
  return at == by_wire_name_.end() ? nullptr : table(at->second);
}

bool Core::cut(bool force) {
  Batch batch;
  touched_sides_.clear();
  cutting_ = true;
  LogRead read = store.read_log([&](const LogEntry& entry) { fold(entry, batch); });
  cutting_ = false;
  watermark = std::max(watermark, read.watermark);
  state.hlc = std::max(state.hlc, store.clock().now());
  last_cut_ms = now_ms();
  if (!read.any && !force) return false;
  window.keep_once(batch.entries);

  Position& position = state.applied[state.self];
  position.number = std::max(position.number + 1, first_number_);
  position.tag = services.random.next();
  OriginMeta& meta = state.own_meta();
  meta.position = position.number;
  meta.watermark = watermark;
  meta.newest = std::max(meta.newest, batch.newest);
  // A server that was never met confirmed nothing, and is not among the members yet.
  if (!hold_prune) meta.horizon = std::max(meta.horizon, state.horizon(watermark));
  meta.received.clear();
  for (auto& [origin, other] : state.metas)
    if (origin != state.self) meta.received[origin] = other.watermark;

  PackedWriter data;
  data.number(0);
  data.number(position.number);
  data.fixed64(position.tag);
  data.fixed64(batch.newest);
  data.fixed64(state.self);
  batch.ends = {{state.self, position.number}};
  Batch* added = nullptr;
  if (batch.newest != 0) {
    window.add_batch(std::move(batch));
    added = window.newest_batch();
  }
  HistoryRecord record;
  record.kind = HistoryKind::cut;
  record.marker = read.marker;
  record.data = data.take();
  pending_.push_back({std::move(record), added});
  refresh_side_values({}, touched_sides_);
  return true;
}

bool Core::cut_alone(bool force) {
  store.begin(TransactionKind::read);
  bool moved = cut(force);
  store.commit();
  return moved;
}

void Core::fold(const LogEntry& log_entry, Batch& batch) {
  const Table* table = this->table(log_entry.table);
  if (!table) return;
  Version version{log_entry.hlc, state.self};
  batch.newest = std::max(batch.newest, log_entry.hlc);
  counters.captured++;
  if (log_entry.op == LogOp::truncate) {
    fold_truncate(*table, version);
    return;
  }
  Entry& entry = window.get(log_entry.table, log_entry.key);
  Version truncated = state.truncated(table->id);
  bool side = entry.state.has_side();
  if (side && log_entry.op != LogOp::insert)
    list_unseen(*table, entry, log_entry.op == LogOp::update ? log_entry.columns : ColumnSet::all(), version);
  switch (log_entry.op) {
    case LogOp::insert:
      fold_insert(entry.state, version, table->integer_key, truncated);
      if (side && table->integer_key) surfacing.insert(&entry);  // over one that waits: it is this one's turn to wait
      break;
    case LogOp::update:
      fold_update(entry.state, version, log_entry.columns, table->columns.size(), table->merge == MergePolicy::row,
                  table->integer_key, truncated);
      if (side) touched_sides_[&entry].merge(log_entry.columns);
      break;
    case LogOp::remove:
      fold_remove(entry.state, version, table->integer_key, truncated);
      if (waits_for_its_turn(*table, entry)) surfacing.insert(&entry);
      break;
    case LogOp::truncate: break;
  }
  if (side) {
    mark_side(entry);
    if (log_entry.op != LogOp::update) touched_sides_[&entry];
  }
  // An insert over a row that waits: a second life whose elder keeps its values (H16 e).
  if (log_entry.op != LogOp::insert) recheck_hidden.insert(table->id);
  batch.entries.push_back(&entry);
}

bool Core::waits_for_its_turn(const Table& table, const Entry& entry) const {
  if (table.integer_key && held_in_table(entry.state, state.truncated(table.id))) return true;
  const Life* shown = table.integer_key ? shown_life(entry.state, true, state.truncated(table.id)) : nullptr;
  return shown && shown->side && shown->side->kind == SideKind::held;
}

void Core::fold_truncate(const Table& table, Version version) {
  Version& truncated = state.truncates[table.id];
  truncated = std::max(truncated, version);
  window.for_each(table.id, [&](Entry& entry) {
    if (replaying_ != 0 && entry.side_stored && replaying_ <= static_cast<std::int64_t>(entry.mark)) return;  // its side row knows it already
    auto& lives = entry.state.lives;
    std::erase_if(lives, [&](const Life& life) { return life.birth == version; });
    if (entry.state.has_side()) list_unseen(table, entry, ColumnSet::all(), version);
    for (Life& life : lives) {
      if (!life.side || !life.dead(truncated)) continue;
      life.side = nullptr;
      mark_side(entry);
    }
  });
}

// A local change replaces values that wait in quarantine. Whoever made it looked at the table, where they are not.
void Core::list_unseen(const Table& table, const Entry& entry, const ColumnSet& replaced, Version version) {
  if (!cutting_) return;
  for (const Life& life : entry.state.lives) {
    if (!life.side || life.side->kind != SideKind::quarantined || life.applied_at > version.hlc) continue;
    Loss loss{"update_quarantined", replaced.is_all() ? "keep_delete" : "keep_local", {}, life.side->values, {}, {}, version};
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      if (!life.side->columns.has(column) || !replaced.has(column)) continue;
      loss.columns.add(column);
      loss.loser_version = std::max(loss.loser_version, life.columns.of(column));
    }
    if (!loss.columns.empty()) pending_conflicts_.push_back(conflict_row(table, *entry.key, loss, now_ms()));
  }
}

// A local insert over a row that waits is a second life under the key: from now on each keeps its own values beside the table (H16 e).
void Core::split_values(const Table& table, Entry& entry, Life& shown, Version truncated) {
  bool several = false;
  for (Life& life : entry.state.lives) {
    if (&life == &shown || life.dead(truncated) || !life.side) continue;
    life.side->kind = SideKind::merged;
    several = true;
  }
  if (!several) return;
  KeyView key = *entry.key;
  store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
    shown.side = std::make_unique<Side>();
    shown.side->kind = SideKind::merged;
    shown.side->columns = ColumnSet::all();
    shown.side->values = OwnedRow(row);
    shown.side->since_ms = now_ms();
    return true;
  });
}

// The same under an integer key: the younger one is in the table and must wait.
void Core::hold_younger(const Table& table, Entry& entry, const Life& shown, const ColumnSet& touched) {
  if (!shown.side) return;
  Version truncated = state.truncated(table.id);
  for (Life& life : entry.state.lives) {
    bool here = life.side && life.side->kind == SideKind::held && life.side->row_here;
    if (&life == &shown || life.dead(truncated) || (life.side && !here)) continue;
    KeyView key = *entry.key;
    store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
      if (!here) {
        life.side = std::make_unique<Side>();
        life.side->columns = ColumnSet::all();
        life.side->row_here = true;
        life.side->reason = "an older row with this number waits here; this one waits for a number of its own";
        life.side->since_ms = now_ms();
        life.side->values = OwnedRow(row);
      }
      for (std::size_t i = 0; i < row.size(); i++)
        if (touched.has(static_cast<ColumnIndex>(i))) life.side->values.set(i, row[i]);
      return true;
    });
  }
}

// Local writes to rows of which some values lie in the side table: the table's row is newer now.
void Core::refresh_side_values(const std::vector<Entry*>&, const std::map<Entry*, ColumnSet, ByKey>& touched) {
  for (auto& [entry, columns] : touched) {
    const Table& table = *this->table(entry->table);
    Version truncated = state.truncated(table.id);
    Life* shown = shown_life(entry->state, table.integer_key, truncated);
    if (!shown) continue;
    if (!table.integer_key && !shown->side) split_values(table, *entry, *shown, truncated);
    if (table.integer_key) hold_younger(table, *entry, *shown, columns);
    if (!shown->side) continue;
    Side& side = *shown->side;
    if (side.kind == SideKind::quarantined && !side.columns.is_all()) {
      ColumnSet left;
      for (std::size_t i = 0; i < table.columns.size(); i++)
        if (side.columns.has(static_cast<ColumnIndex>(i)) && !columns.has(static_cast<ColumnIndex>(i)))
          left.add(static_cast<ColumnIndex>(i));
      side.columns = left;
      if (left.empty()) shown->side = nullptr;
    } else if (side.kind == SideKind::merged || (side.kind == SideKind::quarantined && side.row_here)) {
      KeyView key = *entry->key;
      store.read_rows(table, {&key, 1}, [&, &columns = columns](std::size_t, KeyView, RowView row) {
        for (std::size_t i = 0; i < row.size(); i++)
          if (columns.has(static_cast<ColumnIndex>(i))) side.values.set(i, row[i]);
        return true;
      });
    }
  }
}

ConflictRow conflict_row(const Table& table, KeyView key, const Loss& loss, std::uint64_t now_ms) {
  auto version_text = [](Version version) {
    return version.settled() ? std::string("settled") : std::to_string(hlc_to_ms(version.hlc)) + "/" + to_hex(version.origin);
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
  return row;
}

// ---- history ----

namespace {
constexpr std::uint64_t first_part = 1, next_part = 3;  // 0: a cut; 2: a renewal
constexpr std::size_t trim_after_entries = 50000;
constexpr PositionNumber lost_numbers = 1u << 20;  // more than are ever made between two history records

void pack_entry(PackedWriter& out, const Entry& entry) {
  out.number(entry.table);
  out.text(*entry.key);
  out.state(entry.state, false);
}
}  // namespace

std::vector<HistoryRecord> applied_records(const Batch& batch, Hlc applied_at) {
  std::vector<HistoryRecord> records;
  PackedWriter out;
  out.applied_at(applied_at);
  out.number(first_part);
  out.fixed64(applied_at);
  out.number(batch.ends.size());
  for (auto& [origin, position] : batch.ends) {
    out.fixed64(origin);
    out.number(position);
  }
  out.fixed64(batch.newest);
  for (const Entry* entry : batch.entries) {
    pack_entry(out, *entry);
    if (out.size() < limits::history_chunk_bytes) continue;
    records.push_back({0, HistoryKind::applied, {}, {}, out.take()});
    out.number(next_part);
    out.fixed64(applied_at);
  }
  if (records.empty() || out.size() > 9) records.push_back({0, HistoryKind::applied, {}, {}, out.take()});
  return records;
}

void Core::write_pending(std::vector<HistoryRecord> more, const NodeState& state_after) {
  std::vector<HistoryRecord> records;
  for (PendingRecord& pending : pending_) records.push_back(pending.record);
  for (HistoryRecord& record : more) records.push_back(std::move(record));
  // A row that leaves the side table keeps lives that the history before may not name any more: from now on the history has them.
  settling_ = {};
  for (Entry* entry : dirty_sides_) {
    if (!entry->side_stored || entry->state.has_side()) continue;
    settling_.entries.push_back(entry);
    settling_.newest = std::max(settling_.newest, entry->state.newest().hlc);
  }
  if (settling_.newest != 0)
    for (HistoryRecord& record : applied_records(settling_, 0)) records.push_back(std::move(record));
  first_written_ = last_sequence_ + 1;
  last_written_ = last_sequence_;
  if (!records.empty()) {
    // The state goes with the last first-part record: continuations carry none.
    std::size_t last = records.size() - 1;
    while (last > 0 && records[last].kind == HistoryKind::applied && !records[last].data.empty() &&
           records[last].data[0] == static_cast<char>(next_part))
      last--;
    records[last].state = state_after.encode();
    last_written_ = store.append_history(records);
  }
  for (const ConflictRow& conflict : pending_conflicts_) store.add_conflict(conflict);
  stored_sides_.clear();
  for (Entry* entry : dirty_sides_) {
    bool side = entry->state.has_side();
    if (side)
      store.put_side(side_row(*entry, last_written_));
    else if (entry->side_stored)
      store.remove_side(entry->table, *entry->key);
    stored_sides_.emplace_back(entry, side);
  }
}

void Core::written() {
  last_sequence_ = last_written_;
  for (PendingRecord& pending : pending_)
    if (pending.batch) pending.batch->sequence = first_written_;
  pending_.clear();
  counters.conflicts += pending_conflicts_.size();
  for (const ConflictRow& conflict : pending_conflicts_) counters.conflicts_by_type[conflict.type]++;
  pending_conflicts_.clear();
  dirty_sides_.clear();
  if (settling_.newest != 0) {
    settling_.sequence = first_written_;
    window.add_batch(std::move(settling_));
  }
  settling_ = {};
  for (auto& [entry, side] : stored_sides_) {
    entry->side_stored = side;
    side ? (void)sides_.insert(entry) : (void)sides_.erase(entry);
  }
  auto stored = std::move(stored_sides_);
  stored_sides_.clear();
  for (auto& [entry, side] : stored) window.forget_if_empty(*entry);
}

void Core::flush() {
  if (!pending()) return;
  store.begin(TransactionKind::write);
  write_pending({}, state);
  store.commit_lazily();
  written();
}

SideRow Core::side_row(const Entry& entry, std::int64_t as_of) {
  const Table* table = this->table(entry.table);
  SideRow row;
  row.table = entry.table;
  row.key = *entry.key;
  PackedWriter packed;
  packed.fixed64(static_cast<std::uint64_t>(as_of));
  packed.state(entry.state, true);
  row.packed = packed.take();
  const Life* chosen = nullptr;
  for (const Life& life : entry.state.lives)
    if (life.side && (!chosen || life.side->kind > chosen->side->kind)) chosen = &life;
  constexpr const char* kinds[] = {"merged", "held", "hidden", "quarantined"};
  row.kind = kinds[static_cast<std::size_t>(chosen->side->kind)];
  row.reason = chosen->side->reason;
  row.code = chosen->side->code;
  row.since_ms = chosen->side->since_ms;
  row.key_text = key_to_text(row.key);
  row.origin = to_hex(chosen->newest().origin);
  if (table) row.payload = row_to_json(*table, chosen->side->values.view(), &chosen->side->columns);
  return row;
}

void Core::take_record(const HistoryRecord& record, Batch& open_batch, bool& open) {
  if (!record.state.empty()) {
    NodeState after = NodeState::decode(record.state);
    // A truncate was settled and forgotten between the two, and the lives that it killed with it. The records before still have them.
    for (auto& [table, truncated] : state.truncates)
      if (!after.truncates.contains(table))
        window.drop_born_before(table, truncated, [&](const Entry& entry) {
          return entry.side_stored && record.sequence <= static_cast<std::int64_t>(entry.mark);
        });
    state = std::move(after);
  }
  last_sequence_ = std::max(last_sequence_, record.sequence);
  PackedReader in(record.data);
  std::uint64_t part = in.number();
  if (part != next_part && open) {
    if (open_batch.newest != 0) window.add_batch(std::move(open_batch));
    open_batch = {};
  }
  open = true;
  if (part != next_part) open_batch.sequence = record.sequence;
  if (part == 0) {
    PositionNumber number = in.number();
    in.fixed64();
    open_batch.newest = in.fixed64();
    state.self = in.fixed64();  // its log entries are this incarnation's
    open_batch.ends = {{state.self, number}};
    return;
  }
  if (part == renewal_part) {
    take_renewal(in);
    open = false;
    open_batch = {};
    return;
  }
  in.applied_at(in.fixed64());
  if (part == first_part) {
    for (std::uint64_t left = in.number(); left > 0; left--) {
      Origin origin = in.fixed64();
      open_batch.ends.emplace_back(origin, in.number());
    }
    open_batch.newest = in.fixed64();
  }
  while (!in.done()) {
    auto table = static_cast<TableId>(in.number());
    Entry& entry = window.get(table, in.text());
    RowState after = in.state(false);
        // The side row was written after this record and knows more, values included.
    bool side_is_newer = entry.side_stored && record.sequence <= static_cast<std::int64_t>(entry.mark);
    if (!side_is_newer) {
      for (Life& life : after.lives)
        if (Life* before = entry.state.find(life.birth)) life.side = std::move(before->side);
      entry.state = std::move(after);
    }
    open_batch.entries.push_back(&entry);
  }
}

void Core::load_history() {
  load_config();  // the tables; once more at the end, over the state that the history brings
  for (SideRow& row : store.load_side()) {
    PackedReader in(row.packed);
    auto as_of = in.fixed64();
    Entry& entry = window.get(row.table, row.key);
    entry.state = in.state(true);
    entry.side_stored = true;
    entry.mark = static_cast<std::uint32_t>(as_of);  // until the history is read: records up to here are in it already
    sides_.insert(&entry);
  }
  Batch open_batch;
  bool open = false;
  std::int64_t sequence = 0;
  store.load_history(
      [&](const HistoryRecord& record) {
        sequence = record.sequence;
        take_record(record, open_batch, open);
      },
      [&](const LogEntry& entry) {
        Entry* known = window.find(entry.table, entry.key);
        if (known && known->side_stored && sequence <= static_cast<std::int64_t>(known->mark)) {
          open_batch.entries.push_back(known);
          open_batch.newest = std::max(open_batch.newest, entry.hlc);
          return;
        }
        replaying_ = sequence;
        fold(entry, open_batch);
        replaying_ = 0;
      });
  for (Entry* entry : sides_) {
    entry->mark = 0;
    const Table* table = this->table(entry->table);
    if (table && waits_for_its_turn(*table, *entry)) surfacing.insert(entry);
  }
  if (open && open_batch.newest != 0) window.add_batch(std::move(open_batch));
  for (Batch& batch : window.batches()) {
    for (Entry* entry : batch.entries) entry->references--;
    std::sort(batch.entries.begin(), batch.entries.end());
    batch.entries.erase(std::unique(batch.entries.begin(), batch.entries.end()), batch.entries.end());
    for (Entry* entry : batch.entries) entry->references++;
  }
  touched_sides_.clear();
  if (last_sequence_ == 0) state.self = identity.origin;
  loaded_ = true;
  load_config();
  state.hlc = std::max(state.hlc, store.clock().now());
  store.clock().observe(state.hlc);
  counters = {};
  // Positions were shipped before their records were written, and the crash lost them. A number must not come again: a server that has
  // the lost one would take the new one for known. The time of day would not do: it goes back.
  first_number_ = state.applied[state.self].number + lost_numbers;
  newest_at_start = state.own_meta().newest;
  // Another identity was given to the database while no worker ran: it was made from a template, or by pg_upgrade.
  if (state.self != identity.origin) {
    auto before = state.members.find(state.self);
    bool copy = before != state.members.end() && before->second.node != identity.node;
    renew({state.self, identity.origin, newest_at_start, 0, copy}, identity, 0);
  }
  if (last_sequence_ == 0) {
    cut_alone(true);
    flush();
  }
  prune();
}

void Core::prune() {
  if (hold_prune) return;
  state.advance_prune_horizon();
  for (auto at = state.truncates.begin(); at != state.truncates.end();) {
    if (at->second.hlc > state.prune_horizon) {
      ++at;
      continue;
    }
    window.drop_born_before(at->first, at->second);
    at = state.truncates.erase(at);
  }
  if (!window.unsettled() || window.batches().front().newest > state.prune_horizon) return;
  std::size_t before = window.size();
  window.prune(state.prune_horizon, state.pruned);
  // What a big transaction took is given back to the system, not kept for the next one.
  forgotten_ += before - window.size();
  if (forgotten_ >= trim_after_entries) {
    give_back_free_memory();
    forgotten_ = 0;
  }
  std::int64_t keep_from = last_sequence_ + 1;
  for (Batch& batch : window.batches())
    if (batch.sequence != 0) {
      keep_from = std::min(keep_from, batch.sequence);
      break;
    }
  if (pending_.empty()) store.prune_history(keep_from - 1);
}

}  // namespace rowmesh
