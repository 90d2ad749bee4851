// Rule 5 (docs/model.md): two things got one number. The older keeps it; the younger is moved to a free one by the node
// that made it, with what refers to it; every other node carries over what it had written to the moved life itself. All
// of it are changes of this node with one version, made as if they had come in a document, and named in the log so that
// the next position ships them.
#include <algorithm>
#include <utility>

#include "shared/sync/applier.hpp"

namespace rowmesh {

bool Applier::mine(Origin origin) const {
  if (origin == state_.self) return true;
  auto member = state_.members.find(origin);
  if (member == state_.members.end() || !member->second.away()) return false;
  if (member->second.node == core_.identity.node) return true;
  // It goes on under another origin, and moves what it left under this one.
  for (auto& [other, known] : state_.members)
    if (!known.away() && known.node == member->second.node) return false;
  // Gone for good: what it left under a number of two is moved by the lowest of those that remain.
  for (auto& [other, known] : state_.members)
    if (!known.away()) return other == state_.self;
  return false;
}

Version Applier::own_version() {
  if (own_version_.settled()) {
    core_.store.clock().observe(header_.hlc);
    own_version_ = {core_.store.clock().tick(), state_.self};
    newest_ = std::max(newest_, own_version_.hlc);
  }
  return own_version_;
}

// Above all that any life here has, the dead ones included (model, H12).
std::int64_t Applier::next_key(const Table& table) {
  auto [last, first] = last_key_.try_emplace(table.id, 0);
  if (first) {
    const Key* highest = nullptr;
    core_.window.for_each(table.id, [&](Entry& entry) {
      if (!highest || *entry.key > *highest) highest = entry.key;
    });
    if (highest) last->second = decode_key(*highest)[0].integer;
  }
  last->second = std::max(last->second + 1, core_.store.next_free_key(table));
  return last->second;
}

IncomingLife& Applier::own_life(const Table& table, const Key& key, Version birth) {
  OwnItem& own = own_[{table.id, key}];
  own.item.key = key;
  own.item.own = true;
  for (IncomingLife& life : own.item.lives)
    if (life.birth == birth) return life;
  own.item.lives.emplace_back().birth = birth;
  return own.item.lives.back();
}

void Applier::own_values(const Table& table, const Key& key, OwnedRow values, std::vector<ColumnType> types) {
  OwnItem& own = own_.at({table.id, key});
  own.values = std::move(values);
  own.types = std::move(types);
}

// The table's row is another life's from now on, or nobody's.
void Applier::leave_table(const Table& table, Entry& entry, const Life* next) {
  const Life* before = entry.state.in_table();
  if (before && before != next && table.keeps_lives_apart()) keys_changed_ = true;
  if (before && before != next && table.keeps_lives_apart() && !before->dead(state_.truncated(table.id)))
    left_.push_back({table.id, *entry.key, before->birth});
  entry.state.set_in_table(next);
}

void Applier::note_moves(const Table& table, const Item& item, const Entry* before, const RowState& after,
                         RowView table_row) {
  if (!table.keeps_lives_apart()) return;
  for (const Life& life : after.lives) {
    const Life* known = before ? before->state.find(life.birth) : nullptr;
    if (auto awaited = core_.awaited_moves.find({table.id, item.key, life.birth});
        !known && awaited != core_.awaited_moves.end()) {
      arrived_.insert(awaited->first);
      for (const AwaitedMove& move : awaited->second) moved_.push_back({table.id, move.key, move.birth, move.values});
    }
    if (!life.moved) continue;
    moved_rows_[{table.id, life.moved->to_key}].insert(item.key);
    note_moved_twice(table, item, known, life);
    if (known && known->moved) continue;
    keys_changed_ = true;
    Row values = known ? life_values(table, *known, known->in_table ? table_row : RowView()) : Row();
    if (known && known->in_table) left_.push_back({table.id, item.key, life.birth});
    moved_.push_back({table.id, item.key, life.birth, OwnedRow(values)});
  }
}

// True: something was changed, so that there may be more to do.
bool Applier::settle_keys() {
  waiting_referring_.clear();
  find_late_references();
  join_moved_twice();
  EntrySet collided;
  for (; keys_settled_ < touched_.size(); keys_settled_++)
    if (touched_[keys_settled_]->state.lives.size() > 1) collided.insert(touched_[keys_settled_]);
  std::vector<Entry*> entries(collided.begin(), collided.end());
  std::sort(entries.begin(), entries.end(), [](const Entry* left, const Entry* right) {
    return left->table != right->table ? left->table < right->table : *left->key < *right->key;
  });
  std::vector<Left> left = std::move(left_);
  left_.clear();
  for (const Left& one : left)
    if (const Table* table = core_.table(one.table)) remember_meant(*table, one.key, one.birth);
  for (Entry* entry : entries) {
    const Table* table = core_.table(entry->table);
    if (table && table->integer_key && table->on_key_collision == KeyCollision::renumber) move_younger(*table, *entry);
  }
  std::vector<Moved> moved = std::move(moved_);
  moved_.clear();
  for (const Moved& one : moved) follow(one);
  if (own_.empty()) return false;
  Version version = own_version_;
  carry_out_own();
  hand_on_meant(std::exchange(moving_, {}), version);
  note_awaiting(std::exchange(awaiting_, {}), version);
  own_version_ = {};  // a reference may follow its row once more in the next round, and of equal versions none wins
  return true;
}

void Applier::move_younger(const Table& table, Entry& entry) {
  Version truncated = state_.truncated(table.id);
  const Life* oldest = shown_life(entry.state, true, truncated);
  // What goes to where its other move has gone leaves the number (join_moved_twice): then it is looked at once more.
  if (std::any_of(entry.state.lives.begin(), entry.state.lives.end(),
                  [&](const Life& life) { return is_moving(table.id, *entry.key, life.birth); }))
    return;
  for (const Life& life : entry.state.lives) {
    if (&life == oldest || life.dead(truncated) || !mine(life.birth.origin) || !life.side) continue;
    // Whoever made it and is gone had not seen the other row: it would have moved its own. So its references mean it.
    if (life.birth.origin != state_.self) {
      remember_meant(table, *entry.key, life.birth, life.birth.origin);
      note_references_of(entry, life);
    }
    Version version = own_version();
    std::int64_t number = next_key(table);
    Row key_values = {Value::of_integer(number)};
    Key to = encode_key(key_values);
    IncomingLife& leaving = own_life(table, *entry.key, life.birth);
    leaving.moved = std::make_unique<Move>(Move{version, to, version, life.columns});
    leaving.columns = life.columns;
    OwnedRow values = life.side->values;
    Loss loss{"insert_exists", "renumbered", ColumnSet::all(), life.side->values, {}, life.newest(), version};
    values.set(table.key[0], key_values[0]);
    loss.winner = values;
    list(table, *entry.key, loss);
    moving_.push_back({table.id, *entry.key, to, life.birth, version});
    own_life(table, to, version).columns.base = version;
    own_values(table, to, std::move(values), life.side->types);
  }
}

void Applier::follow(const Moved& moved) {
  const Table& table = *core_.table(moved.table);
  const Entry* from_entry = core_.window.find(moved.table, moved.key);
  const Life* from = from_entry ? from_entry->state.find(moved.birth) : nullptr;
  std::unique_ptr<Move> planned;  // this node's own, not carried out yet
  if (auto own = own_.find({moved.table, moved.key}); own != own_.end())
    for (IncomingLife& life : own->second.item.lives)
      if (life.birth == moved.birth && life.moved) planned = std::make_unique<Move>(*life.moved);
  const Move* move = planned ? planned.get() : from ? from->moved.get() : nullptr;
  if (!move) return;
  Key to = move->to_key;
  Version birth = move->to_birth;
  const Life* target = nullptr;
  for (;;) {
    const Entry* entry = core_.window.find(moved.table, to);
    target = entry ? entry->state.find(birth) : nullptr;
    if (entry && !target && birth.hlc <= state_.prune_horizon) target = entry->state.find(Version{});
    if (!target || !target->moved) break;
    to = target->moved->to_key;
    birth = target->moved->to_birth;
  }
  if (!target && !planned && birth.hlc > state_.prune_horizon)
    awaited_[{table.id, to, birth}].push_back({moved.key, moved.birth, moved.values});
  follow_references(table, moved, to, birth, planned || (target && target->in_table));
  if (from && target && !target->dead(state_.truncated(table.id))) carry(table, *from, moved, to, *target);
}

// What this node had written to the life, or that it had removed it or truncated the table, before it heard of the
// move. Symptom: a value was lost without a trace. Mechanism: what was carried over got a new version, and won over
// what others had written to the row under its new number meanwhile. Mend: it wins only over what is older than itself
// was.
void Applier::carry(const Table& table, const Life& from, const Moved& moved, const Key& to, const Life& target) {
  if (!from.moved) return;
  Version truncated = state_.truncated(table.id);
  bool removed = !from.removed.settled() && mine(from.removed.origin);
  if (removed || (from.birth < truncated && mine(truncated.origin))) {
    own_life(table, to, target.birth).removed = own_version();
    list_buried(table, to, target, !removed && from.applied_at > truncated.hlc);
    return;
  }
  if (moved.values.size() != table.columns.size()) return;
  Row values(table.columns.size(), Value::of_omitted());
  ColumnSet columns;
  Loss replaced{"update_origin_differs", "apply_remote", {}, {}, {}, {}, {}};
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto column = static_cast<ColumnIndex>(i);
    Version written = from.columns.of(column), there = target.columns.of(column);
    if (!speaks_for(table, from, column) || column == table.key[0]) continue;
    // Whoever moved it may have known what we wrote, but not which row we meant.
    bool known = written <= from.moved->seen.of(column) && !from.meaning(column);
    if (known && (from.moved->version.origin == state_.self || !may_give_way(table, column, moved.values[i], written)))
      continue;
    bool edited = there != target.birth && !there.settled();
    if (edited && there > written) continue;  // the older one is in the list already
    // Nobody saw it who wrote to the old number, be it that both showed.
    if (edited) {
      replaced.columns.add(column);
      replaced.loser_version = std::max(replaced.loser_version, there);
    }
    values[i] = moved.values[i];
    columns.add(column);
  }
  if (columns.empty()) return;
  if (!replaced.columns.empty()) {
    replaced.winner = OwnedRow(values);
    replaced.winner_version = own_version();
    list_lost_life(table, to, target, std::move(replaced));
  }
  IncomingLife& life = own_life(table, to, target.birth);
  for (std::size_t i = 0; i < table.columns.size(); i++)
    if (columns.has(static_cast<ColumnIndex>(i))) life.columns.set(static_cast<ColumnIndex>(i), own_version());
  moving_.push_back({table.id, moved.key, to, from.birth, target.birth});
  own_values(table, to, OwnedRow(values), {});
}

