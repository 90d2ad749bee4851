// A reference means a row, not a number (docs/model.md, "Two rows under one integer key"): which row what was written
// here means, and where it goes when that row moves.
#include <algorithm>
#include <utility>

#include "shared/sync/applier.hpp"

namespace rowmesh {

// The life that the table showed at that time of this node's clock; one that has moved since, if there was no other.
// `left`: it is in the table no more only since this transaction.
// Symptom: a reference followed a row that its writer had not meant, which had moved away long before. Mechanism: the
// row that showed when it was written gave up its UNIQUE value before the log was read, and counted as one that waits.
// Mend: what has waited only since then showed.
// Symptom: as above. Mechanism: a younger row waited under the number of one that had been inserted here, and both were
// moved before a prepared transaction was committed, the younger one later. Mend: what was inserted here showed until
// it was moved here.
static const Life* life_at(const RowState& state, Origin self, Hlc when, bool lost,
                           const std::function<bool(const Life&)>& left) {
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
    bool waits = life.side && life.side->kind >= SideKind::hidden && !life.in_table;
    if (!lost && waits && life.side->since_ms <= hlc_to_ms(when) && !left(life)) continue;
    bool inserted_here = !lost && life.applied_at == 0 && life.birth.origin == self;
    if (!life.moved || (inserted_here && life.moved->version.origin == self)) return &life;
    if (!moved || moved->moved->version < life.moved->version) moved = &life;
  }
  return moved;
}

// References that the log brings only after the row under their number has changed, though their writer saw it as it
// was before: a prepared transaction, or one that committed while a document was applied.
void Applier::find_late_references() {
  for (auto [entry, hlc] : std::exchange(late_references_, {})) {
    const Table* child = core_.table(entry->table);
    if (!child) continue;
    take_over_deletes(*child, *entry);
    OwnedRow table_row = core_.row_of(*child, *entry->key);
    for (const Reference& reference : child->references)
      if (const Table* parent = core_.table(reference.to); parent && parent->keeps_lives_apart())
        find_late_reference(*child, reference, *parent, *entry, hlc, table_row.view());
  }
}

// What we wrote to a reference before we were put back to an older state comes back from others. Nobody but us can say
// which row it meant, nor takes it along when that one moves. As little where one wrote it who is gone, and we take its
// place.
// Symptom: a reference named another row than its writer meant, who was gone for good. Mechanism: its heir had moved
// the row that it meant before it heard of the reference from somebody else, and looked at references only when
// somebody was gone. Mend: and when they come. So with what it had deleted (Applier::take_over_deletes).
void Applier::note_left_by_others(const Table& table, const Item& item) {
  if (item.own || item.reconcile) return;
  auto note = [&](Version written) {
    Entry* entry = core_.window.find(table.id, item.key);
    if (!entry) return;
    Hlc& newest = late_references_[entry];
    newest = std::max(newest, written.hlc);
  };
  for (const IncomingLife& life : item.lives) {
    if (table.keeps_lives_apart() && !life.removed.settled() && of_one_who_is_gone(life.removed.origin))
      note(life.removed);
    for (const Reference& reference : table.references) {
      Version written = life.columns.of(reference.column);
      if (lost_origins_.contains(written.origin) || of_one_who_is_gone(written.origin)) note(written);
    }
  }
}

// Symptom: a row of one who was gone for good ended under the parent of another server. Mechanism: the document that
// told that it was gone named that row too, and its heir moved it at once; what it refers to the heir asked only
// afterwards (Node::Impl::note_what_the_gone_left), when the reference counted as the heir's own. Mend: it asks
// before it moves the row.
void Applier::note_references_of(Entry& entry, const Life& life) {
  late_references_[&entry] = life.newest().hlc;
  find_late_references();
}

