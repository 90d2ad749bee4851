#include "shared/sync/applier.hpp"

#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/table_fit.hpp"

namespace rowmesh {
namespace {
constexpr int attempts =
    8;  // a row that a local writer keeps changing is tried so often before the sender is told to come again
}

bool Applier::check(const std::function<bool(Origin)>& accept_unknown) {
  DocumentReader reader(body_, compressed_);
  header_ = reader.header();
  const NodeState& state = core_.state;
  if (header_.node == core_.identity.node)
    throw Refusal{"same_node", "both servers have the node id " + header_.node +
                                   ": one is a copy of the other; give it a new identity"};
  std::uint64_t now_ms = core_.now_ms();
  if (hlc_to_ms(header_.hlc) > now_ms + limits::clock_ahead_ms)
    throw Refusal{"clock", "the sender's clock is " + std::to_string((hlc_to_ms(header_.hlc) - now_ms) / 1000) +
                               " s ahead of this server's; set both by NTP"};
  if (header_.kind == DocumentKind::copy) return true;
  bool anything_new = !header_.behind.empty();
  for (auto& [origin, to] : header_.to) {
    if (origin == state.self) continue;
    auto from = header_.from.find(origin);
    Position begin = from == header_.from.end() ? Position{} : from->second;
    auto here = state.applied.find(origin);
    if (here == state.applied.end()) {
      if (!accept_unknown(origin))
        throw Refusal{"gap", "changes of origin " + to_hex(origin) + " are taken from that server itself"};
      anything_new = true;
      continue;
    }
    if (begin.number > here->second.number) throw Refusal{"gap", "changes before this document are missing here"};
    if (begin.number == here->second.number && begin.tag != 0 && here->second.tag != 0 && begin.tag != here->second.tag)
      throw Refusal{"history", "origin " + to_hex(origin) +
                                   " has another history than the one applied here: was it restored from a backup?"};
    if (to.number == here->second.number && to.tag != here->second.tag && to.tag != 0 && here->second.tag != 0)
      throw Refusal{"history",
                    "origin " + to_hex(origin) + " gives position " + std::to_string(to.number) +
                        " to other changes than those applied here: was it restored from a backup, or copied?"};
    anything_new = anything_new || to.number > here->second.number;
  }
  if (anything_new && header_.horizon < state.prune_horizon)
    throw Refusal{"stale", "the document was made before what has been forgotten here; it must be made anew"};
  return anything_new;
}

void Applier::run(const std::function<void()>& breathe, CopySession* copy) {
  copy_ = copy;
  Differences found_before = copy ? copy->found : Differences{};
  attempt([&] {
    if (copy) copy->found = found_before;
    once(breathe);
  });
}

void Applier::attempt(const std::function<void()>& work) {
  for (attempt_ = 0;; attempt_++) {
    try {
      work();
      return;
    } catch (const Raced&) {
      core_.store.rollback();
      core_.window.undo_changes();
      if (attempt_ + 1 >= attempts)
        throw Error(ErrorKind::transient, "raced",
                    "a row is being changed here again and again; it will be tried again");
      core_.cut_alone();
    } catch (...) {
      core_.store.rollback();
      core_.window.undo_changes();
      throw;
    }
  }
}

void Applier::once(const std::function<void()>& breathe) {
  DocumentReader reader(body_, compressed_);
  header_ = reader.header();
  begin_attempt();
  // The first row comes after the tables that the document speaks of.
  const WireRow* row = reader.next();
  map_tables(reader.tables());
  lock_tables();
  core_.window.begin_changes();
  // What an origin says of itself holds for those who have its changes up to that position, so only for the origins
  // that the document brings: taken from elsewhere it would settle changes that are not here yet. Position 0 is a
  // member that has said nothing so far. A copy speaks of later moments than the one that its taker will stand at: the
  // position at which it began.
  if (header_.kind == DocumentKind::changes)
    for (auto& [origin, meta] : header_.metas)
      if (meta.position == 0 || header_.to.contains(origin)) state_.take_meta(origin, meta);
  state_.take_members(header_.members, header_.metas);
  park_what_the_sender_lacks();
  apply_truncates();
  std::uint64_t slice_end_ms = core_.now_ms() + limits::apply_slice_ms;
  for (; row; row = reader.next()) {
    if (row->table >= mappings_.size()) map_tables(reader.tables());
    if (!items_.empty() && (row->table != current_ || items_.size() >= limits::batch_rows)) {
      flush_batch();
      if (core_.now_ms() >= slice_end_ms) {
        if (breathe) breathe();
        slice_end_ms = core_.now_ms() + limits::apply_slice_ms;
      }
    }
    current_ = row->table;
    add(*row);
  }
  flush_batch();
  if (wanted_.any())
    throw Refusal{"incomplete",
                  "values were left out that are not here: the document must come again with these rows whole",
                  wanted_};
  settle_all();
  finish();
}

// What the document's rows bring about.
void Applier::settle_all() {
  revisit();
  resolve_uniques();
  while (settle_keys()) resolve_uniques();
}

void Applier::begin_attempt() {
  state_ = core_.state;
  mappings_.clear();
  items_.clear();
  touched_.clear();
  deferred_.clear();
  recheck_ = core_.recheck_hidden;
  revisit_.clear();
  reconciled_.clear();
  own_version_ = {};
  own_.clear();
  moved_.clear();
  awaited_.clear();
  arrived_.clear();
  left_.clear();
  late_references_ = core_.late_references;
  keys_changed_ = false;
  last_key_.clear();
  keys_settled_ = 0;
  newest_ = 0;
  rows_ = conflicts_ = 0;
  conflicts_by_type_.clear();
  wanted_ = {};
  misfits_.clear();
  parked_.clear();
  to_fit_.clear();
}

void Applier::reconcile(const EntrySet& entries, const std::function<void()>& first) {
  attempt([&] {
    begin_attempt();
    for (Entry* entry : entries) recheck_.insert(entry->table);
    lock_tables();
    core_.window.begin_changes();
    if (first) first();
    revisit_.insert(entries.begin(), entries.end());
    settle_all();
    finish();
  });
}

void Applier::discard(Entry& entry) {
  const Table& table = *core_.table(entry.table);
  Version truncated = state_.truncated(table.id);
  Life* shown = shown_life(entry.state, table.keeps_lives_apart(), truncated);
  if (!shown || !shown->side || shown->side->kind != SideKind::quarantined) return;
  core_.window.touch(entry);
  core_.mark_side(entry);
  Version version{core_.store.clock().tick(), state_.self};
  newest_ = std::max(newest_, version.hlc);
  if (shown->in_table) {
    for (std::size_t i = 0; i < table.columns.size(); i++)
      if (shown->side->columns.has(static_cast<ColumnIndex>(i)))
        shown->columns.set(static_cast<ColumnIndex>(i), version);
    shown->side = nullptr;
  } else {
    for (Life& life : entry.state.lives) {
      if (&life != shown && (table.keeps_lives_apart() || life.dead(truncated))) continue;
      life.removed = version;
      life.side = nullptr;
    }
  }
  note_own_change(table, entry);
}

// The state was changed by this node itself: its log names the key, so that the next position ships it.
void Applier::note_own_change(const Table& table, Entry& entry) {
  touched_.push_back(&entry);
  revisit_.insert(&entry);
  core_.store.note_local(table, LogOp::update, *entry.key, {});
}

// Keys of which the document says nothing, as items without anything incoming.
void Applier::revisit() {
  std::vector<Entry*> entries;
  for (Entry* entry : revisit_)  // not those that wait for the decision about UNIQUE values
    if (!reconciled_.contains(entry)) entries.push_back(entry);
  revisit_.clear();
  std::sort(entries.begin(), entries.end(), [](const Entry* left, const Entry* right) {
    return left->table != right->table ? left->table < right->table : *left->key < *right->key;
  });
  for (std::size_t i = 0; i < entries.size(); i++) {
    if (i == 0 || entries[i]->table != entries[i - 1]->table) {
      flush_batch();
      const Table* table = core_.table(entries[i]->table);
      if (!table) continue;
      Mapping own;
      own.table = table;
      for (const Column& column : table->columns) own.types.push_back(column.type);
      own.complete = true;
      own.on_wire.assign(table->columns.size(), true);
      current_ = static_cast<std::uint32_t>(mappings_.size());
      mappings_.push_back(std::move(own));
    }
    if (mappings_.empty() || mapping().table->id != entries[i]->table) continue;  // that table is gone
    Item& item = items_.emplace_back();
    item.key = *entries[i]->key;
    item.reconcile = true;
    if (items_.size() >= limits::batch_rows) flush_batch();
  }
  flush_batch();
}

void Applier::map_tables(const std::vector<WireTable>& tables) {
  for (std::size_t i = mappings_.size(); i < tables.size(); i++) {
    if (only_ && !only_->contains(tables[i].name)) {
      mappings_.emplace_back();
      continue;
    }
    std::string misfit;
    Mapping mapping = map_table(tables[i], misfit);
    if (!misfit.empty() && (!mapping.table || header_.kind == DocumentKind::copy)) throw Refusal{"schema", misfit};
    if (!misfit.empty()) {
      mapping.table = nullptr;
      misfits_.insert(tables[i].name);
      park(tables[i].name, misfit, false);
    } else if (state_.parked.contains(tables[i].name)) {
      park(tables[i].name, "", true);
    }
    mappings_.push_back(std::move(mapping));
  }
}

// `misfit`: why the table cannot be taken, as a sentence. The mapping has no table then if it is not replicated here at
// all.
Applier::Mapping Applier::map_table(const WireTable& wire, std::string& misfit) const {
  Mapping mapping;
  mapping.table = core_.table_by_wire_name(wire.name);
  if (!mapping.table) {
    misfit = "table '" + wire.name + "' is not replicated here; create it and call add_table";
    return mapping;
  }
  const Table& table = *mapping.table;
  misfit = table_misfit(table, wire);
  if (!misfit.empty()) return mapping;
  for (const Column& column : table.columns) mapping.types.push_back(column.type);
  mapping.on_wire.resize(table.columns.size());
  for (std::size_t column = 0; column < wire.columns.size(); column++) {
    auto local = static_cast<std::size_t>(table.column_index(wire.columns[column]));
    mapping.to_local.push_back(static_cast<int>(local));
    mapping.types[local] = wire.types[column];
    mapping.on_wire[local] = true;
  }
  mapping.complete = wire.columns.size() == table.columns.size();  // of a table with dropped columns none is
  for (std::uint32_t column : wire.key) mapping.key_types.push_back(wire.types[column]);
  mapping.integer_keys = true;
  for (ColumnIndex column : table.key) mapping.integer_keys &= table.columns[column].type == ColumnType::integer;
  return mapping;
}

void Applier::lock_tables() {
  std::vector<const Table*> tables;
  for (const Mapping& mapping : mappings_)
    if (mapping.table) tables.push_back(mapping.table);
  for (auto& [name, version] : header_.truncates)
    if (const Table* table = core_.table_by_wire_name(name);
        table && std::find(tables.begin(), tables.end(), table) == tables.end())
      tables.push_back(table);
  for (TableId id : recheck_)
    if (const Table* table = core_.table(id); table && std::find(tables.begin(), tables.end(), table) == tables.end())
      tables.push_back(table);
  std::sort(tables.begin(), tables.end(), [](auto left, auto right) { return left->id < right->id; });
  // Every apply folds the local log first; under this transaction's locks nothing can come between.
  for (int round = 0;; round++) {
    core_.store.begin(TransactionKind::write, tables);
    if (!core_.store.log_must_be_read()) return;
    core_.store.rollback();
    if (round >= 20)
      throw Error(ErrorKind::transient, "busy", "local writers leave no gap; the document will be tried again");
    core_.cut_alone();
    state_ = core_.state;
    late_references_ = core_.late_references;
    recheck_.insert(core_.recheck_hidden.begin(), core_.recheck_hidden.end());
    for (const auto& [name, parked] : parked_) state_.parked[name] = parked;
  }
}

// ---- rows of the document ----

IncomingLife Applier::incoming(const WireLife& wire, const Mapping& mapping) {
  const Table& table = *mapping.table;
  IncomingLife life;
  life.birth = wire.birth;
  life.removed = wire.removed;
  life.columns.base = wire.base;
  newest_ = std::max({newest_, wire.birth.hlc, wire.removed.hlc, wire.base.hlc});
  auto take_versions = [&](const std::vector<Version>& versions, ColumnVersions& out) {
    for (std::size_t column = 0; column < versions.size(); column++) {
      newest_ = std::max(newest_, versions[column].hlc);
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
    newest_ = std::max(newest_, wire.move_version.hlc);
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
    if (item.key != sent) item.sent_key = std::move(sent);
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
  row_writes_.clear();
  column_sets_.clear();
  writes_.clear();
  for (std::size_t i = 0; i < items_.size(); i++) decide(i, found_[i]);
  carry_out_writes();
  items_.clear();
  arena_.clear();
}

// `take_unknown`: what was deleted and forgotten here is known to be gone to every sender whose horizon is not below
// ours. So a row that lives there and is unknown here never was here.
MergeContext Applier::context(const Table& table) {
  MergeContext context{table,
                       {},
                       {},
                       {},
                       {},
                       false,
                       [this](Version winner, Version loser) { return state_.had_seen(winner, loser); },
                       header_.kind == DocumentKind::changes};
  context.prune_horizon = state_.prune_horizon;
  context.sender_horizon = header_.prune_horizon;
  context.truncated = state_.truncated(table.id);
  if (auto at = header_.truncates.find(table.wire_name); at != header_.truncates.end())
    context.sender_truncated = at->second;
  context.copy = header_.kind == DocumentKind::copy;
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
    // A local writer was faster than the last cut. After some tries believe the table: somebody writes with triggers
    // switched off.
    if (attempt_ < attempts / 2) throw Raced{};
    core_.window.touch(*entry);
    entry->state.set_in_table(
        found.exists ? shown_life(entry->state, table.keeps_lives_apart(), state_.truncated(table.id)) : nullptr);
  }
  if (copy_ && !copy_->target_was_empty && !item.own) {
    copy_->seen.insert(item.key);
    if (copy_->checks())
      check_copied(index, known ? entry : nullptr, found);
    else
      compare_copied(index, known ? entry : nullptr, found);
    return;
  }
  if (item.unholdable.empty() && core_.awaited_moves.empty() && decide_plainly(item, known ? entry : nullptr, found)) return;
  decide_generally(index, entry, found);
}

// The ordinary cases, without looking at the values of the row that is here. False: it is none of them.
bool Applier::decide_plainly(Item& item, Entry* entry, const FoundRow& found) {
  const Table& table = *mapping().table;
  if (item.lives.size() != 1) return false;
  IncomingLife& life = item.lives[0];
  Version truncated = state_.truncated(table.id);
  if (life.moved || life.birth < truncated) return false;
  std::size_t index = static_cast<std::size_t>(&item - items_.data());
  if (life.dead()) {
    // A delete of a row of which nothing unsettled is known.
    if (entry || life.removed.hlc <= state_.prune_horizon || !life.birth.settled()) return false;
    if (!header_.truncates.empty()) return false;
    if (!found.exists) return true;  // known to be gone, and forgotten
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
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    Version theirs = life.columns.of(column), ours = lives[0].columns.of(column);
    if (theirs == ours) continue;
    if (!state_.had_seen(std::max(theirs, ours), std::min(theirs, ours))) return false;
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
    KeyView key = item.key;
    core_.store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
      table_row = OwnedRow(row);
      return true;
    });
    if (table_row.empty()) throw Raced{};
  }
  RowState state = entry ? entry->state : RowState{};
  if (state.lives.empty() && found.exists) state.lives.emplace_back();
  Version truncated = state_.truncated(table.id);
  bool had_side = state.has_side(), settled_before = plain(state, truncated);
  std::uint64_t refused_since_ms = 0;
  for (const Life& life : state.lives)
    if (life.side && life.side->kind == SideKind::quarantined) refused_since_ms = life.side->since_ms;
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  std::vector<ColumnType> types;
  MergeContext rules = context(table);
  if (item.own) {
    rules.sender_horizon = state_.prune_horizon;
    rules.sender_truncated = truncated;
  }
  if (item.saw_all) rules.had_seen = [](Version, Version) { return true; };
  bool changed = merge_lives(state, item.lives, table_row.view(), rules, losses, desired, &types);
  if (changed && !item.own && !item.reconcile && lacks_values(state, desired, found.exists)) {
    wanted_.rows.emplace(table.wire_name, item.sent_key.empty() ? item.key : item.sent_key);
    return;
  }
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
  Entry& here = core_.window.edit(table.id, item.key);
  here.state = std::move(state);
  reconciled_.insert(&here);
  touched_.push_back(&here);
  if (had_side || here.state.has_side()) core_.mark_side(here);
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

// A settled value of ours gives way whatever the source's version is; what was changed here lately merges as ever.
void Applier::adopt_copied(std::size_t index, Entry* entry, const FoundRow& found, RowView table_row) {
  Item& item = items_[index];
  const Table& table = *mapping().table;
  IncomingLife& life = item.lives[0];
  if (entry && (entry->state.lives.size() != 1 || entry->state.lives[0].side))
    return decide_generally(index, entry, found);
  ColumnSet columns;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    if (life.values[i].kind == ValueKind::omitted || same_value(life.values[i], table_row[i])) continue;
    Version ours = entry ? entry->state.lives[0].columns.of(column) : Version{};
    if (ours.settled() || life.columns.of(column) > ours) columns.add(column);
  }
  if (columns.empty()) {
    if (!decide_plainly(item, entry, found)) decide_generally(index, entry, found);
    return;
  }
  Entry& here = core_.window.get(table.id, item.key);
  core_.window.touch(here);
  if (here.state.lives.empty()) {
    here.state.lives.emplace_back(life.birth);
    here.state.lives[0].columns = life.columns;
  } else {
    for (std::size_t i = 0; i < table.columns.size(); i++)
      if (auto column = static_cast<ColumnIndex>(i); columns.has(column))
        here.state.lives[0].columns.set(column, life.columns.of(column));
  }
  write(WriteKind::update, here, index, found, life.values, columns);
}

