// Comparing a table with another server's while both change: verify() and repair().
#include "shared/codec/document.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/applier.hpp"
#include "shared/sync/lost_row.hpp"

namespace rowmesh {

// A difference is what no change on its way will mend: both sides have the same versions, and not the same values.
void Applier::check_copied(std::size_t index, Entry* entry, const FoundRow& found) {
  Item& item = items_[index];
  const Table& table = *mapping().table;
  Differences& counts = copy_->found;
  if (!item.unholdable.empty() || (entry && entry->state.has_side())) return;  // it waits in a list of its own
  bool plain = item.lives.size() == 1 && !item.lives[0].dead() && item.lives[0].has_values;
  if (!plain) {
    if (found.exists || entry) counts.on_their_way++;
    return;
  }
  counts.compared++;
  IncomingLife& life = item.lives[0];
  if (!found.exists) {
    if (entry || !life.birth.settled()) {
      counts.on_their_way++;
      return;
    }
    counts.missing_here++;
    difference(item, "missing", {}, life.values, ColumnSet::all());
    if (copy_->mode != CopyMode::repair) return;
    if (!decide_plainly(item, entry, found)) decide_generally(index, entry, found);
    core_.store.note_local(table, LogOp::update, item.key, ColumnSet::all());
    return;
  }
  OwnedRow here = core_.row_of(table, item.key);
  if (here.empty()) throw Raced{};
  OwnedRow there = comparable(table, life.values, here.view());
  const Life* mine = entry ? shown_life(entry->state, table.integer_key, state_.truncated(table.id)) : nullptr;
  ColumnSet columns;
  bool moving = false;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    if (life.values[i].kind == ValueKind::omitted || same_value(there[i], here[i])) continue;
    Version ours = mine ? mine->columns.of(column) : Version{};
    if (ours == life.columns.of(column))
      columns.add(column);
    else
      moving = true;
  }
  if (moving) counts.on_their_way++;
  if (columns.empty()) return;
  counts.differ++;
  difference(item, "differs", here.view(), there.view(), columns);
  if (copy_->mode != CopyMode::repair) return;
  Entry& changed = core_.window.get(table.id, item.key);
  core_.window.touch(changed);
  if (changed.state.lives.empty()) changed.state.lives.emplace_back();
  write(WriteKind::update, changed, index, found, life.values, columns);
  core_.store.note_local(table, LogOp::update, item.key, columns);
}

// What came as this database would hold it: engines spell some values differently.
OwnedRow Applier::comparable(const Table& table, RowView there, RowView here) {
  bool same = there.size() == here.size();
  for (std::size_t i = 0; same && i < there.size(); i++) same = same_value(there[i], here[i]);
  return same ? OwnedRow(there) : core_.store.as_stored(table, mapping().types, there);
}

void Applier::difference(const Item& item, const char* what, RowView here, RowView there, const ColumnSet& columns) {
  if (copy_->found.rows.size() >= limits::listed_differences) return;
  const Table& table = *mapping().table;
  ConflictRow row;
  row.time_ms = core_.now_ms();
  row.table = table.local_name;
  row.key_text = key_to_text(item.key);
  row.type = what;
  row.resolution = copy_->mode == CopyMode::repair ? "apply_remote" : "none";
  if (!there.empty()) row.winner = row_to_json(table, there, &columns);
  if (!here.empty()) row.loser = row_to_json(table, here, &columns);
  if (copy_->mode == CopyMode::repair && !here.empty()) {
    Loss loss{"", row.resolution, columns, OwnedRow(here), {}, {}, {}};
    if (const Entry* entry = core_.window.find(table.id, item.key))
      if (const Life* life = entry->state.in_table()) loss.birth = life->birth;
    row.image = pack_lost(table.id, item.key, loss);
  }
  copy_->found.rows.push_back(std::move(row));
}

}  // namespace rowmesh