void Applier::find_late_reference(const Table& child, const Reference& reference, const Table& parent, Entry& entry,
                                  Hlc read, RowView table_row) {
  for (Life& life : entry.state.lives) {
    Version written = life.columns.of(reference.column);
    bool lost = lost_origins_.contains(written.origin);
    bool gone = !lost && of_one_who_is_gone(written.origin);
    if (gone && life.moved) write_once_more(child, reference, entry, life);
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
    auto left = [&](const Life& one) {
      return std::any_of(left_.begin(), left_.end(), [&](const Left& gone_now) {
        return gone_now.table == parent.id && gone_now.key == key && gone_now.birth == one.birth;
      });
    };
    const Told* told = life.told_of(reference.column);
    const Life* meant = !at            ? nullptr
                        : gone && told ? at->state.find(told->birth)
                        : gone         ? life_seen(at->state, written, true)
                                       : life_at(at->state, written.origin, written.hlc, lost, left);
    if (!meant || meant->in_table) continue;
    // Of several deletes of a life the latest counts, so one that had long gone may look as if it had been there. It
    // was not, where another one's row was.
    const Life* shown = at->state.in_table();
    bool another = lost || gone || (shown && std::max(shown->applied_at, shown->shown_at) < written.hlc);
    if (another && !meant->moved && meant->dead(state_.truncated(parent.id))) continue;
    mean(entry, life, reference.column, number.integer, meant->birth);
    // Symptom: an edit stayed on one server alone after a backup had been put back. Mechanism: at its start the
    // restored node said once more what its references mean, so its newest version was of now, and nobody could tell
    // that it had lost some (NodeState::hears_of). Mend: what comes out of its log goes to the others anyway.
    if (gone) tell(entry);
    if (meant->moved) moved_.push_back({parent.id, key, meant->birth, {}});
  }
}

// What this node wrote to a reference meant the life that the table showed until now. `writer`: what this one wrote,
// which is gone.
void Applier::remember_meant(const Table& table, KeyView key, Version birth, Origin writer) {
  std::int64_t number = decode_key(key)[0].integer;
  const Entry* at = core_.window.find(table.id, key);
  auto showed = [&](Version writing) {
    const Life* seen = at ? life_seen(at->state, writing, false) : nullptr;
    return seen && seen->birth == birth;
  };
  auto meant_another = [&](const Life& life, ColumnIndex column) {  // who is gone
    Version written = life.columns.of(column);
    if (!of_one_who_is_gone(written.origin)) return false;
    if (const Told* told = life.told_of(column)) return told->birth != birth;
    const Life* seen = at ? life_seen(at->state, written, false) : nullptr;
    return seen && seen->birth != birth;
  };
  for (auto& [id, child] : core_.tables())
    for (const Reference& reference : child.references) {
      if (reference.to != table.id) continue;
      auto note = [&, id = id](Entry& entry, const Life& life) {
        Version written = life.columns.of(reference.column);
        const Meant* known = life.meaning(reference.column);
        bool meant = !known || (known->number == Meant::known_elsewhere && showed(known->birth));
        bool over = !life.removed.settled() || life.birth < state_.truncated(id);
        if (over || !mine(written.origin) || written < birth || !meant) return;
        if (writer != 0 ? written.origin != writer : meant_another(life, reference.column)) return;
        Life& here = *entry.state.find(life.birth);
        core_.window.touch(entry);
        std::erase_if(here.meant, [&](const Meant& one) { return &one == known; });
        mean(entry, here, reference.column, number, birth);
        tell(entry);
      };
      for (Entry* entry : shown_referring(child, reference.column, number))
        if (const Life* life = entry->state.in_table(); life && !life->side) note(*entry, *life);
      for (auto& [entry, referring] : waiting_referring(child, reference.column, number))
        if (const Life* life = entry->state.find(referring)) note(*entry, *life);
    }
}

// Whose row in the table has this number there.
std::vector<Entry*> Applier::shown_referring(const Table& child, ColumnIndex column, std::int64_t number) {
  std::vector<Key> keys = core_.store.find_referencing(child, column, number);
  std::sort(keys.begin(), keys.end());
  std::vector<KeyView> views(keys.begin(), keys.end());
  core_.store.find_rows(child, views, found_);
  std::vector<Entry*> entries;
  for (std::size_t i = 0; i < keys.size(); i++) {
    if (found_[i].newer_than_log) throw Raced{};  // who wrote it, and what it meant, the log says
    if (Entry* entry = core_.window.find(child.id, keys[i])) entries.push_back(entry);
  }
  return entries;
}

