// Merging what comes with what is here (model 1.3 and 1.4). Pure: no store, no clock.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "shared/merge/fold.hpp"
#include "shared/merge/row_state.hpp"

namespace rowmesh {

// A life as a document brings it, in this node's terms.
struct IncomingLife {
  Version birth, removed;
  ColumnVersions columns;
  std::unique_ptr<Move> moved;
  bool has_values = false;
  RowView values;  // all columns of the table in its order; omitted where the document has nothing

  bool dead() const { return !removed.settled() || moved; }
  Version death() const { return moved ? std::max(removed, moved->version) : removed; }
};

// Values that lost against others that their writer had not seen.
struct Loss {
  std::string type;  // as in ConflictRow
  std::string resolution;
  ColumnSet columns;
  OwnedRow loser;                         // full row; `columns` count
  OwnedRow winner;                        // full row, empty when a delete won
  Version loser_version, winner_version;  // the newest of each
  Version birth = {};                     // of the life that lost
  std::vector<ColumnType> types = {};     // of the loser's values; empty: the table's own
};

struct MergeContext {
  const Table& table;
  Hlc prune_horizon = 0;          // G, mine
  Hlc sender_horizon = 0;         // G of the sender
  Hlc sender_settled = 0;         // and how far those had forgotten who told it of rows when it had not come as far
  Version truncated = {};         // T of the table, mine, the document's already taken in
  Version sender_truncated = {};  // T of the table as the document says
  bool copy = false;              // rows of a copy are taken in although nothing is known of them
  bool first_copy = false;        // of a new node: nobody there has seen what comes
  // Of these origins, with what had come of each before: what is newer has never come here, though G is past it, so it
  // cannot have been forgotten (model, H17). Null: there are none.
  const std::map<Origin, Hlc>* late = nullptr;
  // Had the writer of `winner` seen `loser`? (H14)
  std::function<bool(Version winner, Version loser)> had_seen = {};
  bool take_unknown = false;  // rows that live, have settled at the sender and were never here are taken in as well
  // May that origin have two histories, so that what counts as come of it need not have come? And what lives at the
  // sender, however old, has not been deleted and forgotten here. Null: not as far as is known.
  std::function<bool(Origin)> two_histories = {};
  std::span<const ColumnType> types = {};  // of the document's values, per column; empty: the table's own
  // A copy for a node that was away for longer than changes are kept: what is here up to this version, the sender's G,
  // and is not there has ended there, and a value of before it gives way to the sender's. Settled: it is none.
  Version adopted = {};
  // With that: is all of what somebody else wrote up to this version at the sender? Null: nothing is known of it.
  std::function<bool(Version)> at_sender = {};
  bool behind = false;  // the sender has forgotten what never came here: this node was put back to an older state
  // The G of others who told this node of rows before it had come as far itself: what they called settled may come by
  // its birth from who has not forgotten that.
  Hlc settled_elsewhere = 0;
  bool of_late_origin(Version version) const {
    auto origin = late ? late->find(version.origin) : std::map<Origin, Hlc>::const_iterator{};
    return late && origin != late->end() && version.hlc > origin->second;
  }
  bool comes_late(Version version) const { return version.hlc <= prune_horizon && of_late_origin(version); }
  bool ended_elsewhere(Version death) const { return death.hlc <= settled_elsewhere && !of_late_origin(death); }
  bool forgotten(Version version) const { return version.hlc <= prune_horizon && !comes_late(version); }
  bool gives_way(Version version) const { return !adopted.settled() && version.hlc <= adopted.hlc; }
  // What the sender does not say of the life, though it had it, ended there with the life that it was written to.
  bool ended_there(Version version) const { return at_sender && at_sender(version); }
};

// Values of one life: its side values over the table's row.
Row life_values(const Table& table, const Life& life, RowView table_row);
// What the table ought to show of the key: nullopt is nothing. `table_row` may be empty when the table has none.
std::optional<Row> desired_row(const Table& table, const RowState& state, Version truncated, RowView table_row);

// Merges into `state`, which holds a life with settled birth if the table has a row of which nothing else is known.
// Afterwards every life that the table is not to show plainly has its values in `side` (views of `table_row` and of the
// document are copied); the shown life has no side: the caller writes desired_row() to the table, or marks it hidden or
// quarantined. `desired` receives that row; its texts belong to `state`, `table_row` or the document. `types`: of its
// values, empty: the table's own. Life::in_table stays as it was: the caller moves it when the table was written.
// Returns true if the state changed. With nothing incoming: what the table ought to show of a state that local changes
// made.
bool merge_lives(RowState& state, std::span<IncomingLife> incoming, RowView table_row, const MergeContext& context,
                 std::vector<Loss>& losses, std::optional<OwnedRow>& desired, std::vector<ColumnType>* types = nullptr);

// Which life of `state` an incoming one is: its birth; nullopt: none, it is void. `*added`: it is new here.
std::optional<Version> match_life(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                                  const MergeContext& context, bool* added);

}  // namespace rowmesh
