// Two moves of one life (docs/model.md, "Two rows under one integer key"): by its node before that was put back to an
// older state and afterwards, say, or by one that is gone for good and by its heir. Everybody follows the later one.
//
// Symptom: after a restore a row stood under two numbers. Mechanism: it had got another number in the life that was
// lost, and that had come to a server that the copy was not from; so it got one once more, and where both moves were
// heard of the row that had come of the first one stayed. Mend: whoever hears of both moves what came of the one to
// what came of the other.
#include <algorithm>

#include "shared/sync/applier.hpp"

namespace rowmesh {

void Applier::note_moved_twice(const Table& table, const Item& item, const Life* known, const Life& life) {
  AwaitedRow followed{table.id, life.moved->to_key, life.moved->to_birth};
  auto note = [&](const Move* move) {
    if (!move) return;
    AwaitedRow other{table.id, move->to_key, move->to_birth};
    if (other != followed) moved_twice_.emplace_back(followed, other);
  };
  if (known) note(known->moved.get());
  for (const IncomingLife& incoming : item.lives)
    if (incoming.birth == life.birth) note(incoming.moved.get());
}

// Moves are followed as far as they are known here.
AwaitedRow Applier::end_of_moves(AwaitedRow row) const {
  for (;;) {
    const Entry* entry = core_.window.find(row.table, row.key);
    const Life* life = entry ? entry->state.find(row.birth) : nullptr;
    if (!life || !life->moved || life->moved->to_birth <= row.birth) return row;
    row = {row.table, life->moved->to_key, life->moved->to_birth};
  }
}

// Whatever each of those who do it knows, the one with the older birth goes to the other one, so no two go to each
// other. Who has written to it since carries that over when he hears of it (carry).
void Applier::join_moved_twice() {
  for (auto& [followed, other] : std::exchange(moved_twice_, {})) {
    AwaitedRow goes = end_of_moves(followed), stays = end_of_moves(other);
    if (stays.birth < goes.birth) std::swap(goes, stays);
    if (goes.birth == stays.birth || is_moving(goes.table, goes.key, goes.birth)) continue;
    const Table& table = *core_.table(goes.table);
    const Entry* entry = core_.window.find(goes.table, goes.key);
    const Life* life = entry ? entry->state.find(goes.birth) : nullptr;
    if (!life && goes.birth.hlc <= state_.prune_horizon) continue;  // it has been, or is all that is there
    IncomingLife& leaving = own_life(table, goes.key, goes.birth);
    leaving.columns = life ? life->columns : ColumnVersions{goes.birth, {}};
    leaving.moved = std::make_unique<Move>(Move{own_version(), stays.key, stays.birth, {goes.birth, {}}});
    if (!life || life->dead(state_.truncated(table.id))) continue;
    Loss loss{"insert_exists", "renumbered", ColumnSet::all(), {}, {}, life->newest(), own_version()};
    list_lost_life(table, goes.key, *life, std::move(loss));
  }
}

}  // namespace rowmesh
