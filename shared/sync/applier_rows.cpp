// The rows of a document: what they say, and what becomes of each.
#include <algorithm>
#include <set>

#include "shared/model/limits.hpp"
#include "shared/sync/applier.hpp"

namespace rowmesh {
IncomingLife Applier::incoming(const WireLife& wire, const Mapping& mapping) {
  const Table& table = *mapping.table;
  IncomingLife life;
  life.birth = wire.birth;
  life.removed = wire.removed;
  life.columns.base = wire.base;
  auto note = [&](Version version) {
    newest_ = std::max(newest_, version.hlc);
    if (version.origin == state_.self) newest_of_ours_ = std::max(newest_of_ours_, version.hlc);
  };
  for (Version version : {wire.birth, wire.removed, wire.base}) note(version);
  auto take_versions = [&](const std::vector<Version>& versions, ColumnVersions& out) {
    for (std::size_t column = 0; column < versions.size(); column++) {
      note(versions[column]);
      out.set(static_cast<ColumnIndex>(mapping.to_local[column]), versions[column]);
    }
  };
  if (!wire.versions.empty()) {
    life.columns.base = {};
    take_versions(wire.versions, life.columns);
  }
  // Of a column that the other side does not have it says nothing, so whoever does have it decides.
  if (!mapping.complete)
    for (std::size_t column = 0; column < table.columns.size(); column++)
      if (!mapping.on_wire[column]) life.columns.set(static_cast<ColumnIndex>(column), {});
  if (wire.has_move) {
    life.moved = std::make_unique<Move>();
    life.moved->version = wire.move_version;
    life.moved->to_birth = wire.move_birth;
    life.moved->to_key = encode_key(wire.move_key);
    note(wire.move_version);
    take_versions(wire.move_seen, life.moved->seen);
  }
  if (wire.has_values) {
    auto row = arena_.row(table.columns.size());
    if (!mapping.complete) std::fill(row.begin(), row.end(), Value::of_omitted());
    for (std::size_t column = 0; column < wire.values.size(); column++)
      row[static_cast<std::size_t>(mapping.to_local[column])] = arena_.keep(wire.values[column]);
    life.has_values = true;
    life.values = row;
  }
  return life;
}

void Applier::add(const WireRow& row) {
  const Mapping& mapping = this->mapping();
  if (!mapping.table) return;
  Item& item = items_.emplace_back();
  rows_++;
  bool plain = mapping.integer_keys;
  for (const Value& value : row.key) plain = plain && value.kind == ValueKind::integer;
  if (plain) {
    item.key = encode_key(row.key);
  } else {
    auto key = core_.store.canonical_key(*mapping.table, row.key, mapping.key_types, &item.unholdable);
    Key sent = encode_key(row.key);
    item.key = key ? std::move(*key) : sent;
    if (item.key != sent) {
      if (!header_.meant.empty()) sent_keys_[{mapping.table->id, sent}] = item.key;
      item.sent_key = std::move(sent);
    }
  }
  for (std::size_t i = 0; i < row.count; i++) item.lives.push_back(incoming(row.lives[i], mapping));
}

void Applier::flush_batch() {
  if (items_.empty()) return;
  auto before = [](const Item& left, const Item& right) { return left.key < right.key; };
  if (!std::is_sorted(items_.begin(), items_.end(), before)) std::sort(items_.begin(), items_.end(), before);
  keys_.clear();
  for (Item& item : items_) {
    if (!keys_.empty() && keys_.back() == item.key)
      throw Error(ErrorKind::protocol, "twice", "a document names the key " + key_to_text(item.key) + " twice");
    keys_.push_back(item.key);
  }
  const Table& table = *mapping().table;
  bool unholdable =
      std::any_of(items_.begin(), items_.end(), [](const Item& item) { return !item.unholdable.empty(); });
  if (!unholdable) {
    core_.store.find_rows(table, keys_, found_);
  } else {
    found_.assign(items_.size(), {});
    for (std::size_t i = 0; i < items_.size(); i++) {
      if (!items_[i].unholdable.empty()) continue;
      std::vector<FoundRow> one;
      core_.store.find_rows(table, {&keys_[i], 1}, one);
      found_[i] = one[0];
    }
  }
  look_for_unread_deletes(table);
  row_writes_.clear();
  column_sets_.clear();
  writes_.clear();
  for (std::size_t i = 0; i < items_.size(); i++) decide(i, found_[i]);
  carry_out_writes();
  for (const Item& item : items_) note_left_by_others(table, item);
  items_.clear();
  arena_.clear();
}

// Symptom: a row that had just been deleted here was back, on all nodes, and nothing told of it. Mechanism: an old row
// of which nothing is known here is taken in as one that never was here; but a local delete that no cut had seen yet
// looks the same: there is no row, and nothing in its place that would tell who removed it. Mend: before it is taken,
// the log is asked.
void Applier::look_for_unread_deletes(const Table& table) {
  std::set<KeyView> unknown;
  for (std::size_t i = 0; i < items_.size(); i++) {
    auto old = [&](const IncomingLife& life) {
      return !life.dead() && (life.birth.hlc <= state_.prune_horizon || header_.kind == DocumentKind::copy);
    };
    if (found_[i].exists || std::none_of(items_[i].lives.begin(), items_[i].lives.end(), old)) continue;
    const Entry* entry = core_.window.find(table.id, items_[i].key);
    if (!entry || entry->state.lives.empty()) unknown.insert(items_[i].key);
  }
  if (!unknown.empty() && log_names(table, unknown)) throw Raced{};
}

// What no cut has seen yet.
bool Applier::log_names(const Table& table, const std::set<KeyView>& keys) {
  bool named = false;
  core_.store.unread_log([&](const LogEntry& entry) {
    named |= entry.table == table.id && (entry.op == LogOp::truncate || keys.contains(entry.key));
  });
  return named;
}

// Who has given a table up confirms what he does not take of it.
bool Applier::had_seen(const Table& table, Version winner, Version loser) const {
  bool blind =
      winner.origin == header_.sender && winner.origin != loser.origin && header_.given_up.contains(table.wire_name);
  return !blind && state_.had_seen(winner, loser);
}

// Its horizon does not count what it has ended itself, so the document must not be older than what is known of it.
bool Applier::knows_what_ended(const Table& table) const {
  auto there = header_.to.find(header_.sender);
  auto here = state_.applied.find(header_.sender);
  bool older =
      here != state_.applied.end() && (there == header_.to.end() || there->second.number < here->second.number);
  return !older && !header_.given_up.contains(table.wire_name);
}

// `take_unknown`: what was deleted and forgotten here is known to be gone to every sender whose horizon is not below
// ours. So a row that lives there and is unknown here never was here.
MergeContext Applier::context(const Table& table) {
  MergeContext context{
      .table = table,
      .prune_horizon = state_.prune_horizon,
      .sender_horizon = header_.prune_horizon,
      .sender_settled = header_.settled,
      .truncated = state_.truncated(table.id),
      .copy = header_.kind == DocumentKind::copy,
      .had_seen = [this, &table](Version winner, Version loser) { return had_seen(table, winner, loser); },
      .take_unknown = header_.kind == DocumentKind::changes,
  };
  if (auto at = header_.truncates.find(table.wire_name); at != header_.truncates.end())
    context.sender_truncated = at->second;
  if (context.take_unknown && knows_what_ended(table))
    context.two_histories = [this](Origin origin) { return state_.closed(origin); };
  context.first_copy = context.copy && !state_.joined;
  context.behind = behind_;
  context.settled_elsewhere = state_.settled_elsewhere;
  context.late = late(table);
  if (!mappings_.empty() && mapping().table == &table) context.types = mapping().types;
  return context;
}

void Applier::decide(std::size_t index, const FoundRow& found) {
  Item& item = items_[index];
  const Table& table = *mapping().table;
  if (found.newer_than_log) throw Raced{};
  Entry* entry = core_.window.find(table.id, item.key);
  bool known = entry && !entry->state.lives.empty();
  if (known && item.unholdable.empty() && (entry->state.in_table() != nullptr) != found.exists) {
    // A local writer was faster than the last cut. After some tries, and if the log does not know of it, believe the
    // table: somebody writes with triggers switched off.
    // Symptom: a row that had been deleted here was back, on all nodes. Mechanism: where much was written at once other
    // rows had used up the tries. Mend: the log is asked.
    if (attempt_ < attempts / 2 || log_names(table, {KeyView(item.key)})) throw Raced{};
    core_.window.touch(*entry);
    if (found.exists)
      entry->state.set_in_table(shown_life(entry->state, table.keeps_lives_apart(), state_.truncated(table.id)));
    else
      forget_vanished(table, *entry);
    known = !entry->state.lives.empty();
  }
  if (copy_ && !copy_->target_was_empty && !item.own) {
    if (!item.reconcile) copy_->seen.insert(item.key);
    if (copy_->checks())
      check_copied(index, known ? entry : nullptr, found);
    else
      compare_copied(index, known ? entry : nullptr, found);
    return;
  }
  if (item.unholdable.empty() && core_.awaited_moves.empty() && decide_plainly(item, known ? entry : nullptr, found))
    return;
  decide_generally(index, entry, found);
}

// Symptom: no document that named a certain row was taken any more. Mechanism: the log named that row once more, to
// hand on what it had been, when all of it was forgotten; so it counted as a row that is there, of which nothing is
// unsettled, and without values it could not be written. Mend: a life of which the table has nothing is not known here.
void Applier::forget_vanished(const Table& table, Entry& entry) {
  Version truncated = state_.truncated(table.id);
  std::erase_if(entry.state.lives,
                [&](const Life& life) { return life.in_table && !life.side && !life.dead(truncated); });
  entry.state.set_in_table(nullptr);
}

// The ordinary cases, without looking at the values of the row that is here. False: it is none of them.
bool Applier::decide_plainly(Item& item, Entry* entry, const FoundRow& found) {
  const Table& table = *mapping().table;
  if (item.lives.size() != 1 || late(table)) return false;
  IncomingLife& life = item.lives[0];
  Version truncated = state_.truncated(table.id);
  if (life.moved || life.birth < truncated) return false;
  std::size_t index = static_cast<std::size_t>(&item - items_.data());
  if (life.dead()) {
    // A delete of a row of which nothing unsettled is known.
    if (entry || life.removed.hlc <= state_.prune_horizon || !life.birth.settled()) return false;
    if (!header_.truncates.empty() || !found.exists) return false;
    Entry& fresh = core_.window.edit(table.id, item.key);
    Life gone;
    gone.removed = life.removed;
    fresh.state.lives.push_back(std::move(gone));
    write(WriteKind::remove, fresh, index, found, {}, {});
    return true;
  }
  if (!life.has_values) return false;
  if (!entry) {
    if (found.exists != life.birth.settled() && !(context(table).copy && !found.exists)) return false;
    if (!found.exists && life.birth.hlc <= state_.prune_horizon && header_.kind != DocumentKind::copy) return false;
    if (!found.exists) {
      for (std::size_t i = 0; i < life.values.size(); i++)
        if (life.values[i].kind == ValueKind::omitted && mapping().on_wire[i]) return false;
      Entry& fresh = core_.window.edit(table.id, item.key);
      if (fresh.state.lives.empty()) fresh.state.lives.emplace_back();
      fresh.state.lives[0].birth = life.birth;
      fresh.state.lives[0].columns = life.columns;
      fresh.state.lives[0].applied_at = Life::being_applied;
      write(WriteKind::insert, fresh, index, found, life.values, {});
      return true;
    }
    if (!header_.truncates.empty()) return false;
    ColumnSet columns;
    for (std::size_t i = 0; i < table.columns.size(); i++)
      if (!life.columns.of(static_cast<ColumnIndex>(i)).settled()) columns.add(static_cast<ColumnIndex>(i));
    Entry& fresh = core_.window.edit(table.id, item.key);
    Life merged;
    merged.columns = life.columns;
    fresh.state.lives.push_back(std::move(merged));
    if (columns.empty()) {
      touched_.push_back(&fresh);
      return true;
    }
    write(WriteKind::update, fresh, index, found, life.values, columns);
    return true;
  }
  auto& lives = entry->state.lives;
  if (lives.size() != 1 || lives[0].birth != life.birth || !plain(entry->state, truncated) || lives[0].dead(truncated))
    return false;
  ColumnSet columns;
  if (table.merge == MergePolicy::row && !table.references.empty()) return false;  // see keep_meant
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    Version theirs = life.columns.of(column), ours = lives[0].columns.of(column);
    if (theirs == ours) continue;
    if (!had_seen(table, std::max(theirs, ours), std::min(theirs, ours))) return false;
    if (theirs > ours) {
      if (life.values[i].kind == ValueKind::omitted) return false;
      columns.add(column);
    }
  }
  if (columns.empty()) {
    touched_.push_back(entry);
    return true;
  }
  core_.window.touch(*entry);
  for (std::size_t i = 0; i < table.columns.size(); i++)
    if (columns.has(static_cast<ColumnIndex>(i)))
      lives[0].columns.set(static_cast<ColumnIndex>(i), life.columns.of(static_cast<ColumnIndex>(i)));
  write(WriteKind::update, *entry, index, found, life.values, columns);
  return true;
}

