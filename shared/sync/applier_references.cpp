// A reference means a row, not a number (docs/model.md, "Two rows under one integer key"): which row what was written
// here means, and where it goes when that row moves.
#include <algorithm>
#include <utility>

#include "shared/sync/applier.hpp"

namespace rowmesh {

// The life that the table showed at that time of this node's clock; one that has moved since, if there was no other.
static const Life* life_at(const RowState& state, Origin self, Hlc when, bool lost) {
  const Life* moved = nullptr;
  // What an earlier incarnation made and lost came here later than it was there.
  auto since = [&](const Life& life) {
    return lost && life.birth.origin == self ? life.birth.hlc : std::max(life.applied_at, life.birth.hlc);
  };
  // An insert here proves that nothing showed before it: what had come from elsewhere was refused, or waited. When the
  // row has gone again, what waited may have come up.
  Hlc free_at = 0;
  for (const Life& life : state.lives)
    if ((lost || life.applied_at == 0) && life.birth.origin == self && life.birth.hlc <= when &&
        (life.death().settled() || life.death().hlc > when))
      free_at = std::max(free_at, life.birth.hlc);
  for (const Life& life : state.lives) {
    if (since(life) > when || since(life) < free_at) continue;
    if (!life.removed.settled() && life.removed.hlc <= when) continue;
    if (life.moved && life.moved->version.origin == self && life.moved->version.hlc <= when) continue;
    if (!lost && life.side && life.side->kind >= SideKind::hidden && !life.in_table) continue;
    if (!life.moved) return &life;
    if (!moved || moved->moved->version < life.moved->version) moved = &life;
  }
  return moved;
}

bool Applier::of_one_who_is_gone(Origin origin) const {
  auto member = state_.members.find(origin);
  return origin != state_.self && member != state_.members.end() && member->second.node != core_.identity.node &&
         mine(origin);
}

// The life that the table showed to one who is gone when it wrote: the oldest of those that it had heard of.
const Life* Applier::life_seen(const RowState& state, Version written) const {
  auto before = [&](Version version) { return version.hlc <= written.hlc && state_.had_seen(written, version); };
  for (const Life& life : state.lives) {
    bool ended = (!life.removed.settled() && before(life.removed)) || (life.moved && before(life.moved->version));
    if (before(life.birth) && !ended) return &life;
  }
  return nullptr;
}

// References that the log brings only after the row under their number has changed, though their writer saw it as it
// was before: a prepared transaction, or one that committed while a document was applied.
void Applier::find_late_references() {
  for (auto [entry, hlc] : std::exchange(late_references_, {})) {
    const Table* child = core_.table(entry->table);
    if (!child) continue;
    OwnedRow table_row = core_.row_of(*child, *entry->key);
    for (const Reference& reference : child->references)
      if (const Table* parent = core_.table(reference.to); parent && parent->keeps_lives_apart())
        find_late_reference(*child, reference, *parent, *entry, hlc, table_row.view());
  }
}

// What we wrote to a reference before we were put back to an older state comes back from others. Nobody but us can say
// which row it meant, nor takes it along when that one moves.
void Applier::note_lost_references(const Table& table, const Item& item) {
  if (item.own || item.reconcile || lost_origins_.empty() || table.references.empty()) return;
  Entry* entry = core_.window.find(table.id, item.key);
  if (!entry) return;
  for (const IncomingLife& life : item.lives)
    for (const Reference& reference : table.references) {
      Version written = life.columns.of(reference.column);
      if (!lost_origins_.contains(written.origin)) continue;
      Hlc& newest = late_references_[entry];
      newest = std::max(newest, written.hlc);
    }
}

void Applier::find_late_reference(const Table& child, const Reference& reference, const Table& parent, Entry& entry,
                                  Hlc read, RowView table_row) {
  for (Life& life : entry.state.lives) {
    Version written = life.columns.of(reference.column);
    bool lost = lost_origins_.contains(written.origin);
    bool gone = !lost && of_one_who_is_gone(written.origin);
    if (life.dead(state_.truncated(child.id)) || (!lost && !gone && written.origin != state_.self) ||
        written.hlc > read)
      continue;
    if (std::any_of(life.meant.begin(), life.meant.end(),
                    [&](const Meant& one) { return one.column == reference.column; }))
      continue;
    Row values = life_values(child, life, life.in_table ? table_row : RowView());
    const Value& number = values[reference.column];
    if (number.kind != ValueKind::integer) continue;
    Row key_values = {number};
    Key key = encode_key(key_values);
    const Entry* at = core_.window.find(parent.id, key);
    const Life* meant = !at    ? nullptr
                        : gone ? life_seen(at->state, written)
                               : life_at(at->state, written.origin, written.hlc, lost);
    if (!meant || meant->in_table) continue;
    // Of several deletes of a life the latest counts, so one that had long gone may look as if it had been there. It
    // was not, where another one's row was.
    const Life* shown = at->state.in_table();
    bool another = lost || gone || (shown && std::max(shown->applied_at, shown->shown_at) < written.hlc);
    if (another && !meant->moved && meant->dead(state_.truncated(parent.id))) continue;
    mean(entry, life, reference.column, number.integer, meant->birth);
    if (meant->moved) moved_.push_back({parent.id, key, meant->birth, {}});
  }
}

// What this node wrote to a reference meant the life that the table showed until now. `writer`: what this one wrote,
// which is gone.
void Applier::remember_meant(const Table& table, KeyView key, Version birth, Origin writer) {
  std::int64_t number = decode_key(key)[0].integer;
  for (auto& [id, child] : core_.tables())
    for (const Reference& reference : child.references) {
      if (reference.to != table.id) continue;
      std::vector<Entry*> entries;
      std::vector<Key> keys = core_.store.find_referencing(child, reference.column, number);
      std::sort(keys.begin(), keys.end());
      std::vector<KeyView> views(keys.begin(), keys.end());
      core_.store.find_rows(child, views, found_);
      for (std::size_t i = 0; i < keys.size(); i++) {
        if (found_[i].newer_than_log) throw Raced{};  // who wrote it, and what it meant, the log says
        if (Entry* entry = core_.window.find(id, keys[i])) entries.push_back(entry);
      }
      for (Entry* entry : core_.sides())
        if (entry->table == id) entries.push_back(entry);
      for (Entry* entry : entries)
        for (Life& life : entry->state.lives) {
          Version written = life.columns.of(reference.column);
          bool known = std::any_of(life.meant.begin(), life.meant.end(), [&](const Meant& one) {
            return one.column == reference.column && one.holds(life.columns);
          });
          if (life.dead(state_.truncated(id)) || !mine(written.origin) || written < birth || known) continue;
          if (writer != 0 && written.origin != writer) continue;
          if (life.side && !same_value(life.side->values[reference.column], Value::of_integer(number))) continue;
          if (!life.side && !life.in_table) continue;
          mean(*entry, life, reference.column, number, birth);
        }
    }
}

void Applier::mean(Entry& entry, Life& life, ColumnIndex column, std::int64_t number, Version birth) {
  core_.window.touch(entry);
  // Our clock may be behind that of one who is gone, of whom this document brings the first that we hear.
  Hlc since = std::max(core_.store.clock().tick(), life.columns.of(column).hlc);
  life.meant.push_back({column, number, birth, since});
  newest_ = std::max(newest_, life.meant.back().since);
  touched_.push_back(&entry);
  if (entry.state.kept_aside()) core_.mark_side(entry);
}

void Applier::follow_references(const Table& table, const Moved& moved, const Key& to, Version birth, bool shown) {
  Value number = decode_key(to)[0];
  std::int64_t before = decode_key(moved.key)[0].integer;
  for (auto& [id, child] : core_.tables())
    for (const Reference& reference : child.references) {
      if (reference.to != table.id ||
          std::find(child.key.begin(), child.key.end(), reference.column) != child.key.end())
        continue;
      core_.window.for_each(id, [&, id = id, &child = child](Entry& entry) {
        for (Life& life : entry.state.lives) {
          auto meant = std::find_if(life.meant.begin(), life.meant.end(), [&](const Meant& one) {
            return one.is(reference.column, before, moved.birth) && one.holds(life.columns);
          });
          if (meant == life.meant.end()) continue;
          core_.window.touch(entry);
          life.meant.erase(meant);
          if (life.dead(state_.truncated(id)) || !mine(life.columns.of(reference.column).origin)) continue;
          Row values(child.columns.size(), Value::of_omitted());
          values[reference.column] = number;
          own_life(child, *entry.key, life.birth).columns.set(reference.column, own_version());
          if (!shown) mean(entry, life, reference.column, number.integer, birth);  // it waits there as well
          auto& own = own_.at({id, *entry.key});
          if (own.values.empty()) own.values = OwnedRow(values);
          own.values.set(reference.column, number);
        }
      });
    }
}

}  // namespace rowmesh
