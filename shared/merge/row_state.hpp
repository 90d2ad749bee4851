// The unsettled metadata of one key: its lives (docs/model.md 1.1). A key without any has one implicit life: birth 0,
// all columns settled.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "shared/model/key.hpp"
#include "shared/model/table.hpp"
#include "shared/model/value.hpp"
#include "shared/model/version.hpp"

namespace rowmesh {

// A version for each column: `base` for all that are not named in `changed`.
struct ColumnVersions {
  Version base;
  std::vector<std::pair<ColumnIndex, Version>> changed;  // sorted by column, each different from base

  Version of(ColumnIndex column) const {
    auto at = find(column);
    return at != changed.end() && at->first == column ? at->second : base;
  }
  void set(ColumnIndex column, Version version) {
    auto at = changed.begin() + (find(column) - changed.cbegin());
    bool here = at != changed.end() && at->first == column;
    if (version == base) {
      if (here) changed.erase(at);
    } else if (here) {
      at->second = version;
    } else {
      changed.insert(at, {column, version});
    }
  }
  void set_all(Version version) {
    base = version;
    changed.clear();
  }
  Version newest() const {
    Version newest = base;
    for (auto& [column, version] : changed) newest = std::max(newest, version);
    return newest;
  }
  bool operator==(const ColumnVersions&) const = default;

 private:
  std::vector<std::pair<ColumnIndex, Version>>::const_iterator find(ColumnIndex column) const {
    return std::lower_bound(changed.begin(), changed.end(), column,
                            [](const auto& entry, ColumnIndex wanted) { return entry.first < wanted; });
  }
};

// The younger of two things that bore one number went to another key (model, rule 5).
struct Move {
  Version version;
  Key to_key;
  Version to_birth;
  ColumnVersions seen;  // what the mover knew of the life
};

// Why the table does not plainly hold a life's values.
enum class SideKind : std::uint8_t {
  merged,       // natural key with several lives: the table shows them merged, each life keeps its own values here
  held,         // integer key: the younger life waits
  hidden,       // a row with an older claim has one of its UNIQUE values
  quarantined,  // the database refuses it
};

struct Side {
  SideKind kind = SideKind::held;
  ColumnSet columns;              // which values count: all, or for a refused update those that the table does not have
  OwnedRow values;                // in the table's column order
  std::vector<ColumnType> types;  // on the wire, per column; empty: the table's own
  std::string code, reason;
  std::uint64_t since_ms = 0;
};

// A reference column that this node wrote, and the life that it means, since the table has come to show another one
// under that number. It follows that life when it moves.
struct Meant {
  // Or that somebody else wrote, whose version `birth` is, while its row was edited here as a whole: he knows.
  static constexpr std::int64_t known_elsewhere = std::numeric_limits<std::int64_t>::min();
  ColumnIndex column = 0;
  std::int64_t number = 0;
  Version birth;
  Hlc since = 0;  // this node's clock when it was noted: once everybody has confirmed that, no move is to come any more

  bool is(ColumnIndex other_column, std::int64_t other_number, Version other_birth) const {
    return column == other_column && number == other_number && birth == other_birth;
  }
  // What was written to the reference since means what it says.
  bool holds(const ColumnVersions& columns) const { return columns.of(column).hlc <= since; }
};

// What somebody else wrote to a reference, and what he says that it means: whoever takes his place when he is gone goes
// by that.
struct Told : Meant {
  Version written;
  bool holds(const ColumnVersions& columns) const { return columns.of(column) == written; }
};

struct Life {
  Version birth;    // settled: it was there before anything that is still told apart
  Version removed;  // highest delete that named this life; settled: none
  ColumnVersions columns;
  std::unique_ptr<Move> moved;
  std::unique_ptr<Side> side;  // null: its values are the table's row, if it is in the table
  // The table's row is this life's: at most one life of a key. With a side it is an older image (quarantined) or the
  // row of several lives together (merged). The table may lag behind what the state shows, until Applier::reconcile:
  // also a dead life can be in it.
  bool in_table = true;
  std::vector<Meant> meant;
  std::vector<Told> told;
  // A row that waits has an older claim to one of its UNIQUE values: its own must not settle, or the two would change
  // places on some nodes only when the other one's turn comes (model, H6).
  bool contested = false;
  // When it was made here by an apply, in this node's clock; 0: it was born here, or was always there. A local change
  // that is read from the log only now, but is older than this, had not seen the life.
  Hlc applied_at = 0;
  // When an apply put its row into the table, where there was none; 0: long ago. It had waited before, so a local
  // change that is older, and is read from the log only now, had not seen it either.
  Hlc shown_at = 0;
  static constexpr Hlc being_applied = ~Hlc{0};  // until the apply knows its time

  Life() = default;
  explicit Life(Version born) : birth(born) { columns.base = born; }
  Life(const Life& other) { *this = other; }
  Life& operator=(const Life& other);
  Life(Life&&) = default;
  Life& operator=(Life&&) = default;

  // What is known of what this reference means; null: nothing that still holds.
  const Meant* meaning(ColumnIndex column) const {
    for (const Meant& one : meant)
      if (one.column == column && one.holds(columns)) return &one;
    return nullptr;
  }
  const Told* told_of(ColumnIndex column) const {
    for (const Told& one : told)
      if (one.column == column && one.holds(columns)) return &one;
    return nullptr;
  }
  Version death() const { return moved ? std::max(removed, moved->version) : removed; }
  bool dead(Version truncated) const { return !removed.settled() || moved || birth < truncated; }
  Version newest() const { return std::max(std::max(birth, columns.newest()), death()); }

  // Settled ones too.
  template <typename Visit>
  void for_each_version(const Visit& visit) const {
    auto visit_columns = [&](const ColumnVersions& of) {
      visit(of.base);
      for (auto& [column, version] : of.changed) visit(version);
    };
    visit(birth), visit(removed), visit_columns(columns);
    if (moved) visit(moved->version), visit(moved->to_birth), visit_columns(moved->seen);
    for (const Meant& one : meant) visit(one.birth);
    for (const Told& one : told) visit(one.birth), visit(one.written);
  }
};

struct RowState {
  std::vector<Life> lives;  // ascending by birth

  Life* find(Version birth);
  const Life* find(Version birth) const { return const_cast<RowState*>(this)->find(birth); }
  Life& add(Life life);
  void order();  // after a birth was changed
  bool has_side() const;
  bool contested() const;
  bool kept_aside() const { return has_side() || contested(); }  // the side table has to have it
  Version newest() const;
  Life* in_table();  // null: the table has no row of this key
  const Life* in_table() const { return const_cast<RowState*>(this)->in_table(); }
  void set_in_table(const Life* life);  // this one and no other; null: none
};

}  // namespace rowmesh
