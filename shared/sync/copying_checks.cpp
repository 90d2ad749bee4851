// Verify and repair: copies that compare.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

constexpr int check_readings = 10;              // of a table in which something is always on its way
constexpr std::uint64_t check_pause_ms = 1000;  // between two of them

}  // namespace

ConflictRow Node::Impl::only_here(const Table& table, KeyView key, RowView row, CopyMode mode) {
  Loss loss{"only_here", mode == CopyMode::repair ? "apply_remote" : "none", ColumnSet::all(), OwnedRow(row), {}, {},
            {}};
  ConflictRow listed = conflict_row(table, key, loss, core.now_ms());
  listed.winner_version = listed.loser_version = "";
  return listed;
}

// Rows that only this side has. Whether something was on its way: then the table is read once more after a moment.
// False: it is.
bool Node::Impl::end_check(Copy& copy) {
  const Table& table = *core.table_by_wire_name(copy.tables.front());
  Differences& found = copy.session.found;
  in_transaction([&] {
    std::vector<Key> extra;
    core.store.scan_rows(table, {}, [&](std::size_t, KeyView key, RowView row) {
      if (copy.session.seen.contains(Key(key))) return true;
      const Entry* known = core.window.find(table.id, key);
      if (known && !known->state.lives.empty()) {
        found.on_their_way++;
        return true;
      }
      found.only_here++;
      extra.emplace_back(key);
      if (found.rows.size() < limits::listed_differences) found.rows.push_back(only_here(table, key, row, copy.mode));
      return true;
    });
    bool again = found.on_their_way > 0 && copy.readings + 1 < check_readings && copy.mode == CopyMode::verify;
    if (again) return;
    for (const ConflictRow& row : found.rows) core.store.add_conflict(row);
    if (copy.mode == CopyMode::repair) remove_here(table, std::move(extra));
  });
  if (found.on_their_way > 0 && ++copy.readings < check_readings) {
    if (copy.mode == CopyMode::repair) {
      copy.found.differ += found.differ, copy.found.missing_here += found.missing_here,
          copy.found.only_here += found.only_here;
    }
    copy.session = {};
    copy.session.mode = copy.mode;
    copy.session.target_was_empty = false;
    copy.pause_until_ms = core.now_ms() + check_pause_ms;
    return false;
  }
  copy.found.compared += found.compared;
  copy.found.differ += found.differ;
  copy.found.missing_here += found.missing_here;
  copy.found.only_here += found.only_here;
  copy.found.on_their_way += found.on_their_way;
  copy.rows = copy.found.compared;
  copy.readings = 0;
  return true;
}

}  // namespace rowmesh
