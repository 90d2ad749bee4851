// Rows of a copy that meet rows which are here already.
#include <algorithm>

#include "shared/sync/applier.hpp"

namespace rowmesh {

// Of a closed origin there may be two histories, and who says how far he has come may have the other one.
bool Applier::sender_has(const Table& table, Version version) const {
  if (version.origin == state_.self || state_.closed(version.origin) || header_.parked.contains(table.wire_name))
    return false;
  if (version.origin == header_.sender) return true;
  auto meta = header_.metas.find(version.origin);
  return meta != header_.metas.end() && meta->second.position != 0 && version.hlc <= meta->second.watermark;
}

// A copy into a table that has rows: what is the same stays; what differs is refused, or becomes a change made here, so
// that everybody hears it.
void Applier::compare_copied(std::size_t index, Entry* entry, const FoundRow& found) {
  Item& item = items_[index];
  const Table& table = *mapping().table;
  bool plain = item.lives.size() == 1 && !item.lives[0].dead() && item.lives[0].has_values;
  if (copy_->adopt) return decide_generally(index, entry, found);
  if (copy_->mode == CopyMode::none) {
    if (!decide_plainly(item, entry, found)) decide_generally(index, entry, found);
    return;
  }
  if (!found.exists || !plain) return;
  OwnedRow table_row = core_.row_of(table, item.key);
  IncomingLife& life = item.lives[0];
  OwnedRow there = comparable(table, life.values, table_row.view());
  ColumnSet columns;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    if (life.values[i].kind == ValueKind::omitted || same_value(there[i], table_row[i])) continue;
    Version ours = entry && !entry->state.lives.empty() ? entry->state.lives.back().columns.of(column) : Version{};
    // A change of either side that is still on its way decides by itself.
    if (!ours.settled() || !life.columns.of(column).settled()) continue;
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

// Symptom: a row stood under two numbers after a database had been copied while it ran. Mechanism: what it had written
// before, and had not sent yet, the copy sent under the same origin; the database itself, when it had to get a new
// identity, took this for something that nobody else has, gave it anew, and got the row once more from its source.
// Mend: what the source has under its former name, with the same values, keeps that. (What it removed there may be
// another row that the copy made in the same moment; what it moved is compared where it has gone.)
bool Applier::recognise(const Table& table, RowState& state, const std::vector<IncomingLife>& incoming,
                        RowView table_row) {
  bool some = false;
  for (Life& life : state.lives) {
    Row here = life_values(table, life, life.in_table ? table_row : RowView());
    for (const IncomingLife& there : incoming) {
      some |= !state.find(there.birth) && take_birth_of_lost_life(life, there);
      bool former = !there.birth.settled() && there.birth == core_.before_rebase(life.birth);
      if (there.birth != life.birth && !former) continue;
      some |= recognise(table, life, there, here);
      break;
    }
  }
  state.order();
  return some;
}

bool Applier::recognise(const Table& table, Life& life, const IncomingLife& there, RowView here) {
  auto known = [&](Version ours, Version theirs) { return !theirs.settled() && core_.before_rebase(ours) == theirs; };
  ColumnSet same;
  bool differs = !there.has_values && !there.moved;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    if (!known(life.columns.of(column), there.columns.of(column))) continue;
    bool other =
        there.has_values && there.values[i].kind != ValueKind::omitted && !same_value(there.values[i], here[i]);
    other ? (void)(differs = true) : same.add(column);
  }
  bool some = false;
  if (known(life.birth, there.birth)) {
    if (differs) return false;
    // Symptom: a value that somebody had written was gone on one node. Mechanism: the row was recognised, but not the
    // value that it had before, since another one was there by then; given anew, that was newer. Mend: what was
    // inserted with the row came there with it.
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      if (core_.before_rebase(life.columns.of(column)) == there.birth) life.columns.set(column, there.birth);
    }
    life.birth = there.birth;
    some = true;
  }
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    if (!same.has(column)) continue;
    life.columns.set(column, there.columns.of(column));
    some = true;
  }
  if (known(life.removed, there.removed)) life.removed = there.removed, some = true;
  if (life.moved && there.moved && known(life.moved->version, there.moved->version))
    life.moved = std::make_unique<Move>(*there.moved), some = true;
  return some;
}

// Symptom: a row of a new server stood twice after a restore. Mechanism: the backup was from before it had met anybody,
// and in the life that it lost the row was given anew with its first copy (give_anew_what_nobody_has), so by its birth
// nobody knew it. Mend: what one that knows that life has of it under the key, born later, is the row of the backup.
// (What was written after the restore has another origin by now.)
bool Applier::take_birth_of_lost_life(Life& life, const IncomingLife& there) const {
  bool given_anew = copy_->met_in_lost_life && state_.missing.contains(life.birth.origin) &&
                    there.birth.origin == life.birth.origin && life.birth.hlc < there.birth.hlc;
  if (given_anew) life.birth = there.birth;
  return given_anew;
}

// Symptom: a row stood under two numbers at a new server. Mechanism: its copy had ended early, and it had got changes
// before the next; a row of its own had settled under a number that another row has elsewhere, which had settled before
// it came, so it never heard of that. Its copy brought both, and the older counted as the one that was here. Mend: what
// it inserted, and lives at the source, is the row that it has, for an insert proves that nothing was there.
void Applier::name_own_life(const Table& table, RowState& state, const std::vector<IncomingLife>& incoming) const {
  if (!table.keeps_lives_apart() || incoming.size() < 2) return;
  Life* settled = state.find(Version{});
  if (!settled || !settled->in_table || settled->dead(state_.truncated(table.id))) return;
  for (const IncomingLife& there : incoming) {
    bool own = there.birth.origin == state_.self && !there.birth.settled() && there.birth.hlc <= state_.prune_horizon;
    if (!own || there.dead() || state.find(there.birth)) continue;
    settled->birth = there.birth;
    state.order();
    return;
  }
}

