// A new incarnation of this database: after a restore, as a copy that becomes a node of its own, or because its clock
// ran ahead. What it wrote under the old origin and nobody else can have becomes the new one's; the rest stays the old
// one's, and comes from whoever has it.
#include <algorithm>
#include <utility>

#include "shared/codec/packed.hpp"
#include "shared/sync/core.hpp"

namespace rowmesh {
namespace {

constexpr Hlc late_versions = 1 << 16;  // a millisecond: for transactions that commit just then, and prepared ones

// A version of ours, or a moment by our clock. It goes back with the versions, or what is written from now on would
// count as written before it.
Hlc moved(Hlc moment, const Renewal& renewal) {
  if (!renewal.corrected || moment == Life::being_applied) return moment;
  bool stays = renewal.rebased() ? renewal.ahead.empty() || moment < renewal.ahead.front() : moment <= renewal.floor;
  if (stays) return moment;
  auto above = std::upper_bound(renewal.ahead.begin(), renewal.ahead.end(), moment);
  return renewal.floor + static_cast<Hlc>(above - renewal.ahead.begin());
}

Version renamed(Version version, const Renewal& renewal) {
  if (version.origin != renewal.before || version.hlc <= renewal.fork) return version;
  return {moved(version.hlc, renewal), renewal.after};
}

void rename(ColumnVersions& columns, const Renewal& renewal) {
  columns.base = renamed(columns.base, renewal);
  for (auto& [column, version] : columns.changed) version = renamed(version, renewal);
}

void rename(RowState& state, const Renewal& renewal) {
  for (Life& life : state.lives) {
    life.birth = renamed(life.birth, renewal);
    life.removed = renamed(life.removed, renewal);
    rename(life.columns, renewal);
    life.applied_at = moved(life.applied_at, renewal);
    life.shown_at = moved(life.shown_at, renewal);
    for (Meant& meant : life.meant) {
      meant.birth = renamed(meant.birth, renewal);
      meant.since = moved(meant.since, renewal);
    }
    for (Told& told : life.told) {
      told.birth = renamed(told.birth, renewal);
      told.written = renamed(told.written, renewal);
    }
    if (!life.moved) continue;
    life.moved->version = renamed(life.moved->version, renewal);
    life.moved->to_birth = renamed(life.moved->to_birth, renewal);
    rename(life.moved->seen, renewal);
  }
  state.order();
}

// Symptom: nothing that a server wrote was taken any more, for a row was said to live and had no values. Mechanism: a
// truncate of somebody else had killed the row; then what had been written here was given anew, and the row was
// younger than the truncate. Mend: its end is its own.
void end_what_was_truncated(RowState& state, const Renewal& renewal, Version truncated) {
  if (!renewal.rebased() || truncated.origin == renewal.after) return;
  for (Life& life : state.lives)
    if (life.birth.origin == renewal.before && life.birth < truncated && life.removed.settled())
      life.removed = truncated;
}

std::string packed(const Renewal& renewal, std::uint64_t part) {
  PackedWriter data;
  data.number(part);
  data.fixed64(renewal.before);
  data.fixed64(renewal.after);
  data.fixed64(renewal.fork);
  data.number(renewal.corrected);
  data.fixed64(renewal.floor);
  data.number(renewal.ahead.size());
  Hlc last = renewal.rebased() ? 0 : renewal.floor;
  for (Hlc version : renewal.ahead) data.number(version - std::exchange(last, version));
  data.number(renewal.reached);
  data.fixed64(renewal.forgotten);
  return data.take();
}

}  // namespace

// The side table has to be written anew: its rows outlive the record of the renewal in the history.
void Core::rename_window(const Renewal& renewal, std::int64_t sequence) {
  window.rename_batches(renewal.before, renewal.rebased() ? ~Hlc{0} : renewal.fork, renewal.reached, renewal.after,
                        [&](Hlc newest) { return moved(newest, renewal); });
  for (auto& [id, table] : tables_) {
    Version truncated = state.truncated(id);  // clang 14 lets no lambda capture id itself
    window.for_each(id, [&](Entry& entry) {
      bool side_is_newer = sequence != 0 && entry.side_stored && sequence <= static_cast<std::int64_t>(entry.mark);
      if (side_is_newer) return;
      end_what_was_truncated(entry.state, renewal, truncated);
      rename(entry.state, renewal);
      if (entry.side_stored) mark_side(entry);
    });
  }
}

void Core::take_renewal(PackedReader& in, std::int64_t sequence) {
  Renewal renewal;
  renewal.before = in.fixed64();
  renewal.after = in.fixed64();
  renewal.fork = in.fixed64();
  renewal.corrected = in.number() != 0;
  renewal.floor = in.fixed64();
  Hlc last = renewal.rebased() ? 0 : renewal.floor;
  for (std::uint64_t left = in.number(); left > 0; left--) renewal.ahead.push_back(last += in.number());
  if (!in.done()) renewal.reached = in.number();
  if (!in.done()) renewal.forgotten = in.fixed64();
  // Where G went back with the clock: what had been forgotten by then has no versions that could be given anew.
  if (renewal.forgotten > state.prune_horizon)
    window.prune(renewal.forgotten, state.pruned, {}, [sequence](const Entry& entry) {
      return entry.side_stored && sequence <= static_cast<std::int64_t>(entry.mark);
    });
  note_rebased(renewal);
  rename_window(renewal, sequence);
}

// What is known of the old origin: as far as its history is the one that others have too.
void Core::close_origin(NodeState& next, Renewal& renewal) {
  Position& reached = next.applied[renewal.before];
  OriginMeta& meta = next.metas[renewal.before];
  // Others take from it when this node had a server less.
  if (renewal.corrected) meta.watermark = std::min(meta.watermark, renewal.restart);
  for (auto& [id, version] : next.truncates) version = renamed(version, renewal);
  if (auto member = next.members.find(renewal.before); member != next.members.end())
    member->second.left = !renewal.before_goes_on || renewal.awaited != 0;
  // What this copy has read from the log since, the one that goes on has read as well, under positions of its own.
  if (renewal.before_goes_on && !next.found && start_.origin == renewal.before) {
    reached = start_.position;
    meta = start_.meta;
    renewal.reached = reached.number;
    return;
  }
  if (!renewal.corrected && next.found) {
    // Positions that were made since count something else in the other history, if it has them; so what is in them is
    // handed on under the new origin's, and comes back under the old one's from where it was found.
    reached = {next.found->position.number, 0};
    renewal.reached = reached.number;
    meta.position = reached.number;
    meta.watermark = std::min(meta.watermark, next.found->watermark);
    meta.newest = next.found->told;
    for (const Batch& batch : window.batches())
      if (batch.ends.size() == 1 && batch.ends[0].first == renewal.before && batch.ends[0].second <= reached.number)
        meta.newest = std::max(meta.newest, batch.newest);
    return;
  }
  bool wrote_on = false, one_history = renewal.corrected;
  PositionNumber upto = 0;
  Hlc newest = 0;
  if (auto pruned = next.pruned.find(renewal.before); pruned != next.pruned.end()) upto = pruned->second;
  for (const Batch& batch : window.batches()) {
    if (batch.ends.size() != 1 || batch.ends[0].first != renewal.before) continue;
    if (batch.newest > renewal.fork) {
      wrote_on = true;
      // Others may count the positions between as well, of heartbeats, in which nothing was. But where another history
      // of the origin goes on from what is here, these numbers are its own.
      if (one_history) upto = std::max(upto, batch.ends[0].second - 1);
      break;
    }
    upto = std::max(upto, batch.ends[0].second);
    newest = std::max(newest, batch.newest);
  }
  if (wrote_on || !one_history) {
    reached = {upto, 0};
    meta.position = reached.number;
    meta.watermark = std::min(meta.watermark, std::max(newest, next.prune_horizon));
    meta.newest = newest;
  }
}

// Symptom: a node stood still for as long as its clock had been ahead, after that was set right. Mechanism: it had been
// alone then and took all that it wrote for settled, so G was ahead of the time, and no version goes back below G; and
// what others sent was older than G. Mend: what was forgotten alone is in nobody's place, so G goes back with the
// clock.
void Core::take_back_horizon(NodeState& next, const Renewal& renewal) {
  if (renewal.horizon >= next.prune_horizon) return;
  next.prune_horizon = renewal.horizon;
  next.settled_elsewhere = std::min(next.settled_elsewhere, renewal.horizon);
  for (auto& [origin, meta] : next.metas) {
    if (origin != next.self && meta.position != 0) continue;
    meta.watermark = std::min(meta.watermark, renewal.floor);
    meta.horizon = std::min(meta.horizon, renewal.horizon);
    meta.newest = std::min(meta.newest, renewal.floor);
  }
}

void Core::renew(Renewal renewal, const Identity& becomes, std::int64_t request) {
  cut_alone();
  flush();
  StoreTransaction transaction(store, TransactionKind::write);
  if (store.log_must_be_read())
    throw Error(ErrorKind::transient, "busy", "local writers leave no gap; it will be tried again");
  if (renewal.corrected) {
    renewal.floor = std::max(renewal.floor, newest_of_others(renewal.horizon));
    renewal.forgotten = state.prune_horizon;
    renewal.ahead = own_versions_above(renewal.floor);
    watermark = std::min(watermark, renewal.floor);  // what is given anew is above it
  }
  renewal.restart = std::max(renewal.floor + renewal.ahead.size(), ms_to_hlc(now_ms()));
  Hlc confirmed = state.own_meta().horizon;
  NodeState next = state;
  if (renewal.corrected) take_back_horizon(next, renewal);
  close_origin(next, renewal);
  // What it wrote under the old origin is here, also where a table waits for what others wrote.
  for (auto& [name, parked] : next.parked) parked.covered[renewal.before] = next.applied[renewal.before];
  for (auto& [id, until] : next.late_truncates) until = moved(until, renewal);
  next.self = renewal.after;
  next.hlc = promise(renewal.corrected ? renewal.restart : store.clock().now());
  if (next.lost != 0 && !renewal.before_goes_on) next.missing[renewal.before] = next.lost;
  next.lost = 0;
  next.found.reset();
  next.confirmed = 0;
  next.removed_has = next.copied_up_to = copied_before = 0;
  // What the wrong time brought about is settled with `corrected`.
  next.ran_as_another = !renewal.corrected ? renewal.awaited != 0 : next.returning && next.ran_as_another;
  next.returning |= !renewal.corrected;
  if (!renewal.before_goes_on)
    for (auto& [origin, member] : next.members) member.left |= member.node == becomes.node;
  next.members[renewal.after] = Member{becomes.node, becomes.name, false};
  if (renewal.awaited != 0) {
    next.members[renewal.awaited] = Member{identity.node, identity.name, false};
    next.metas[renewal.awaited] = {0, next.prune_horizon, next.prune_horizon, {}};
  }
  next.applied[renewal.after] = {Window::renamed_position, services.random.next()};
  OriginMeta& meta = next.metas[renewal.after];
  meta = {Window::renamed_position, watermark, 0, {}, newest_renamed(renewal)};
  // Symptom: a row stood under two numbers. Mechanism: the first greeting of a new incarnation named no servers, so
  // those behind it counted as gone on its other sides, and what they moved there was moved in their place as well.
  // Mend: it has the servers that it had.
  meta.servers = next.metas[renewal.before].servers;
  meta.received = received();  // while a table waits, neither of the two says more than before
  meta.received[renewal.before] = next.metas[renewal.before].watermark;
  bool confirms_more = !lacks_changes() && !renewal.corrected;
  meta.horizon = confirms_more ? next.horizon(watermark) : std::min(confirmed, watermark);
  HistoryRecord record{0, HistoryKind::applied, {}, next.encode(next.hlc), packed(renewal, renewal_part)};
  last_sequence_ = store.append_history({&record, 1});
  store.set_identity({becomes.node, renewal.after, becomes.name});
  if (request != 0) store.finish_request(request);
  transaction.commit();
  state = std::move(next);
  note_rebased(renewal);
  rename_window(renewal, 0);
  if (renewal.corrected) {
    store.restart_clock(renewal.restart);  // not before: it must be ahead as long as anything is
    prune_needs_ = std::min(prune_needs_, state.prune_horizon);
    for (Hlc* moment : {&keys_changed_at, &owed_watermark, &awaited_elsewhere}) *moment = moved(*moment, renewal);
    for (auto& [entry, written] : late_references) written = moved(written, renewal);
    // Not below the moment itself in the right time, or what others had said before would count as said since.
    state.fewer_since = std::min(state.fewer_since, store.clock().now());
  }
  first_number_ = 1;
  given_ = {{state.applied[state.self].number, {state.applied[state.self].tag, 0}}};
  log('w', "this node is a new incarnation: " + to_hex(renewal.after) + " instead of " + to_hex(renewal.before));
  load_config();
}

// Symptom: a node whose clock had been set right took itself for one that was put back to an older state. Mechanism:
// what it had written below the floor, and nobody had yet, is the new incarnation's with the versions that it had; but
// it said of itself that it had written nothing so far, and then others had something newer of it. Mend: this is its
// newest.
Hlc Core::newest_renamed(const Renewal& renewal) {
  if (!renewal.ahead.empty()) return renewal.floor + renewal.ahead.size();
  Hlc newest = 0;
  for (const Batch& batch : window.batches())
    if (batch.ends.size() == 1 && batch.ends[0].first == renewal.before && batch.newest > renewal.fork)
      newest = std::max(newest, batch.newest);
  return newest;
}

// Symptom: a row of a new node stayed on it alone. Mechanism: its transaction was prepared when the copy began, and
// nothing else had been written; so nothing was given anew, and when it was committed its version counted as forgotten.
// Mend: also where there is nothing yet, what has an older version comes out of the log as new as its commit.
void Core::rebase(Hlc floor, Hlc taken) {
  cut_alone();
  flush();
  StoreTransaction transaction(store, TransactionKind::write);
  if (store.log_must_be_read())
    throw Error(ErrorKind::transient, "busy", "local writers leave no gap; it will be tried again");
  Renewal renewal;
  renewal.before = renewal.after = state.self;
  renewal.corrected = true;
  renewal.fork = taken;
  renewal.ahead = own_versions_above(taken);
  store.clock().observe(floor);
  renewal.floor = store.clock().tick();
  Hlc newest = renewal.floor + renewal.ahead.size(), set_aside = newest + late_versions;
  store.clock().observe(set_aside);
  NodeState next = state;
  std::map<TableId, Version> void_here = truncates_of_nothing_else(next);
  for (auto& [id, version] : void_here) next.truncates.erase(id);
  for (auto& [id, version] : next.truncates) version = renamed(version, renewal);
  if (!renewal.ahead.empty()) next.own_meta().newest = newest;
  next.rebased = set_aside;
  next.source_clock = std::max(next.source_clock, floor);
  next.hlc = promise(store.clock().now());
  HistoryRecord record{0, HistoryKind::applied, {}, next.encode(next.hlc), packed(renewal, renewal_part)};
  last_sequence_ = store.append_history({&record, 1});
  transaction.commit();
  state = std::move(next);
  for (auto& [id, version] : void_here) window.drop_born_before(id, version);
  note_rebased(renewal);
  late_versions_ = {newest + 1, set_aside};
  // Symptom: nothing came to a new node any more as long as a transaction stayed open on it that was older than its
  // copy. Mechanism: its watermark stood, so its servers' documents were older than the G that had come with the copy.
  // Mend: what such a transaction wrote is given anew, above this.
  watermark = std::max(watermark, newest);
  rename_window(renewal, 0);
  keys_changed_at = moved(keys_changed_at, renewal);
  for (auto& [entry, written] : late_references) written = moved(written, renewal);
}

// Symptom: a table was emptied everywhere, without a word, by a new server on which it had been emptied before its
// copy. Mechanism: given anew, the truncate was newer than all rows. Mend: it had seen none but those that were written
// here, and nobody has got any of these.
std::map<TableId, Version> Core::truncates_of_nothing_else(const NodeState& before) const {
  std::map<TableId, Version> found;
  if (before.joined || before.returning || before.rebased != 0) return found;
  for (auto& [id, version] : before.truncates)
    if (version.origin == before.self) found[id] = version;
  return found;
}

void Core::note_rebased(const Renewal& renewal) {
  if (!renewal.rebased()) {
    rebased_ = {renewal.before};
    return;
  }
  std::vector<Hlc> called = renewal.ahead;
  for (Hlc& version : called)
    if (Version before = before_rebase({version, renewal.after}); !before.settled()) version = before.hlc;
  rebased_.floor = renewal.floor;
  rebased_.called = std::move(called);
}

Version Core::before_rebase(Version version) const {
  Hlc above = version.hlc - rebased_.floor;
  if (version.origin != state.self || version.hlc <= rebased_.floor || above > rebased_.called.size()) return {};
  return {rebased_.called[above - 1], rebased_.before};
}

void Core::for_each_version(const std::function<void(Version)>& visit) {
  for (auto& [id, version] : state.truncates) visit(version);
  for (auto& [id, table] : tables_)
    window.for_each(id, [&](const Entry& entry) {
      for (const Life& life : entry.state.lives) life.for_each_version(visit);
    });
}

// What others said of themselves, for what lost to ours is in no row; and what is in rows, for an incarnation may not
// have said anything of itself yet.
Hlc Core::newest_of_others(Hlc horizon) {
  Hlc newest = horizon;
  for (auto& [origin, meta] : state.metas)
    if (origin != state.self) newest = std::max(newest, meta.newest);
  for_each_version([&](Version version) {
    if (version.origin != state.self) newest = std::max(newest, version.hlc);
  });
  return newest;
}

std::vector<Hlc> Core::own_versions_above(Hlc floor) {
  std::vector<Hlc> own;
  for (const Batch& batch : window.batches())
    if (batch.ends.size() == 1 && batch.ends[0].first == state.self && batch.newest > floor)
      own.push_back(batch.newest);
  for_each_version([&](Version version) {
    if (version.origin == state.self && version.hlc > floor) own.push_back(version.hlc);
  });
  std::sort(own.begin(), own.end());
  own.erase(std::unique(own.begin(), own.end()), own.end());
  return own;
}

Hlc Core::newest_own_up_to(Hlc most) {
  std::vector<Hlc> own = own_versions_above(0);
  auto above = std::upper_bound(own.begin(), own.end(), most);
  return above == own.begin() ? 0 : *std::prev(above);
}

// The newest version of ours that a server of ours has confirmed.
Hlc Core::newest_confirmed(const Vector& just_told, Hlc horizon) {
  PositionNumber confirmed = 0;
  if (auto own = just_told.find(state.self); own != just_told.end()) confirmed = own->second.number;
  for (auto& [id, server] : state.servers)
    if (auto own = server.applied.find(state.self); own != server.applied.end())
      confirmed = std::max(confirmed, own->second.number);
  Hlc newest = horizon;
  for (const Batch& batch : window.batches())
    if (batch.ends.size() == 1 && batch.ends[0].first == state.self && batch.ends[0].second <= confirmed)
      newest = std::max(newest, batch.newest);
  return newest;
}

// What was forgotten together with others is not above what they confirmed.
Hlc Core::horizon_with_others() {
  Hlc horizon = std::max(ms_to_hlc(now_ms()), state.source_clock);
  for (auto& [origin, meta] : state.metas) {
    auto member = state.members.find(origin);
    bool own = member != state.members.end() && member->second.node == identity.node;
    if (own || meta.position == 0) continue;
    horizon = std::max(horizon, meta.horizon);
    if (auto ours = meta.received.find(state.self); ours != meta.received.end())
      horizon = std::max(horizon, ours->second);
  }
  return std::min(horizon, state.prune_horizon);
}

bool Core::knows_own(Hlc version) {
  if (version <= state.prune_horizon) return true;
  for (const Batch& batch : window.batches())
    if (batch.newest == version && batch.ends.size() == 1 && batch.ends[0].first == state.self) return true;
  return store.has_local(version);
}

}  // namespace rowmesh