void Applier::decide_generally(std::size_t index, Entry* entry, const FoundRow& found) {
  Item& item = items_[index];
  const Table& table = *mapping().table;
  OwnedRow table_row;
  if (found.exists) {
    table_row = core_.row_of(table, item.key);
    if (table_row.empty()) throw Raced{};
  }
  RowState state = entry ? entry->state : RowState{};
  if (state.lives.empty() && found.exists) state.lives.emplace_back();
  Version truncated = state_.truncated(table.id);
  bool had_side = state.kept_aside(), settled_before = plain(state, truncated);
  std::uint64_t refused_since_ms = 0;
  for (const Life& life : state.lives)
    if (life.side && life.side->kind == SideKind::quarantined) refused_since_ms = life.side->since_ms;
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  std::vector<ColumnType> types;
  MergeContext rules = context(table);
  bool from_copy = copy_ && copy_->adopt && !item.own && !item.reconcile;
  if (rules.copy && !item.own && !item.reconcile) name_own_life(table, state, item.lives);
  bool recognised = from_copy && state_.returning && recognise(table, state, item.lives, table_row.view());
  if (item.own) {
    rules.sender_horizon = state_.prune_horizon;
    rules.sender_truncated = truncated;
    rules.behind = false;
  }
  if (from_copy) {
    rules.adopted = {header_.prune_horizon, header_.sender};
    rules.behind = true;
    rules.at_sender = [this, &table](Version version) { return sender_has(table, version); };
  }
  if (item.saw_all) rules.had_seen = [](Version, Version) { return true; };
  bool changed = merge_lives(state, item.lives, table_row.view(), rules, losses, desired, &types) || recognised;
  if (changed && !item.own && !item.reconcile && lacks_values(state, desired)) {
    wanted_.add(table.wire_name, item.sent_key.empty() ? item.key : item.sent_key);
    return;
  }
  if (from_copy && copy_->names_again && entry)
    changed |= name_again(table, *entry, table_row.view(), item, state, desired ? desired->view() : RowView());
  note_moves(table, item, entry, state, table_row.view());
  if (!changed && settled_before) {
    for (const Loss& loss : losses) list(table, item.key, loss);
    if (entry) {
      touched_.push_back(entry);
      reconciled_.insert(entry);
    }
    return;  // void, or nothing new about a settled row
  }
  for (const Loss& loss : losses) list(table, item.key, loss);
  keep_meant(table, item, entry, state, table_row.view());
  Entry& here = core_.window.edit(table.id, item.key);
  here.state = std::move(state);
  // A newer version of the same value is a younger claim to it, and a row that waited claims nothing when it is gone.
  if (!table.uniques.empty()) recheck_.insert(table.id);
  reconciled_.insert(&here);
  touched_.push_back(&here);
  if (had_side || here.state.kept_aside()) core_.mark_side(here);
  if (!desired) {
    if (found.exists) write(WriteKind::remove, here, index, found, {}, {});
    return;
  }
  if (types.empty())
    for (const Column& column : table.columns) types.push_back(column.type);
  if (!item.unholdable.empty()) {
    quarantine(here, {WriteKind::insert, *here.key, 0, desired->view(), nullptr}, "22P02", item.unholdable, types,
               refused_since_ms);
    return;
  }
  ColumnSet columns;
  if (found.exists) {
    for (std::size_t i = 0; i < table.columns.size(); i++)
      if ((*desired)[i].kind != ValueKind::omitted && !same_value((*desired)[i], table_row[i]))
        columns.add(static_cast<ColumnIndex>(i));
    if (columns.empty()) {
      here.state.set_in_table(shown_life(here.state, table.keeps_lives_apart(), truncated));
      return;
    }
  }
  writes_.reserve(items_.size() + 1);
  write(found.exists ? WriteKind::update : WriteKind::insert, here, index, found, desired->view(), columns);
  writes_.back().owned = std::move(*desired);
  row_writes_.back().values = writes_.back().owned.view();
  if (types != mapping().types) writes_.back().types = std::move(types);
  writes_.back().refused_since_ms = refused_since_ms;
}

// A value that was left out, and is not here either.
bool Applier::lacks_values(const RowState& state, const std::optional<OwnedRow>& desired) const {
  const Mapping& mapping = this->mapping();
  auto lacks = [&](RowView row) {
    for (std::size_t i = 0; i < row.size() && i < mapping.on_wire.size(); i++)
      if (row[i].kind == ValueKind::omitted && mapping.on_wire[i]) return true;
    return false;
  };
  if (desired && lacks(desired->view())) return true;
  Version truncated = state_.truncated(mapping.table->id);
  for (const Life& life : state.lives)
    if (life.side && life.side->columns.is_all() && !life.dead(truncated) && lacks(life.side->values.view()))
      return true;
  return false;
}

}  // namespace rowmesh