// Lives that have this number there and are not the table's row: they wait, or have moved in this transaction.
const Applier::LivesOfEntries& Applier::waiting_referring(const Table& child, ColumnIndex column, std::int64_t number) {
  auto [at, first] = waiting_referring_.try_emplace({child.id, column});
  auto& by_number = at->second;
  auto add = [&](Entry* entry, Version birth, const Value& value) {
    if (value.kind == ValueKind::integer) by_number[value.integer].emplace_back(entry, birth);
  };
  if (first) {
    EntrySet sides = core_.sides();
    sides.insert(core_.dirty_sides().begin(), core_.dirty_sides().end());
    for (Entry* entry : sides)
      for (const Life& life : entry->state.lives)
        if (entry->table == child.id && life.side) add(entry, life.birth, life.side->values[column]);
    for (const Moved& moved : moved_) {
      Entry* entry = moved.table == child.id ? core_.window.find(child.id, moved.key) : nullptr;
      if (entry && !moved.values.empty()) add(entry, moved.birth, moved.values[column]);
    }
  }
  return by_number[number];
}

// What the reference means is known here: it was written here, or its row was edited by somebody who left it as it was.
bool Applier::speaks_for(const Table& table, const Life& life, ColumnIndex column) const {
  const Meant* note = life.meaning(column);
  if (note && note->number == Meant::known_elsewhere) return false;
  return mine(life.columns.of(column).origin) || (table.merge == MergePolicy::row && note);
}

// Settled: there is none of which anything is unsettled. What gave way in this transaction was meant until now.
Version Applier::life_under(TableId table, const Value& number) const {
  Row values = {number};
  Key key = encode_key(values);
  for (const Left& one : left_)
    if (one.table == table && one.key == key) return one.birth;
  const Entry* entry = core_.window.find(table, key);
  const Life* shown = entry ? entry->state.in_table() : nullptr;
  return shown ? shown->birth : Version{};
}

// Symptom: a reference named another row than its writer meant. Mechanism: its own row had been moved by somebody who
// had heard of the reference, and only then the row that it named gave way to an older one. The reference had come
// along as the mover's, who had seen only the older row, and its writer did not take it along any more. Mend: as long
// as the row that it names may still give way, whoever wrote it goes on being its writer under the new number.
bool Applier::may_give_way(const Table& table, ColumnIndex column, const Value& number, Version written) const {
  if (number.kind != ValueKind::integer) return false;
  return std::any_of(table.references.begin(), table.references.end(), [&](const Reference& reference) {
    const Table* parent = core_.table(reference.to);
    if (reference.column != column || !parent || !parent->integer_key) return false;
    Version shown = life_under(reference.to, number);
    return parent->on_key_collision == KeyCollision::renumber && !shown.settled() && shown < written;
  });
}

// Symptom: a reference named another row than its writer meant. Mechanism: where the later edit of a row counts as a
// whole, somebody edited another column of the row that refers; so the reference counted as his, who had another row
// under that number, and its writer did not take it along any more. Mend: whoever knows what a reference means goes on
// knowing it as long as those who edit its row have seen it and leave it as it is.
void Applier::keep_meant(const Table& table, const Item& item, const Entry* before, RowState& after,
                         RowView table_row) {
  if (table.merge != MergePolicy::row || item.own || !before) return;
  for (const Life& known : before->state.lives) {
    Life* life = after.find(known.birth);
    if (!life || life->dead(state_.truncated(table.id))) continue;
    Row values = life_values(table, known, known.in_table ? table_row : RowView());
    for (const Reference& reference : table.references) {
      ColumnIndex column = reference.column;
      const Table* parent = core_.table(reference.to);
      Version written = life->columns.of(column), ours = known.columns.of(column);
      const Value& number = values[column];
      if (written == ours || number.kind != ValueKind::integer || !parent || !parent->keeps_lives_apart()) continue;
      // Not by its birth, which may have settled on one of the two sides.
      auto incoming = std::find_if(item.lives.begin(), item.lives.end(), [&](const IncomingLife& one) {
        return one.has_values && one.columns.of(column) == written;
      });
      if (incoming == item.lives.end()) continue;
      const Meant* note = known.meaning(column);
      Version meant = note ? note->birth : life_under(reference.to, number);
      bool left_alone = speaks_for(table, known, column) && had_seen(table, written, ours) &&
                        same_value(number, incoming->values[column]);
      std::erase_if(life->meant, [&](const Meant& one) { return one.column == column; });
      if (!left_alone || meant.settled()) continue;
      Hlc since = std::max(core_.store.clock().tick(), written.hlc);
      life->meant.push_back({column, number.integer, meant, since});
      newest_ = std::max(newest_, since);
    }
  }
}

