// What whoever takes a copy counts as settled, forgets or gives up, and what it hands on to others. The copy itself:
// copying.cpp.
#include <algorithm>

#include "shared/sync/node_impl.hpp"

namespace rowmesh {

// Symptom: what was written to a new node before its copy was gone without a trace, and what it replaced was in no
// list. Mechanism: its versions were below what the others have forgotten, since it was written before they met, or its
// clock is behind; so it settled here with the source's rows, which nobody told apart from it. Mend: as with a node
// that comes back, it is given anew above the source's clock, if nobody has any of it yet.
void Node::Impl::give_anew_what_nobody_has(const Copy& copy, const DocumentHeader& header) {
  if (copy.adopt || !copy.everything || copy.checks()) return;
  // Symptom: a row had two lives on all servers but a new one. Mechanism: alone until then it counted all as forgotten
  // up to its own time of day, so a row of the copy that is unsettled at the source settled at once, and what came of
  // another life was taken for that row. Mend: what it forgot alone is in nobody's place; its G is the source's.
  if (!core.state.joined && core.state.rebased == 0 && header.prune_horizon < core.state.prune_horizon)
    in_transaction([&] {
      core.state.forgotten_alone(header.prune_horizon);
      // Others will tell of it, and it must be here, or below that.
      Hlc& newest = core.state.own_meta().newest;
      newest = std::min(newest, std::max(core.newest_own_up_to(~Hlc{0}), core.state.prune_horizon));
    });
  bool first = !core.state.joined && core.state.rebased == 0;
  if (!first && header.prune_horizon <= core.state.prune_horizon) return;
  core.rebase(header.hlc, core.state.joined ? perhaps_taken() : 0);
}

// What has settled at the source comes without versions, so it has to count as settled here as well: a life that
// somebody still names by its birth is the row that is here already. Who has no less than what all members have
// confirmed may say so at any time; who has nothing but the copy, as of its begin.
void Node::Impl::settle_as_source(const Copy& copy, const DocumentHeader& header) {
  Hlc horizon = header.prune_horizon;
  if (copy.adopt || horizon <= core.state.prune_horizon) return;
  bool confirmed = core.state.horizon(core.watermark) >= horizon;
  bool from_copy = copy.everything && !copy.checks() && (!core.state.joined || confirmed_by_our_members(header));
  if (!confirmed && !from_copy) return;
  // It keeps what its new member lacks, unless it has given that one up.
  if (!confirmed && !copy.start.empty())
    throw Refusal{"forgotten", "the source has forgotten changes since the copy began: copy again"};
  core.cut_alone(true);  // a position that nobody has
  Batch kept;
  in_transaction(
      [&] {
        // A server that was never met has confirmed nothing.
        keep_what_others_lack(horizon, confirmed && !core.hold_prune, kept);
        core.state.settle_up_to(horizon);
      },
      &kept);
}

// Symptom: two servers called each other's documents stale for ever. Mechanism: the one had copied from a third, which
// had been alone until then and so had forgotten all up to its own time of day, and took that over; the other one had
// not confirmed as much, and what was missing for that was refused as stale. Mend: what one of our members has not
// confirmed has not settled here.
bool Node::Impl::confirmed_by_our_members(const DocumentHeader& header) const {
  return std::all_of(core.state.members.begin(), core.state.members.end(), [&](auto& one) {
    if (one.first == core.state.self || one.first == header.sender || one.second.away()) return true;
    auto told = header.metas.find(one.first);
    return told != header.metas.end() && told->second.position != 0 && told->second.horizon >= header.prune_horizon;
  });
}

// Symptom: a row stayed at a new node. Mechanism: one of its servers may have got the row before its copy, so it could
// not be given anew; then it settled with the source's rows, before the others had it. Mend: it is handed on once more,
// under a position of now, and is not forgotten before that is everywhere. Those who lack it take it, for it is newer
// than what had come to them of its writer (H17).
// `confirmed`: what others wrote is here, and everywhere.
void Node::Impl::keep_what_others_lack(Hlc horizon, bool confirmed, Batch& kept) {
  Hlc ours_came = core.state.received_of_us();
  auto settles = [&](Version version) {
    bool everywhere = confirmed && (version.origin != core.state.self || version.hlc <= ours_came);
    return version.hlc > core.state.prune_horizon && version.hlc <= horizon && !everywhere;
  };
  for (auto& [id, table] : core.tables())
    core.window.for_each(id, [&](Entry& entry) {
      bool some = false;
      for (const Life& life : entry.state.lives)
        life.for_each_version([&](Version version) { some |= settles(version); });
      if (some) kept.entries.push_back(&entry);
    });
  for (auto& [id, version] : core.state.truncates)
    if (settles(version)) core.state.late_truncates[id] = core.store.clock().tick();
  if (kept.entries.empty()) return;
  kept.ends = {{core.state.self, core.state.applied[core.state.self].number}};
  kept.newest = core.store.clock().tick();
  kept.late = true;
}

// What was written here (or taken from a server behind us) and handed on to nobody before the others forgot everything
// up to `horizon` has nothing to be merged with any more: it is listed with its rows, which the copy then overwrites
// (model, H16 f).
void Node::Impl::give_up_old_changes(Hlc horizon, Peer& peer) {
  std::map<Origin, PositionNumber> lacking;
  for (auto& [origin, position] : core.state.applied) {
    auto there = known(peer).applied.find(origin);
    PositionNumber confirmed = there == known(peer).applied.end() ? 0 : there->second.number;
    if (position.number > confirmed) lacking[origin] = confirmed;
  }
  in_transaction([&] {
    std::uint64_t listed = 0;
    for (const Entry* entry : core.window.gather(lacking)) {
      const Table* table = core.table(entry->table);
      Version newest = entry->state.newest();
      if (!table || !lacking.contains(newest.origin) || newest.hlc > horizon) continue;
      Loss loss{"update_origin_differs", "copied_over", ColumnSet::all(), {}, {}, {}, newest};
      if (const Life* here = entry->state.in_table()) loss.birth = here->birth;
      KeyView key = *entry->key;
      loss.loser = core.row_of(*table, key);
      core.store.add_conflict(conflict_row(*table, key, loss, core.now_ms()));
      listed++;
    }
    core.counters.conflicts += listed;
    if (listed > 0)
      core.log('w',
               std::to_string(listed) + " changes that were never sent are too old now and are listed as conflicts");
    core.state.settle_up_to(horizon);
  });
  // Nobody else is to get what was given up, so that it is gone makes nobody need a copy from here.
  auto pruned = core.state.pruned;
  core.hold_prune = false;
  core.prune();
  core.state.pruned = std::move(pruned);
  decide_what_is_kept();
}

// Rows of the source that have settled are younger than a truncate that has settled there.
void Node::Impl::forget_truncates(Hlc horizon) {
  in_transaction([&] {
    std::erase_if(core.state.truncates, [&](auto& one) {
      bool old = one.second.hlc <= horizon;
      if (old) core.window.drop_born_before(one.first, one.second);
      return old;
    });
  });
}

// Of an incarnation that has not spoken yet all counts as received that everybody has forgotten.
void Node::Impl::settle_for_who_is_awaited(Hlc horizon) {
  in_transaction([&] {
    for (auto& [origin, meta] : core.state.metas) {
      if (origin == core.state.self || meta.position != 0) continue;
      meta.watermark = std::max(meta.watermark, horizon);
      meta.horizon = std::max(meta.horizon, horizon);
    }
  });
}

// Also where changes are still to come that the source keeps: what has come there and is settled is in the rows, and
// must not be taken for something that was never here.
void Node::Impl::came_with(const Copy& copy) {
  for (auto& [origin, there] : copy.start_metas) {
    auto meta = core.state.metas.find(origin);
    if (origin == core.state.self || meta == core.state.metas.end() || there.position == 0) continue;
    meta->second.watermark = std::max(meta->second.watermark, std::min(there.watermark, copy.start_horizon.hlc));
  }
}

// Symptom: a row differed on a new server. Mechanism: its first copy was of a server that was gone for good before all
// pieces had come, and so before that one had shipped a change to anybody else; the next one was of another server.
// Mend: what is here of others is named in the log once more, as of who is back with another identity.
std::vector<const Entry*> Node::Impl::foreign_entries() {
  std::vector<const Entry*> found;
  for (auto& [id, table] : core.tables())
    core.window.for_each(id, [&](Entry& entry) {
      bool foreign = false;
      for (const Life& life : entry.state.lives)
        life.for_each_version([&](Version version) {
          foreign |= version.origin != core.state.self && version.hlc > core.state.prune_horizon;
        });
      if (foreign) found.push_back(&entry);
    });
  return found;
}

// What had come to the source when the copy began has come with it.
void Node::Impl::counts_as_reached(const Copy& copy, Batch& copied) {
  for (auto& [origin, position] : copy.start) {
    if (origin == core.state.self || !copy.everything || copy.checks()) continue;
    // Where the source can still send what comes after the position that was reached here, it must: a row that was
    // removed there meanwhile is in no piece, and other tables were not copied at that moment. What is sent twice does
    // no harm. (A new node had none of its rows.)
    auto reached = core.state.applied.find(origin);
    auto gone = copy.forgotten.find(origin);
    bool reachable = gone == copy.forgotten.end() ||
                     (reached != core.state.applied.end() && reached->second.number >= gone->second.number);
    if (reached != core.state.applied.end() && reachable && core.state.joined) continue;
    Position& applied = core.state.applied[origin];
    if (position.number > applied.number) {
      applied = position;
      copied.ends.emplace_back(origin, position.number);
    }
    if (auto meta = copy.start_metas.find(origin); meta != copy.start_metas.end())
      core.state.take_meta(origin, meta->second);
  }
  if (copied.ends.empty()) return;
  park_as_source(copy);
  // As with a document: the source's changes may have left no row, and it waits for us to confirm them.
  copied.newest = copy.newest;
  hand_on_copied(copied, nullptr, copy.start_horizon.hlc);
}

// What the source could not take itself is not in its rows either, so here as well it is to come from somebody else.
void Node::Impl::park_as_source(const Copy& copy) {
  for (auto& [name, covered] : copy.start_parked) {
    if (!core.table_by_wire_name(name)) continue;
    auto [parked, added] = core.state.parked.try_emplace(name);
    ParkedTable& table = parked->second;
    if (!added) continue;
    table.reason = "the server that was copied from could not take them itself";
    table.fits = true;
    table.covered = covered;
    table.given_up = copy.start_given_up.contains(name);
    table.covered[copy.start_horizon.origin] = copy.start.at(copy.start_horizon.origin);
    table.until = copy.start;
    table.until.erase(core.state.self);
    table.since_ms = core.now_ms();
  }
}

// Those behind us get from here what is not settled of the changes that we have only as rows of the copy. Who lacks
// something settled needs a copy itself.
// Symptom: a row was missing on one of three servers. Mechanism: the one in the middle had copied from that one, which
// had been alone, and taken over its G, which was past that row of the third one; then it copied from the third, and
// told that it had all of that one's, but handed on only what was above G. Mend: what has not settled at the source is
// handed on as what comes late (H17).
void Node::Impl::hand_on_copied(Batch& batch, const Table* only, Hlc settled_there) {
  if (!only)
    for (auto& [origin, position] : batch.ends)
      core.state.pruned[origin] = std::max(core.state.pruned[origin], position - 1);
  for (auto& [id, table] : core.tables())
    if (!only || id == only->id)
      core.window.for_each(id, [&](Entry& entry) {
        Hlc newest = entry.state.newest().hlc;
        if (newest <= std::min(core.state.prune_horizon, settled_there)) return;
        batch.entries.push_back(&entry);
        batch.late |= newest <= core.state.prune_horizon;
        batch.newest = std::max(batch.newest, newest);
      });
  if (batch.late) batch.newest = std::max(batch.newest, core.store.clock().tick());
  if (batch.newest <= core.state.prune_horizon) batch = {};
}

}  // namespace rowmesh
