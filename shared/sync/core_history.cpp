// What a restart needs: history records and side rows, written and read again.
#include <algorithm>

#include "shared/codec/document.hpp"
#include "shared/codec/packed.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/core.hpp"

namespace rowmesh {

namespace {
constexpr std::uint64_t first_part = 1, next_part = 3;  // 0: a cut; 2: a renewal
constexpr PositionNumber lost_numbers = 1u << 20;       // more than are ever made between two history records

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
  auto before_settling = static_cast<std::int64_t>(records.size());
  // A row that leaves the side table keeps lives that the history before may not name any more: from now on the history
  // has them.
  settling_ = {};
  for (Entry* entry : dirty_sides_) {
    if (!entry->side_stored || entry->state.kept_aside()) continue;
    settling_.entries.push_back(entry);
  }
  for (Entry* entry : crossed_)
    if (!entry->state.kept_aside() && !(entry->side_stored && dirty_sides_.contains(entry)))
      settling_.entries.push_back(entry);
  for (Entry* entry : settling_.entries) settling_.newest = std::max(settling_.newest, entry->state.newest().hlc);
  if (settling_.newest != 0)
    for (HistoryRecord& record : applied_records(settling_, 0)) records.push_back(std::move(record));
  writing_promise_ = state_after.hlc;
  writing_met_ = met_on_disk_;
  writing_copied_ = copied_on_disk_;
  last_written_ = last_sequence_;
  if (!records.empty()) {
    // The state goes with the last first-part record: continuations carry none.
    std::size_t last = records.size() - 1;
    while (last > 0 && records[last].kind == HistoryKind::applied && !records[last].data.empty() &&
           records[last].data[0] == static_cast<char>(next_part))
      last--;
    records[last].state = state_after.encode(writing_promise_ = promise(store.clock().now()));
    writing_horizon_ = state_after.prune_horizon;
    writing_met_ = state_after.met_servers();
    writing_copied_ = state_after.copied_up_to;
    last_written_ = store.append_history(records);
  }
  // Symptom: a change was lost after a restart. Mechanism: the batches of one write all counted as written by its first
  // record, so that one stayed on disk after its own batch had been forgotten, and the record before it, which brought
  // the row that it left out, was gone. Mend: what is on disk is an end of what there was, batch by batch.
  first_written_ = last_written_ - static_cast<std::int64_t>(records.size()) + 1;
  settling_written_ = first_written_ + before_settling;
  more_written_ = first_written_ + static_cast<std::int64_t>(pending_.size());
  for (const ConflictRow& conflict : pending_conflicts_) store.add_conflict(conflict);
  stored_sides_.clear();
  for (Entry* entry : dirty_sides_) {
    bool side = entry->state.kept_aside();
    if (side)
      store.put_side(side_row(*entry, last_written_));
    else if (entry->side_stored)
      store.remove_side(entry->table, *entry->key);
    stored_sides_.emplace_back(entry, side);
  }
}

void Core::written() {
  last_sequence_ = last_written_;
  state.hlc = writing_promise_;
  met_on_disk_ = std::move(writing_met_);
  copied_on_disk_ = writing_copied_;
  std::int64_t sequence = first_written_;
  for (PendingRecord& pending : pending_) {
    if (pending.batch) pending.batch->sequence = sequence;
    sequence++;
  }
  pending_.clear();
  counters.conflicts += pending_conflicts_.size();
  for (const ConflictRow& conflict : pending_conflicts_) counters.conflicts_by_type[conflict.type]++;
  pending_conflicts_.clear();
  dirty_sides_.clear();
  crossed_.clear();
  if (settling_.newest != 0) {
    settling_.sequence = settling_written_;
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
  if (prune_to_ != 0 && writing_horizon_ >= prune_needs_) store.prune_history(std::exchange(prune_to_, 0));
}

// The log tells of a change that was made before a document brought or showed a row of the same key, and was read only
// afterwards. Read again without that document's record, it would be the last that happened to the key.
void Core::keep_begin(Entry& entry) {
  if (entry.state.kept_aside()) return;  // its side row has it
  auto crosses = [&](const Life& came, Version change) {
    return change.origin == state.self && change.hlc < std::max(came.applied_at, came.shown_at);
  };
  for (const Life& came : entry.state.lives)
    for (const Life& life : entry.state.lives)
      if (&life != &came && (crosses(came, life.birth) || crosses(came, life.removed) || crosses(came, life.newest())))
        crossed_.insert(&entry);
}

void Core::flush() {
  if (pending()) write_alone();
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
  row.key_text = key_to_text(row.key);
  const Life* chosen = nullptr;
  for (const Life& life : entry.state.lives)
    if (life.side && (!chosen || life.side->kind > chosen->side->kind)) chosen = &life;
  if (!chosen) {
    row.kind = "contested";
    row.payload = "{}";
    return row;
  }
  constexpr const char* kinds[] = {"merged", "held", "hidden", "quarantined"};
  row.kind = kinds[static_cast<std::size_t>(chosen->side->kind)];
  row.reason = chosen->side->reason;
  row.code = chosen->side->code;
  row.since_ms = chosen->side->since_ms;
  row.origin = to_hex(chosen->newest().origin);
  if (!table) return row;
  row.payload = row_to_json(*table, chosen->side->values.view(), &chosen->side->columns);
  // Of several lives under a natural key it is the row of all together that was refused; but not of one that was
  // inserted here since, and has not been merged with them yet.
  const Life* in_table = entry.state.in_table();
  if (!(in_table && !in_table->side) && !table->keeps_lives_apart() && chosen->side->kind == SideKind::quarantined &&
      chosen->side->columns.is_all())
    if (auto refused = desired_row(*table, entry.state, state.truncated(table->id), {}))
      row.payload = row_to_json(*table, *refused, &chosen->side->columns);
  return row;
}

void Core::take_record(const HistoryRecord& record, Batch& open_batch, bool& open) {
  if (!record.state.empty()) {
    NodeState after = NodeState::decode(record.state);
    // A truncate was settled and forgotten between the two, and the lives that it killed with it. The records before
    // still have them.
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
    if (open_batch.newest != 0 || !open_batch.entries.empty()) window.add_batch(std::move(open_batch));
    open_batch = {};
  }
  open = true;
  if (part != next_part) open_batch.sequence = record.sequence;
  if (part == 0) {
    PositionNumber number = in.number();
    in.fixed64();
    open_batch.newest = in.fixed64();
    state.self = in.fixed64();  // its log entries are this incarnation's
    given_anew_.clear();
    while (!in.done()) {
      Hlc given = in.fixed64();
      given_anew_[given] = in.fixed64();
    }
    open_batch.ends = {{state.self, number}};
    return;
  }
  if (part == renewal_part) {
    take_renewal(in, record.sequence);
    open = false;
    open_batch = {};
    return;
  }
  Hlc applied_at = in.fixed64();
  in.applied_at(applied_at);
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

// When numbers changed hands before the start is not on disk: if any did, what the log has of references is looked at.
void Core::keep_late_references() {
  for (auto& [id, table] : tables_)
    if (table.keeps_lives_apart())
      window.for_each(id, [&](Entry& entry) {
        auto moved = [](const Life& life) { return life.moved != nullptr; };
        note_moves(entry.table, entry);
        auto& lives = entry.state.lives;
        if (lives.size() > 1 || std::any_of(lives.begin(), lives.end(), moved))
          keys_changed_at = std::max(state.hlc, store.clock().now());
      });
  if (keys_changed_at == 0) late_references.clear();
}

void Core::note_moves(TableId table, const Entry& entry) {
  for (const Life& life : entry.state.lives) {
    if (!life.moved) continue;
    moved_rows[{table, life.moved->to_key}].insert(*entry.key);
    const Entry* to = window.find(table, life.moved->to_key);
    Version birth = life.moved->to_birth;
    if (birth.hlc > state.prune_horizon && !(to && to->state.find(birth)))
      awaited_moves[{table, life.moved->to_key, birth}].push_back({*entry.key, life.birth, {}});
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
          open_batch.newest = std::max(open_batch.newest, given_anew(entry.hlc));  // as the cut gave it
          return;
        }
        replaying_ = sequence;
        fold(entry, open_batch);
        replaying_ = 0;
      });
  for (Entry* entry : sides_) entry->mark = 0;
  for (auto& [id, table] : tables_) {
    Version truncated = state.truncated(id);
    window.for_each(id, [&](Entry& entry) {
      if (!plain(entry.state, truncated)) unreconciled.insert(&entry);
    });
  }
  keep_late_references();
  if (open && (open_batch.newest != 0 || !open_batch.entries.empty())) window.add_batch(std::move(open_batch));
  for (Batch& batch : window.batches()) {
    for (Entry* entry : batch.entries) entry->references--;
    std::sort(batch.entries.begin(), batch.entries.end());
    batch.entries.erase(std::unique(batch.entries.begin(), batch.entries.end()), batch.entries.end());
    for (Entry* entry : batch.entries) entry->references++;
  }
  // Symptom: after a crash a row differed on two nodes. Mechanism: what a server wrote before it was met had come late,
  // and was settled with an older batch of its row before it was handed on. Mend: a start takes all batches for late.
  window.take_all_for_late();
  touched_sides_.clear();
  if (last_sequence_ == 0) state.self = identity.origin;
  loaded_ = true;
  met_on_disk_ = state.met_servers();
  copied_before = copied_on_disk_ = state.copied_up_to;
  load_config();
  store.clock().observe(state.hlc);
  counters = {};
  // Positions were shipped before their records were written, and the crash lost them. A number must not come again: a
  // server that has the lost one would take the new one for known. The time of day alone would not do: it goes back.
  // But it tells this run from another that began with the same state, before that was put back.
  first_number_ = state.applied[state.self].number + lost_numbers + now_ms() % lost_numbers;
  newest_at_start = std::max(state.own_meta().newest, store.given_before_opening());
  bool elsewhere = !store.place_trouble().empty();
  just_started_ = true;
  bool just_found = !state.found || (elsewhere && !state.found->copy);
  if (just_found)
    state.found = {state.applied[state.self], state.own_meta().watermark, newest_at_start, 0, elsewhere,
                   state.own_meta().newest};
  start_ = {state.self, state.applied[state.self], state.own_meta()};
  // Another identity was given to the database while no worker ran: it was made from a template, or by pg_upgrade.
  if (state.self != identity.origin) {
    auto before = state.members.find(state.self);
    bool copy = before != state.members.end() && before->second.node != identity.node;
    renew({state.self, identity.origin, newest_at_start, copy}, identity, 0);
  }
  prune();
}

}  // namespace rowmesh