// What the source knows nothing of has ended there, if it was here before the source's prune horizon.
void Applier::adopt_absence(const Table& table, const CopySession& copied, Version ended) {
  const std::set<Key>& seen = copied.seen;
  attempt([&] {
    begin_attempt();
    std::vector<std::pair<Entry*, Version>> ended_lately;
    ended_ = ended;
    recheck_.insert(table.id);
    lock_tables();
    core_.window.begin_changes();
    std::vector<Key> settled;
    core_.store.scan_rows(table, {}, [&](std::size_t, KeyView key, RowView) {
      const Entry* known = core_.window.find(table.id, key);
      if ((!known || known->state.lives.empty()) && !seen.contains(Key(key))) settled.emplace_back(key);
      return true;
    });
    for (const Key& key : settled) core_.window.edit(table.id, key).state.lives.emplace_back();
    core_.window.for_each(table.id, [&](Entry& entry) {
      if (seen.contains(*entry.key)) return;
      auto ends = [&](const Life& life) { return life.birth.hlc <= ended.hlc && life.removed.hlc > ended.hlc; };
      for (Life& life : entry.state.lives)
        if (ends(life)) {  // removed here, where it had ended before
          core_.window.touch(entry);
          life.removed = ended;
          touched_.push_back(&entry);
        }
    });
    core_.window.for_each(table.id, [&](Entry& entry) {
      if (seen.contains(*entry.key)) return;
      auto ends = [&](const Life& life) {
        return life.birth.hlc <= ended.hlc && !life.dead(state_.truncated(table.id));
      };
      if (std::none_of(entry.state.lives.begin(), entry.state.lives.end(), ends)) return;
      core_.window.touch(entry);
      for (Life& life : entry.state.lives) {
        if (!ends(life)) continue;
        if (copied.names_again && !life.newest().settled()) ended_lately.emplace_back(&entry, life.birth);
        end_life(table, entry, life, ended);
      }
      touched_.push_back(&entry);
      revisit_.insert(&entry);
    });
    settle_all();
    for (auto& [entry, birth] : ended_lately) end_everywhere(table, *entry, birth);
    finish();
  });
}

// Symptom: a row was on one server alone after a database had been copied while it ran. Mechanism: one of the two had
// deleted it, which came to some servers only, counted as come to all by what the other one told of itself, and was
// forgotten. The copy had the row, and found at the source that it was gone; nobody told who had it still. Mend: a copy
// that ran as another database deletes once more what it had lately, and the source has not.
void Applier::end_everywhere(const Table& table, Entry& entry, Version birth) {
  Version truncated = state_.truncated(table.id);
  Life* life = entry.state.find(birth);
  if (!life || shown_life(entry.state, table.keeps_lives_apart(), truncated)) return;
  life->removed = own_version();
  core_.store.note_local(table, LogOp::update, *entry.key, {});
}

// The same of a row that the source has: what was deleted here, and lives there by its birth, is deleted once more; a
// value that was written under that name, and is another one at the source, is named as it is there.
bool Applier::name_again(const Table& table, const Entry& before, RowView row_before, const Item& item, RowState& state,
                         RowView row_after) {
  auto doubted = [&](Version version) {
    return !version.settled() && version.hlc <= header_.prune_horizon && state_.closed(version.origin);
  };
  bool some = false;
  for (const IncomingLife& there : item.lives) {
    const Life* here = there.birth.settled() || there.dead() ? nullptr : before.state.find(there.birth);
    if (!here || here->moved || !doubted(here->removed)) continue;
    state.find(there.birth)->removed = own_version();
    some = true;
  }
  const Life* showed = before.state.in_table();
  if (showed && state.lives.size() == 1 && !state.lives[0].dead(state_.truncated(table.id)) && !row_before.empty() &&
      !row_after.empty())
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      bool same = row_after[i].kind == ValueKind::omitted || same_value(row_before[i], row_after[i]);
      if (same || !doubted(showed->columns.of(column))) continue;
      ColumnVersions& named = state.lives[0].columns;
      table.merge == MergePolicy::row ? named.set_all(own_version()) : named.set(column, own_version());
      some = true;
    }
  if (some) core_.store.note_local(table, LogOp::update, item.key, {});
  return some;
}

// Symptom: a row that a copied database had deleted was still on one node. Mechanism: it had two lives there, and one,
// settled, at the source of its copy; the other one counted as ended, and was named so to others. On the node that knew
// just that one to live, no other was the settled one. Mend: how it ended is known to nobody, so it is named to nobody.
void Applier::forget_ended() {
  if (ended_.settled()) return;
  for (Entry* entry : touched_) {
    auto gone = [&](const Life& life) {
      return !life.death().settled() && life.death().hlc <= ended_.hlc && !life.in_table;
    };
    if (std::erase_if(entry->state.lives, gone) > 0 && entry->side_stored) core_.mark_side(*entry);
  }
}

// What stands in the table is listed when its row goes (Merger).
void Applier::end_life(const Table& table, Entry& entry, Life& life, Version ended) {
  life.removed = ended;
  std::unique_ptr<Side> side = std::move(life.side);
  if (!side) return;
  core_.mark_side(entry);
  Loss loss{"update_deleted", "keep_delete", {}, side->values, {}, {}, ended, life.birth, side->types};
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    Version version = life.columns.of(column);
    if (!side->columns.has(column) || state_.had_seen(ended, version)) continue;
    loss.columns.add(column);
    loss.loser_version = std::max(loss.loser_version, version);
  }
  if (!loss.columns.empty()) list(table, *entry.key, loss);
}

}  // namespace rowmesh
