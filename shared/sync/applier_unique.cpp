// UNIQUE values go to rows in order of claim (model 1.3, rule 4): a pure function of the rows' state, so that every
// node hides the same ones whatever the order of arrival. Only rows that collide, directly or through others, are
// looked at.
#include <algorithm>

#include "shared/sync/applier.hpp"

namespace rowmesh {
namespace {

// The values of a unique index as comparable bytes; nullopt if one is null, for then nothing collides.
std::optional<Key> unique_values(const UniqueIndex& index, RowView row) {
  Row values;
  for (ColumnIndex column : index.columns) {
    if (column >= row.size() || row[column].is_null() || row[column].kind == ValueKind::omitted) return std::nullopt;
    values.push_back(row[column]);
  }
  return values.empty() ? std::nullopt : std::optional(encode_key(values));
}

using UniqueValue = std::pair<std::size_t, Key>;  // which index, and the values

std::vector<UniqueValue> unique_values(const Table& table, RowView row) {
  std::vector<UniqueValue> values;
  for (std::size_t index = 0; index < table.uniques.size(); index++)
    if (auto of_index = unique_values(table.uniques[index], row)) values.emplace_back(index, std::move(*of_index));
  return values;
}

}  // namespace

void Applier::resolve_uniques() {
  // Rows that wait claim their values like those in the table: also what is refused here is shown elsewhere.
  std::set<TableId> with_waiting;
  for (Entry* entry : core_.sides())
    for (const Life& life : entry->state.lives)
      if (life.side && (life.side->kind == SideKind::hidden || life.side->kind == SideKind::quarantined))
        with_waiting.insert(entry->table);
  std::set<TableId> tables;
  for (TableId id : recheck_)
    if (with_waiting.contains(id)) tables.insert(id);
  for (auto& [id, deferred] : deferred_) tables.insert(id);
  for (TableId id : tables) {
    const Table* table = core_.table(id);
    if (table) resolve_uniques_of(*table, std::move(deferred_[id]));
  }
}

// The highest version among the non-null values that must be unique.
Version Applier::claim(const Table& table, const Entry* entry, RowView row) const {
  Version claim;
  if (!entry) return claim;
  Version truncated = state_.truncated(table.id);
  for (const UniqueIndex& index : table.uniques)
    for (ColumnIndex column : index.columns) {
      if (column >= row.size() || row[column].is_null()) continue;
      for (const Life& life : entry->state.lives)
        if (!life.dead(truncated)) claim = std::max(claim, life.columns.of(column));
    }
  return claim;
}

std::vector<Applier::Candidate> Applier::candidates(const Table& table, std::vector<Deferred> deferred) {
  std::vector<Candidate> all;
  std::set<Key> known;
  auto add = [&](Entry* entry, const Key& key, OwnedRow desired, OwnedRow table_row, std::vector<ColumnType> types) {
    if (!known.insert(key).second) return;
    Candidate candidate;
    candidate.entry = entry;
    candidate.key = key;
    candidate.claim = claim(table, entry, desired.view());
    candidate.desired = std::move(desired);
    candidate.table_row = std::move(table_row);
    candidate.types = std::move(types);
    all.push_back(std::move(candidate));
  };
  for (Deferred& row : deferred)
    add(row.entry, *row.entry->key, std::move(row.desired), core_.row_of(table, *row.entry->key), std::move(row.types));
  EntrySet waiting(core_.sides());
  waiting.insert(core_.dirty_sides().begin(), core_.dirty_sides().end());
  for (Entry* entry : waiting) {
    const Life* shown = entry->table == table.id
                            ? shown_life(entry->state, table.keeps_lives_apart(), state_.truncated(table.id))
                            : nullptr;
    if (!shown || !shown->side || (shown->side->kind != SideKind::hidden && shown->side->kind != SideKind::quarantined))
      continue;
    OwnedRow here = shown->in_table ? core_.row_of(table, *entry->key) : OwnedRow();
    std::size_t before = all.size();
    add(entry, *entry->key, OwnedRow(*desired_row(table, entry->state, state_.truncated(table.id), here.view())), {},
        shown->side->types);
    if (all.size() == before) continue;
    const Life* there = entry->state.in_table();  // another one's, inserted just now: it has not been looked at yet
    all.back().refused = shown->side->kind == SideKind::quarantined || (there && there != shown);
    if (shown->side->kind == SideKind::quarantined) all.back().table_row = std::move(here);
  }
  for (std::size_t i = 0; i < all.size(); i++)  // grows while it runs: closure over collisions
    for (std::size_t index = 0; index < table.uniques.size(); index++) {
      if (!unique_values(table.uniques[index], all[i].desired.view())) continue;
      auto other = core_.store.find_unique(table, index, all[i].desired.view());
      if (!other || known.contains(*other)) continue;
      OwnedRow row = core_.row_of(table, *other);
      if (row.empty()) continue;
      add(core_.window.find(table.id, *other), *other, OwnedRow(row.view()), OwnedRow(row.view()), {});
    }
  return all;
}

void Applier::resolve_uniques_of(const Table& table, std::vector<Deferred> deferred) {
  std::vector<Candidate> all = candidates(table, std::move(deferred));
  std::sort(all.begin(), all.end(), [](const Candidate& left, const Candidate& right) {
    return left.claim != right.claim ? left.claim < right.claim : left.key < right.key;
  });
  std::set<UniqueValue> taken, placed;  // placed: here, not only where nothing refuses the row
  for (Candidate& candidate : all) {
    std::vector<UniqueValue> wanted = unique_values(table, candidate.desired.view());
    candidate.shown = std::none_of(wanted.begin(), wanted.end(), [&](auto& value) { return taken.contains(value); });
    if (!candidate.shown) continue;
    taken.insert(wanted.begin(), wanted.end());
    if (!candidate.refused) placed.insert(wanted.begin(), wanted.end());
  }
  for (Candidate& candidate : all) {
    if (!candidate.refused || candidate.table_row.empty()) continue;
    std::vector<UniqueValue> held = unique_values(table, candidate.table_row.view());
    if (std::any_of(held.begin(), held.end(), [&](auto& value) { return placed.contains(value); }))
      give_way(table, candidate);
  }
  std::erase_if(all, [](const Candidate& candidate) { return candidate.refused; });
  // Vacate first, then put, so that values may change hands among rows without a violation in passing.
  for (Candidate& candidate : all)
    if (!candidate.table_row.empty()) vacate(table, candidate);
  for (Candidate& candidate : all) {
    if (!candidate.shown)
      hide(table, candidate);
    else if (candidate.table_row.empty())
      show(table, candidate);
  }
}

// The shown rows whose claims must not settle: a row that waits, hidden over another value or held under a number of
// two, wants one of their values, too, and comes before them when its turn comes. A claim that has settled on some
// nodes only would decide that otherwise there.
// Symptom: of two rows that wanted one value one node showed the one, another node the other. Mechanism: a contested
// row was removed, and inserted anew under its number with the same value, before the log was read; the mark was on the
// one that had ended, so the key counted as marked, and the claim of the new one settled where it was made. Mend: the
// life that shows bears the mark.
void Applier::keep_contested_claims() {
  EntrySet aside(core_.sides()), contested;
  std::set<TableId> tables = recheck_;
  for (Entry* entry : touched_) {
    if (tables.empty() || *tables.begin() != entry->table) tables.insert(entry->table);
    if (entry->state.kept_aside()) aside.insert(entry);
  }
  for (Entry* entry : aside)
    if (const Table* table = core_.table(entry->table); table && tables.contains(entry->table))
      if (!table->uniques.empty() && entry->state.has_side()) add_contested(*table, *entry, contested);
  aside.insert(contested.begin(), contested.end());
  for (Entry* entry : aside) {
    bool is = contested.contains(entry);
    auto wrong = [is](const Life& life) { return life.contested != (is && life.in_table); };
    if (std::none_of(entry->state.lives.begin(), entry->state.lives.end(), wrong) || !tables.contains(entry->table))
      continue;
    core_.window.touch(*entry);
    for (Life& life : entry->state.lives) life.contested = is && life.in_table;
    touched_.push_back(entry);
    core_.mark_side(*entry);
  }
}

void Applier::add_contested(const Table& table, const Entry& waiting, EntrySet& contested) {
  Version truncated = state_.truncated(table.id);
  for (const Life& life : waiting.state.lives) {
    bool waits = life.side && (life.side->kind == SideKind::hidden || life.side->kind == SideKind::held);
    if (!waits || life.dead(truncated)) continue;
    RowView values = life.side->values.view();
    for (std::size_t index = 0; index < table.uniques.size(); index++) {
      if (!unique_values(table.uniques[index], values)) continue;
      // Symptom: of two rows that wanted one value each node showed another one. Mechanism: the one that waited had a
      // younger claim by a value of another index, and gave that up; where the claim of the other had settled, that
      // one stayed the first. Mend: the claim is counted that it has by this value alone.
      Version its_claim;
      for (ColumnIndex column : table.uniques[index].columns) its_claim = std::max(its_claim, life.columns.of(column));
      auto holder = core_.store.find_unique(table, index, values);
      Entry* entry = holder && *holder != *waiting.key ? core_.window.find(table.id, *holder) : nullptr;
      if (entry && entry->state.in_table() && its_claim < claim(table, entry, core_.row_of(table, *holder).view()))
        contested.insert(entry);
    }
  }
}

void Applier::take_out(const Table& table, KeyView key) {
  core_.store.find_rows(table, {&key, 1}, found_);
  if (!found_[0].exists || found_[0].newer_than_log) throw Raced{};
  remove_row(table, key, found_[0].handle);
}

// An older image of a row whose update is refused here still has a UNIQUE value that the update gave up, and that
// another row has taken. That one did nothing wrong, so the older image goes, and the row waits as a whole.
// Symptom: a row was missing on one node, and was not tried again when nothing refused it any more. Mechanism: the
// other row had taken the value in the same document as the refused update, which was taken for a row that loses the
// value, and became hidden; had it been refused in an earlier one, the other row was put into quarantine in its place.
// Mend: it stays in quarantine, without an older image.
void Applier::give_way(const Table& table, Candidate& candidate) {
  take_out(table, candidate.key);
  Entry& entry = core_.window.edit(table.id, candidate.key);
  touched_.push_back(&entry);
  Life* shown = shown_life(entry.state, table.keeps_lives_apart(), state_.truncated(table.id));
  shown->side->values = OwnedRow(life_values(table, *shown, shown->in_table ? candidate.table_row.view() : RowView()));
  shown->side->columns = ColumnSet::all();
  leave_table(table, entry, nullptr);
  core_.mark_side(entry);
}

// Unless it is to be in the table, and is there as it should be.
void Applier::vacate(const Table& table, Candidate& candidate) {
  bool same = candidate.shown;
  for (std::size_t i = 0; same && i < candidate.desired.size() && i < candidate.table_row.size(); i++)
    same = candidate.desired[i].kind == ValueKind::omitted || same_value(candidate.desired[i], candidate.table_row[i]);
  if (same) return;
  take_out(table, candidate.key);
  Entry& entry = core_.window.edit(table.id, candidate.key);
  if (entry.state.lives.empty()) entry.state.lives.emplace_back();
  leave_table(table, entry, nullptr);
  for (std::size_t i = 0; i < candidate.desired.size(); i++)
    if (candidate.desired[i].kind == ValueKind::omitted) candidate.desired.set(i, candidate.table_row[i]);
  candidate.table_row = {};
}

void Applier::show(const Table& table, Candidate& candidate) {
  RowWrite insert{WriteKind::insert, candidate.key, 0, candidate.desired.view(), nullptr};
  std::vector<ColumnType> types = candidate.types;
  if (types.empty())
    for (const Column& column : table.columns) types.push_back(column.type);
  core_.store.write_rows(table, types, {&insert, 1}, results_);
  WriteResult result = results_[0];
  if (result.status == WriteResult::raced) throw Raced{};
  Entry& entry = core_.window.edit(table.id, candidate.key);
  if (entry.state.lives.empty()) entry.state.lives.emplace_back();
  touched_.push_back(&entry);
  if (result.status != WriteResult::ok) {
    quarantine(entry, insert, result.code.empty() ? "23505" : result.code,
               result.reason.empty() ? "another row has a value that must be unique" : result.reason, types, 0);
    return;
  }
  Version truncated = state_.truncated(table.id);
  Life* shown = shown_life(entry.state, table.keeps_lives_apart(), truncated);
  leave_table(table, entry, shown);
  if (shown) shown->shown_at = Life::being_applied;
  if (!shown || !shown->side || shown->side->kind == SideKind::merged) return;
  auto alive = std::count_if(entry.state.lives.begin(), entry.state.lives.end(),
                             [&](const Life& life) { return !life.dead(truncated); });
  if (table.keeps_lives_apart() || alive == 1)
    shown->side = nullptr;
  else
    shown->side->kind = SideKind::merged;
  core_.mark_side(entry);
}

void Applier::hide(const Table& table, Candidate& candidate) {
  Entry& entry = core_.window.edit(table.id, candidate.key);
  if (entry.state.lives.empty()) entry.state.lives.emplace_back();
  touched_.push_back(&entry);
  Life* shown = shown_life(entry.state, table.keeps_lives_apart(), state_.truncated(table.id));
  if (!shown || (shown->side && shown->side->kind == SideKind::hidden)) return;
  keep_room_aside(entry);
  auto side = std::make_unique<Side>();
  side->kind = SideKind::hidden;
  side->columns = ColumnSet::all();
  side->values = shown->side ? std::move(shown->side->values) : OwnedRow(candidate.desired.view());
  side->types = shown->side ? std::move(shown->side->types) : candidate.types;
  side->reason = hidden_reason;
  side->code = "23505";
  side->since_ms = core_.now_ms();
  shown->side = std::move(side);
  core_.mark_side(entry);
  Loss loss{"multiple_unique", "hidden", ColumnSet::all(), OwnedRow(candidate.desired.view()), {}, candidate.claim, {}};
  list(table, candidate.key, loss);
}

}  // namespace rowmesh
