// Rows of a copy that meet rows which are here already.
#include <algorithm>

#include "shared/sync/applier.hpp"

namespace rowmesh {

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
  OwnedRow table_row = core_.row_of(table, item.key);
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

}  // namespace rowmesh