// Whoever removed the row under its old number had not seen what others wrote under the new one; nor did it mean what
// it wrote there itself, where both numbers showed here for a while. `never_seen`: nor the row, for it truncated.
void Applier::list_buried(const Table& table, const Key& key, const Life& life, bool never_seen) {
  Loss loss{never_seen ? "update_truncated" : "update_deleted", "keep_delete", {}, {}, {}, {}, own_version()};
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    Version written = life.columns.of(static_cast<ColumnIndex>(i));
    if (!never_seen && (written == life.birth || written.settled())) continue;
    loss.columns.add(static_cast<ColumnIndex>(i));
    loss.loser_version = std::max(loss.loser_version, written);
  }
  if (loss.columns.empty()) return;
  list_lost_life(table, key, life, std::move(loss));
}

void Applier::list_lost_life(const Table& table, KeyView key, const Life& life, Loss loss) {
  OwnedRow row = core_.row_of(table, key);
  loss.loser = OwnedRow(life_values(table, life, life.in_table ? row.view() : RowView()));
  loss.birth = life.birth;
  if (life.side) loss.types = life.side->types;
  list(table, key, loss);
}

void Applier::carry_out_own() {
  auto all = std::move(own_);
  own_.clear();
  for (auto& [at, own] : all) {
    const Table& table = *core_.table(at.first);
    Mapping mapping;
    mapping.table = &table;
    mapping.types = own.types;
    if (mapping.types.empty())
      for (const Column& column : table.columns) mapping.types.push_back(column.type);
    mapping.complete = true;
    mapping.on_wire.assign(table.columns.size(), true);
    current_ = static_cast<std::uint32_t>(mappings_.size());
    mappings_.push_back(std::move(mapping));
    for (IncomingLife& life : own.item.lives) {
      if (life.dead() || own.values.empty()) continue;
      life.has_values = true;
      life.values = own.values.view();
    }
    items_.push_back(std::move(own.item));
    flush_batch();
    Entry& entry = core_.window.edit(at.first, at.second);
    touched_.push_back(&entry);
    core_.store.note_local(table, LogOp::update, at.second, {});
  }
}

}  // namespace rowmesh