bool Applier::is_moving(TableId table, const Key& key, Version birth) const {
  auto own = own_.find({table, key});
  if (own == own_.end()) return false;
  return std::any_of(own->second.item.lives.begin(), own->second.item.lives.end(),
                     [&](const IncomingLife& life) { return life.birth == birth && life.moved; });
}

// Symptom: where numbers of parents and of their children collided, the children ended under the parents of other
// servers. Mechanism: a reference was made to follow on the child's life under its old number, which was itself about
// to move, or had moved. Mend: what a reference means goes along to the life that is moved to, and follows from there.
void Applier::hand_on_meant(const std::vector<Moving>& moving, Version version) {
  for (const Moving& one : moving) {
    const Entry* before = core_.window.find(one.table, one.from);
    const Life* from = before ? before->state.find(one.from_birth) : nullptr;
    if (!from || from->meant.empty()) continue;
    std::vector<Meant> meant = from->meant;
    ColumnVersions columns = from->columns;
    Entry* entry = core_.window.find(one.table, one.to);
    Life* to = entry ? entry->state.find(one.to_birth) : nullptr;
    if (!to || to->dead(state_.truncated(one.table))) continue;
    for (const Meant& note : meant) {
      if (!note.holds(columns) || to->columns.of(note.column) != version) continue;
      mean(*entry, *to, note.column, note.number, note.birth);
      Row number = {Value::of_integer(note.number)};
      for (const Reference& reference : core_.table(one.table)->references)
        if (reference.column == note.column) moved_.push_back({reference.to, encode_key(number), note.birth, {}});
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
      if (reference.to != table.id || (child.keeps_lives_apart() && child.key[0] == reference.column)) continue;
      bool in_key = std::find(child.key.begin(), child.key.end(), reference.column) != child.key.end();
      core_.window.for_each(id, [&, id = id, &child = child](Entry& entry) {
        for (Life& life : entry.state.lives) {
          if (life.moved || is_moving(id, *entry.key, life.birth)) continue;
          auto meant = std::find_if(life.meant.begin(), life.meant.end(), [&](const Meant& one) {
            return one.is(reference.column, before, moved.birth) && one.holds(life.columns);
          });
          if (meant == life.meant.end()) continue;
          bool follows = speaks_for(child, life, reference.column);
          core_.window.touch(entry);
          life.meant.erase(meant);
          if (life.dead(state_.truncated(id)) || !follows) continue;
          if (in_key) {
            Key key = change_key(child, entry, life, reference.column, number);
            if (!shown) awaiting_.push_back({id, std::move(key), reference.column, number.integer, birth});
            continue;
          }
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

// A row that bears the number in its key gets another key with it: as an application would change it, it is removed,
// and made anew.
Key Applier::change_key(const Table& table, const Entry& entry, const Life& life, ColumnIndex column,
                        const Value& number) {
  OwnedRow row = core_.row_of(table, *entry.key);
  OwnedRow values(life_values(table, life, life.in_table ? row.view() : RowView()));
  values.set(column, number);
  Row key_values;
  for (ColumnIndex key_column : table.key) key_values.push_back(values[key_column]);
  Key to = encode_key(key_values);
  own_life(table, *entry.key, life.birth).removed = own_version();
  own_life(table, to, own_version()).columns.base = own_version();
  own_values(table, to, std::move(values), life.side ? life.side->types : std::vector<ColumnType>());
  return to;
}

// Symptom: a line ended under another order. Mechanism: its order had moved to a number that was taken as well, and
// moved on; the line was made anew under the first of the two, and what it meant was not noted. Mend: it is noted
// there.
void Applier::note_awaiting(const std::vector<Awaiting>& awaiting, Version version) {
  for (const Awaiting& one : awaiting) {
    Entry* entry = core_.window.find(one.table, one.key);
    Life* life = entry ? entry->state.find(version) : nullptr;
    if (life && !life->dead(state_.truncated(one.table))) mean(*entry, *life, one.column, one.number, one.meant);
  }
}

}  // namespace rowmesh
