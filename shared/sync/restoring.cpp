// restore(): what lost in a conflict is written back as a change of this node, which wins over what is here and travels
// to all.
#include "shared/codec/document.hpp"
#include "shared/sync/applier.hpp"
#include "shared/sync/lost_row.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t longest_replaced = 1000;  // of the values in the sentence about what was replaced

bool is_key(const Table& table, std::size_t column) {
  return std::find(table.key.begin(), table.key.end(), static_cast<ColumnIndex>(column)) != table.key.end();
}

bool same_life(Version lost, Version here, Hlc prune_horizon) {
  return lost == here || (here.settled() && lost.hlc <= prune_horizon);
}

// As far as this table has the columns still.
OwnedRow restorable(const Table& table, const LostRow& lost) {
  Row values(table.columns.size(), Value::of_omitted());
  for (std::size_t i = 0; i < values.size() && i < lost.values.size(); i++)
    if (!table.columns[i].dropped()) values[i] = lost.values[i];
  return OwnedRow(values);
}

}  // namespace

void Applier::restore(const LostRow& lost, const std::function<void(const std::string& done)>& last) {
  const Table* table = core_.table(lost.table);
  if (!table) throw NotRestored{"its table is not replicated here any more; call add_table first"};
  attempt([&] {
    begin_attempt();
    recheck_.insert(table->id);
    lock_tables();
    core_.window.begin_changes();
    std::string done = plan_restore(*table, lost);
    settle_all();
    const Entry* entry = core_.window.find(table->id, lost.key);
    const Life* shown =
        entry ? shown_life(entry->state, table->keeps_lives_apart(), state_.truncated(table->id)) : nullptr;
    if (shown && shown->side && shown->side->kind != SideKind::merged)
      throw NotRestored{shown->side->kind == SideKind::hidden
                            ? "another row has one of its values that must be unique; change that row first"
                            : "this database refuses it: " + shown->side->reason};
    last(done);
    finish();
  });
}

// Leaves to settle_all() what is to be written. Returns what that is, as a sentence.
std::string Applier::plan_restore(const Table& table, const LostRow& lost) {
  KeyView key = lost.key;
  std::vector<FoundRow> found;
  core_.store.find_rows(table, {&key, 1}, found);
  if (found[0].newer_than_log) throw Raced{};
  const Entry* entry = core_.window.find(table.id, lost.key);
  bool known = entry && !entry->state.lives.empty();
  if (known)
    for (const Life& life : entry->state.lives)
      if (life.side && life.side->kind != SideKind::merged)
        throw NotRestored{"a change of this row waits already (" + life.side->reason + "); settle that first"};
  const Life* shown = known ? shown_life(entry->state, table.keeps_lives_apart(), state_.truncated(table.id)) : nullptr;
  OwnedRow values = restorable(table, lost);
  if (!shown && (known || !found[0].exists)) {
    require_parents(table, lost.key, values.view());
    Row key_values = decode_key(lost.key);
    for (std::size_t i = 0; i < table.key.size() && i < key_values.size(); i++)
      if (values[table.key[i]].kind == ValueKind::omitted) values.set(table.key[i], key_values[i]);
    own_life(table, lost.key, own_version()).columns.base = own_version();
    own_.at({table.id, lost.key}).item.saw_all = true;
    own_values(table, lost.key, std::move(values), lost.types);
    return "restored as a new row";
  }
  Version birth = shown ? shown->birth : Version{};
  if (table.keeps_lives_apart() && !same_life(lost.birth, birth, state_.prune_horizon))
    throw NotRestored{"another row has the number " + key_to_text(lost.key) +
                      " by now; insert the values shown here under a number of their own"};
  ColumnSet columns;
  for (std::size_t i = 0; i < values.size(); i++) {
    bool lost_it = lost.columns.has(static_cast<ColumnIndex>(i)) && !is_key(table, i);
    if (lost_it && values[i].kind != ValueKind::omitted)
      columns.add(static_cast<ColumnIndex>(i));
    else
      values.set(i, Value::of_omitted());
  }
  if (columns.empty()) throw NotRestored{"the table has none of these columns any more"};
  require_parents(table, lost.key, values.view());
  std::string replaced;
  core_.store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
    replaced = row_to_json(table, row, &columns);
    return true;
  });
  IncomingLife& life = own_life(table, lost.key, birth);
  own_.at({table.id, lost.key}).item.saw_all = true;
  for (std::size_t i = 0; i < values.size(); i++)
    if (columns.has(static_cast<ColumnIndex>(i))) life.columns.set(static_cast<ColumnIndex>(i), own_version());
  own_values(table, lost.key, std::move(values), lost.types);
  return replaced.empty() || replaced.size() > longest_replaced ? "restored" : "restored; it replaced " + replaced;
}

// Rows that are applied are not checked for what they refer to, since it may come later. This one comes alone.
void Applier::require_parents(const Table& table, KeyView key, RowView values) {
  for (const Reference& reference : table.references) {
    const Table* parent = core_.table(reference.to);
    const Value& number = values[reference.column];
    if (!parent || number.kind != ValueKind::integer) continue;
    Key wanted = encode_key({&number, 1});
    if (parent->id == table.id && wanted == key) continue;
    KeyView view = wanted;
    bool there = false;
    core_.store.read_rows(*parent, {&view, 1}, [&](std::size_t, KeyView, RowView) { return there = true; });
    if (!there)
      throw NotRestored{"it refers to row " + std::to_string(number.integer) + " of " + parent->local_name +
                        ", which is gone; restore that one first"};
  }
}

void Node::Impl::restore(const Request& request) {
  std::int64_t conflict = std::atoll(request.argument.c_str());
  auto answer = [&](const std::string& text) {
    core.store.note_restored(conflict, text);
    core.store.finish_request(request.id);
  };
  try {
    std::string image = core.store.conflict_image(conflict);
    if (image.empty()) throw NotRestored{"it is not in the list any more"};
    Applier applier(core);
    applier.restore(unpack_lost(image), answer);
  } catch (const NotRestored& refused) {
    in_transaction([&] { answer("not restored: " + refused.why); });
  }
}

}  // namespace rowmesh
