#include "shared/merge/fold.hpp"

#include <algorithm>
#include <iterator>

namespace rowmesh {

const Life* shown_life(const RowState& state, bool integer_key, Version truncated) {
  const Life* shown = nullptr;
  for (const Life& life : state.lives) {
    if (life.dead(truncated)) continue;
    shown = &life;
    if (integer_key) break;  // ascending by birth: the first is the oldest
  }
  return shown;
}

Life* shown_life(RowState& state, bool integer_key, Version truncated) {
  return const_cast<Life*>(shown_life(static_cast<const RowState&>(state), integer_key, truncated));
}

bool plain(const RowState& state, Version truncated) {
  return std::all_of(state.lives.begin(), state.lives.end(), [&](const Life& life) {
    return !life.side && !life.contested && life.in_table != life.dead(truncated);
  });
}

namespace {

// Takes the lives that a local change of this version had not seen out of the state, for as long as the change is
// folded into the rest.
class SeenOnly {
 public:
  SeenOnly(RowState& state, Version version) : state_(state) {
    auto unseen = [&](const Life& life) { return std::max(life.applied_at, life.shown_at) > version.hlc; };
    if (std::none_of(state.lives.begin(), state.lives.end(), unseen)) return;
    auto first =
        std::stable_partition(state.lives.begin(), state.lives.end(), [&](const Life& life) { return !unseen(life); });
    for (auto life = first; life != state.lives.end(); ++life) waited_ |= life->applied_at <= version.hlc;
    std::move(first, state.lives.end(), std::back_inserter(unseen_));
    state.lives.erase(first, state.lives.end());
  }
  SeenOnly(const SeenOnly&) = delete;
  // No row was there before anything that is told apart: the key is known, its row only waited beside the table.
  bool nothing_else() const { return state_.lives.empty() && !waited_; }
  ~SeenOnly() {
    for (Life& life : unseen_) {
      std::erase_if(state_.lives, [&](const Life& made) { return made.birth == life.birth; });
      state_.add(std::move(life));
    }
  }

 private:
  RowState& state_;
  std::vector<Life> unseen_;
  bool waited_ = false;
};

// What the table showed is gone. Integer keys: that one life; natural keys: all that were merged into it.
// Symptom: a value was lost without a trace. Mechanism: a row waited beside the table, for one of its UNIQUE values was
// another's; somebody inserted a row under its natural key and removed that one before the log was read, and the one
// that waited, which he had not seen, went with it. Mend: a row that has not been merged with others yet, as one that
// was inserted just now, goes alone.
void bury_shown(RowState& state, Version version, bool integer_key, Version truncated) {
  const Life* here = state.in_table();
  bool alone = integer_key || (here && !here->side);
  for (Life& life : state.lives) {
    if (!life.in_table && (alone || life.dead(truncated))) continue;
    life.removed = std::max(life.removed, version);
    life.side = nullptr;
    life.in_table = false;
  }
}

}  // namespace

void fold_insert(RowState& state, Version version, bool integer_key, Version truncated) {
  SeenOnly seen(state, version);
  if (Life* same = state.find(version)) {
    // Inserted, removed and inserted again in one transaction: one life, never shipped in between (H16 c).
    same->removed = {};
    same->columns.set_all(version);
    same->in_table = true;
    return;
  }
  // A trigger that updates the row it fires for is logged before the insert that it belongs to: the update was folded
  // into a life that never was (measured, part 1 1.5).
  std::erase_if(state.lives, [&](const Life& life) {
    return life.birth.settled() && life.removed.settled() && !life.side && life.newest() == version;
  });
  // The row of before stood where this one is now: it went without being noted (triggers switched off, TRUNCATE as
  // replica).
  if (state.in_table()) bury_shown(state, version, integer_key, truncated);
  state.add(Life(version));
}

void fold_update(RowState& state, Version version, const ColumnSet& columns, std::size_t column_count, bool whole_row) {
  if (columns.empty() && !state.lives.empty()) return;  // the key is only to be shipped anew
  SeenOnly seen(state, version);
  if (seen.nothing_else()) state.lives.emplace_back();
  Life* life = state.in_table();
  if (!life || columns.empty()) return;  // the insert that it belongs to follows; or as above
  // Symptom: a reference did not follow the row that its writer meant. Mechanism: where the later edit of a row counts
  // as a whole, one transaction edited another column of the row first, which left the reference its meaning as of
  // then, and then the reference itself. Mend: what it meant before is forgotten with that.
  std::erase_if(life->meant, [&](const Meant& one) { return columns.has(one.column) && one.since <= version.hlc; });
  if (whole_row || columns.is_all()) {
    for (Meant& one : life->meant)  // what was left as it was means what it meant
      if (!columns.has(one.column) && one.holds(life->columns)) one.since = std::max(one.since, version.hlc);
    life->columns.set_all(version);
  } else {
    for (std::size_t column = 0; column < column_count; column++)
      if (columns.has(static_cast<ColumnIndex>(column))) life->columns.set(static_cast<ColumnIndex>(column), version);
  }
}

void fold_remove(RowState& state, Version version, bool integer_key, Version truncated) {
  SeenOnly seen(state, version);
  if (seen.nothing_else()) state.lives.emplace_back();
  bury_shown(state, version, integer_key, truncated);
  // Born and dead in one transaction: nobody has heard of it. No life may be left in its place: one of birth 0 would be
  // taken for the settled row that another server has.
  std::erase_if(state.lives, [&](const Life& life) { return life.birth == version && life.removed == version; });
}

}  // namespace rowmesh
