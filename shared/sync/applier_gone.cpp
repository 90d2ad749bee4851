// What one who is gone for good had referred to and deleted, where rows have got other numbers: who takes its place
// takes the references along, and the deletes.
#include <algorithm>

#include "shared/sync/applier.hpp"

namespace rowmesh {

bool Applier::of_one_who_is_gone(Origin origin) const {
  auto member = state_.members.find(origin);
  return origin != state_.self && member != state_.members.end() && member->second.node != core_.identity.node &&
         mine(origin);
}

// The life that the table showed to one who is gone when it wrote: the oldest of those that it had heard of.
// Symptom: a reference followed a row that its writer had not meant. Mechanism: its writer had inserted the row that it
// meant under a number that another one had as well, which waited; that one was older, and its heir took it for the one
// that showed. Mend: what somebody inserts shows, until it is moved: an insert proves that nothing showed before.
// `stands`: the reference is there as it was written.
// Symptom: as above. Mechanism: a row waited for a UNIQUE value while its own node inserted another one over its
// number; what referred to the first was renumbered then, and later than that insert. Mend: a row that the writer has
// moved itself was not meant, for then the reference would have gone along.
const Life* Applier::life_seen(const RowState& state, Version written, bool stands) const {
  auto before = [&](Version version) { return version.hlc <= written.hlc && state_.had_seen(written, version); };
  const Life* seen = nullptr;
  for (const Life& life : state.lives) {
    bool left = life.moved && (before(life.moved->version) || (stands && life.moved->version.origin == written.origin));
    bool ended = (!life.removed.settled() && before(life.removed)) || left;
    if (!before(life.birth) || ended) continue;
    if (!seen || life.birth.origin == written.origin) seen = &life;
  }
  return seen;
}

// Symptom: a reference named another row than its writer meant. Mechanism: its writer had heard of an older row under
// the number only after it had written, and was gone for good before it heard of the move; its heir judged by what it
// had heard in the end, and took the older row for the one that was meant. Mend: each says which rows its references
// mean, with the rows that refer; whoever takes its place goes by that.
void Applier::hear_meanings() {
  for (const SaidMeaning& said : header_.meant) {
    const Table* table = core_.table_by_wire_name(said.table);
    int column = table ? table->column_index(said.column) : -1;
    if (column < 0 || said.written.settled() || said.written.origin == state_.self) continue;
    auto sent = sent_keys_.find({table->id, said.key});
    Entry* entry = core_.window.find(table->id, sent == sent_keys_.end() ? said.key : sent->second);
    if (!entry) continue;
    auto referring = static_cast<ColumnIndex>(column);
    Hlc since = std::min(said.since, header_.hlc);
    for (Life& life : entry->state.lives) {
      // Not by its birth, which may have settled on one of the two sides.
      if (life.columns.of(referring) != said.written || (life.dead(state_.truncated(table->id)) && !life.moved))
        continue;
      if (const Told* known = life.told_of(referring); known && known->since >= since) continue;
      core_.window.touch(*entry);
      std::erase_if(life.told, [&](const Told& one) { return one.column == referring; });
      life.told.push_back({{referring, said.number, said.birth, since}, said.written});
      newest_ = std::max(newest_, since);
      touched_.push_back(entry);
      if (entry->state.kept_aside()) core_.mark_side(*entry);
    }
  }
}

// Symptom: a reference named another row than its writer meant, who was gone for good. Mechanism: the row that refers
// had been moved by somebody who had heard of the reference, so it was the mover's, who had another row under that
// number; and its writer was gone before it had written it once more under the new number (Applier::carry). Mend: its
// heir does.
void Applier::write_once_more(const Table& child, const Reference& reference, Entry& entry, Life& from) {
  ColumnIndex column = reference.column;
  Version written = from.columns.of(column);
  bool in_key = std::find(child.key.begin(), child.key.end(), column) != child.key.end();
  if (in_key || written > from.moved->seen.of(column)) return;
  AwaitedRow end = end_of_moves({child.id, from.moved->to_key, from.moved->to_birth});
  const Entry* there = core_.window.find(child.id, end.key);
  const Life* to = there ? there->state.find(end.birth) : nullptr;
  // Who has written it since knew what he meant.
  if (!to || to->dead(state_.truncated(child.id)) || to->columns.of(column) != to->birth) return;
  OwnedRow row = core_.row_of(child, end.key);
  Value number = life_values(child, *to, to->in_table ? row.view() : RowView())[column];
  if (number.kind != ValueKind::integer) return;
  Row key = {number};
  const Entry* at = core_.window.find(reference.to, encode_key(key));
  const Told* told = from.told_of(column);
  const Life* meant = !at ? nullptr : told ? at->state.find(told->birth) : life_seen(at->state, written, true);
  if (!meant || (!meant->moved && meant->dead(state_.truncated(reference.to)))) return;
  if (meant->in_table && !may_give_way(child, column, number, written)) return;
  if (!meant->in_table) mean(entry, from, column, number.integer, meant->birth);
  Row values(child.columns.size(), Value::of_omitted());
  own_life(child, end.key, to->birth).columns.set(column, own_version());
  OwnItem& own = own_.at({child.id, end.key});
  if (own.values.empty()) own.values = OwnedRow(values);
  own.values.set(column, number);
  moving_.push_back({child.id, *entry.key, end.key, from.birth, to->birth});
}

// Symptom: a row that had been deleted lived on under another number. Mechanism: somebody else had given it that
// number, which its deleter had not heard of when it was gone for good; its heir had heard of the move before it was
// the heir, or before it heard of the delete, and carries over only what is there when a move comes. Mend: it looks
// once more when somebody is gone, and when such a delete comes.
void Applier::take_over_deletes(const Table& table, const Entry& entry) {
  for (const Life& life : entry.state.lives)
    if (life.moved && !life.removed.settled() && of_one_who_is_gone(life.removed.origin))
      moved_.push_back({table.id, *entry.key, life.birth, {}});
}

// What it means goes to the others with the row.
void Applier::tell(Entry& entry) {
  if (const Table* table = core_.table(entry.table)) core_.store.note_local(*table, LogOp::update, *entry.key, {});
}

}  // namespace rowmesh
