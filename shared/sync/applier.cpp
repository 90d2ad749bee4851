#include "shared/sync/applier.hpp"

#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/table_fit.hpp"

namespace rowmesh {
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
      // Sent to a state that knew the origin, and was put back since to one that does not.
      if (begin.number > 0) throw Refusal{"gap", "what the origin did before this document was lost here"};
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
  if (copy_ && copy_->adopt) ended_ = {header_.prune_horizon, header_.sender};
  note_late_origins();
  // The first row comes after the tables that the document speaks of.
  const WireRow* row = reader.next();
  map_tables(reader.tables());
  lock_tables();
  core_.window.begin_changes();
  Hlc confirmed = std::max(core_.state.horizon(core_.watermark), core_.state.own_meta().horizon);
  behind_ = header_.prune_horizon > confirmed;
  Hlc settled_there = std::max(header_.prune_horizon, header_.settled);
  if (settled_there > confirmed && header_.kind == DocumentKind::changes)
    state_.settled_elsewhere = std::max(state_.settled_elsewhere, settled_there);
  // What an origin says of itself holds for those who have its changes up to that position, so only for the origins
  // that the document brings: taken from elsewhere it would settle changes that are not here yet. Position 0 is a
  // member that has said nothing so far. A copy speaks of later moments than the one that its taker will stand at: the
  // position at which it began.
  if (header_.kind == DocumentKind::changes)
    for (auto& [origin, meta] : header_.metas) {
      state_.hears_of(origin, meta);
      if (meta.position == 0 || header_.to.contains(origin)) state_.take_meta(origin, meta);
    }
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
  // (What a copy ended counts as removed by its source as of G.)
  if (newest_of_ours_ > std::max(core_.state.own_meta().newest, core_.state.prune_horizon))
    throw OtherHistory{newest_of_ours_};
  if (wanted_.any())
    throw Refusal{"incomplete",
                  "values were left out that are not here: the document must come again with these rows whole",
                  wanted_};
  if (header_.kind == DocumentKind::changes && rows_ > 0) state_.joined = true;
  hear_meanings();
  settle_all();
  finish();
}

// What the document's rows bring about.
void Applier::settle_all() {
  revisit();
  resolve_uniques();
  while (settle_keys()) resolve_uniques();
  keep_contested_claims();
}

void Applier::note_late_origins() {
  late_.clear();
  late_tables_.clear();
  if (header_.kind != DocumentKind::changes) return;
  auto note = [&](Origin origin) {
    Hlc come = origin == state_.self ? ~Hlc{0} : state_.come(origin);
    if (come < state_.prune_horizon && !state_.came_with_another(origin)) late_[origin] = come;
  };
  for (auto& [origin, to] : header_.to)
    if (auto here = state_.applied.find(origin); here == state_.applied.end() || to.number > here->second.number)
      note(origin);
  // Others may have deleted what one did that has not been heard here yet: their deletes wait for it.
  for (auto& [origin, member] : state_.members)
    if (!state_.members.at(state_.follower(origin)).away()) note(origin);
  for (auto& [origin, member] : header_.members)
    if (!member.away() && !state_.members.contains(origin)) note(origin);
  for (auto& [name, parked] : state_.parked)
    for (auto& [origin, come] : late_) parked.late.try_emplace(origin, come);
  note_late_tables();
}

// And of a table whose changes have waited, what was late then.
void Applier::note_late_tables() {
  for (auto& [name, span] : header_.behind) {
    auto parked = state_.parked.find(name);
    if (parked != state_.parked.end() && !parked->second.late.empty()) late_tables_[name] = parked->second.late;
  }
}

const std::map<Origin, Hlc>* Applier::late(const Table& table) const {
  auto of_table = late_tables_.find(table.wire_name);
  const std::map<Origin, Hlc>& late = of_table == late_tables_.end() ? late_ : of_table->second;
  return late.empty() ? nullptr : &late;
}

void Applier::begin_attempt() {
  state_ = core_.state;
  mappings_.clear();
  items_.clear();
  late_.clear();
  late_tables_.clear();
  touched_.clear();
  deferred_.clear();
  recheck_ = core_.recheck_hidden;
  revisit_.clear();
  reconciled_.clear();
  behind_ = false;
  ended_ = {};
  own_version_ = {};
  own_.clear();
  moving_.clear();
  awaiting_.clear();
  waiting_referring_.clear();
  moved_.clear();
  moved_twice_.clear();
  awaited_.clear();
  arrived_.clear();
  moved_rows_.clear();
  left_.clear();
  sent_keys_.clear();
  late_references_ = core_.late_references;
  lost_origins_.clear();
  for (auto& [origin, newest] : state_.missing) lost_origins_.insert(origin);
  keys_changed_ = false;
  last_key_.clear();
  keys_settled_ = 0;
  newest_ = newest_of_ours_ = 0;
  rows_ = conflicts_ = put_aside_ = 0;
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
    } else if (auto waits = state_.parked.find(tables[i].name); waits != state_.parked.end()) {
      if (waits->second.given_up && header_.kind == DocumentKind::changes) mapping.table = nullptr;
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

}  // namespace rowmesh