// A value that was left out, and is not here either.
bool Applier::lacks_values(const RowState& state, const std::optional<OwnedRow>& desired, bool exists) const {
  const Mapping& mapping = this->mapping();
  auto lacks = [&](RowView row) {
    for (std::size_t i = 0; i < row.size() && i < mapping.on_wire.size(); i++)
      if (row[i].kind == ValueKind::omitted && mapping.on_wire[i]) return true;
    return false;
  };
  if (desired && !exists && lacks(desired->view())) return true;
  Version truncated = state_.truncated(mapping.table->id);
  for (const Life& life : state.lives)
    if (life.side && life.side->columns.is_all() && !life.dead(truncated) && lacks(life.side->values.view()))
      return true;
  return false;
}

// A copy into a table that has rows: what is the same stays; what differs is refused, or becomes a change made here, so
// that everybody hears it.
void Applier::compare_copied(std::size_t index, Entry* entry, const FoundRow& found) {
  Item& item = items_[index];
  const Table& table = *mapping().table;
  bool plain = item.lives.size() == 1 && !item.lives[0].dead() && item.lives[0].has_values;
  if (copy_->only_compare() && (!found.exists || !plain)) return;
  if (!found.exists || !plain || copy_->mode == CopyMode::none) {
    if (!decide_plainly(item, entry, found)) decide_generally(index, entry, found);
    return;
  }
  OwnedRow table_row;
  KeyView key = item.key;
  core_.store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
    table_row = OwnedRow(row);
    return true;
  });
  if (copy_->adopt) return adopt_copied(index, entry, found, table_row.view());
  IncomingLife& life = item.lives[0];
  OwnedRow there = comparable(table, life.values, table_row.view());
  ColumnSet columns;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    if (life.values[i].kind == ValueKind::omitted || same_value(there[i], table_row[i])) continue;
    Version ours = entry && !entry->state.lives.empty() ? entry->state.lives.back().columns.of(column) : Version{};
    if (copy_->mode == CopyMode::newer && ours > life.columns.of(column)) continue;
    // A change of either side that is still on its way decides by itself.
    if (copy_->only_compare() && (!ours.settled() || !life.columns.of(column).settled())) continue;
    columns.add(column);
  }
  if (columns.empty()) return;
  if (copy_->mode == CopyMode::fail)
    throw Refusal{"differs", "row " + key_to_text(item.key) + " of table '" + table.wire_name +
                                 "' differs between the servers; say on_existing => 'source' or 'newer'"};
  Entry& here = core_.window.get(table.id, item.key);
  core_.window.touch(here);
  if (here.state.lives.empty()) here.state.lives.emplace_back();
  write(WriteKind::update, here, index, found, life.values, columns);
  core_.store.note_local(table, LogOp::update, item.key, columns);
}

}  // namespace rowmesh
