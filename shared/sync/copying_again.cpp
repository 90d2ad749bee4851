// Copies into tables that have rows: of a server that streams already, or of two databases that were filled before they
// met. What is on its way must neither be taken for a difference nor be undone by a piece of before.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t look_again_ms = 200;
}  // namespace

// Symptom: a row that had just been written here was gone everywhere after a copy. Mechanism: it had settled while the
// copy waited, so nothing told it from a row of before, and it was in no piece. Mend: who takes a copy confirms nothing
// more until it is done, so what was written meanwhile, by whomever, is known as such.
// Symptom: a copy was refused between two servers that did not differ. Mechanism: its answer was there before the
// worker looked again, and so it did not count as begun yet. Mend: it stands still from the first question on.
void Node::Impl::stand_still_while_copying(bool begins) {
  core.takes_copy = !copies.empty() && (begins || copies.front().begun) && copies.front().pull &&
                    !copies.front().checks() && !copies.front().adopt && core.state.joined;
}

// A row that the source lacks may have been removed there by what has not come here yet.
bool Node::Impl::lacks_what_source_had(const Copy& copy) const {
  if (!core.takes_copy || !copy.given_up.empty() || !copy.session.compares_first()) return false;
  return std::any_of(copy.reached.begin(), copy.reached.end(), [&](auto& one) {
    auto& [origin, position] = one;
    if (origin == core.state.self || core.state.closed(origin)) return false;
    auto here = core.state.applied.find(origin);
    return here == core.state.applied.end() || here->second.number < position.number;
  });
}

// Changes are taken while it waits.
void Node::Impl::end_copied_table(Copy& copy) {
  if (lacks_what_source_had(copy)) {
    // Symptom: a copy waited for ever. Mechanism: its database had been put back to a state of before, and what it
    // waited for was forgotten at the source, which said that a copy is needed. Mend: another one is.
    if (std::any_of(peers.begin(), peers.end(), [](auto& one) { return one.second.told_to_copy; }))
      return end_copy("what is missing here is forgotten there: copy with on_existing => 'source'");
    copy.pause_until_ms = core.now_ms() + look_again_ms;
    next_wake_ms = std::min(next_wake_ms, copy.pause_until_ms);
    return;
  }
  copy.read = false;
  end_table(copy);
  if (copy.tables.empty()) end_copy("");
}

// Rows that only the target has, and had before: with 'source' they go, 'newer' ships them, each as a change made here;
// 'fail' says so.
void Node::Impl::judge_extra_rows(Copy& copy, const Table& table) {
  in_transaction([&] {
    std::vector<Key> extra;
    core.store.scan_rows(table, {}, [&](std::size_t, KeyView key, RowView) {
      const Entry* known = core.window.find(table.id, key);
      bool on_its_way = known && known->state.newest().hlc > copy.source_horizon;
      if (!on_its_way && !copy.session.seen.contains(Key(key))) extra.emplace_back(key);
      return true;
    });
    if (extra.empty()) return;
    if (copy.mode == CopyMode::fail)
      throw Refusal{"differs", "table '" + table.wire_name + "' has rows here that the source lacks, such as " +
                                   key_to_text(extra.front()) + "; say on_existing => 'source' or 'newer'"};
    if (copy.mode == CopyMode::newer) return ship_anew(table, extra);
    remove_here(table, std::move(extra));
  });
}

void Node::Impl::ship_anew(const Table& table, const std::vector<Key>& extra) {
  for (const Key& key : extra) core.store.note_local(table, LogOp::update, key, ColumnSet::all());
}

// As a change made here.
void Node::Impl::remove_here(const Table& table, std::vector<Key> extra) {
  if (extra.empty()) return;
  std::sort(extra.begin(), extra.end());
  std::vector<KeyView> keys(extra.begin(), extra.end());
  std::vector<FoundRow> found;
  core.store.find_rows(table, keys, found);
  std::vector<RowWrite> removals;
  for (std::size_t i = 0; i < keys.size(); i++)
    if (found[i].exists && !found[i].newer_than_log)
      removals.push_back({WriteKind::remove, keys[i], found[i].handle, {}, nullptr});
  std::vector<WriteResult> results;
  core.store.write_rows(table, {}, removals, results);
  for (const RowWrite& removal : removals) core.store.note_local(table, LogOp::remove, removal.key, {});
}

}  // namespace rowmesh
