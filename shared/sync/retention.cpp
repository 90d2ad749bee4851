// How long changes are kept for a server that does not come. Then it is no member any more, the others forget what is
// settled among themselves, and it needs a copy when it is back. Time counts only while somebody else is heard: a node
// that hears nobody is perhaps the one that is cut off, and what it wrote meanwhile is here only. The number of rows
// counts always.
#include <algorithm>

#include "shared/model/settings.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t look_every_ms = 1000;
constexpr std::uint64_t silent_ms =
    60'000;  // who was heard of within this time is not taken out for the number of rows
constexpr std::uint64_t asleep_ms =
    10'000;  // between two looks: this machine was suspended, and the others may be about to come

std::uint64_t number_of(Store& store, const char* name) {
  const Setting& setting = *find_setting(name);
  std::string text = store.setting(name);
  return static_cast<std::uint64_t>(setting_number(setting, text.empty() ? setting.otherwise : text));
}

}  // namespace

void Node::Impl::read_retention() {
  retention_ms = number_of(core.store, "retention") * 1000;
  retention_rows = core.most_rows = number_of(core.store, "retention_rows");
}

// Healthy members announce where they stand every second while something is unsettled, so an old watermark is that of a
// dead one. (Not an old horizon: a dead member holds down the horizons of all.)
void Node::Impl::expire_members() {
  std::uint64_t now_ms = core.now_ms();
  if (now_ms < next_expiry_ms && now_ms + look_every_ms > next_expiry_ms) return;
  if (now_ms > next_expiry_ms + asleep_ms || now_ms + asleep_ms < next_expiry_ms) awake_since_ms = now_ms;
  next_expiry_ms = now_ms + look_every_ms;
  if (!core.window.unsettled() || given_up_by_others()) return;
  std::uint64_t oldest_ms = hlc_to_ms(core.window.batches().front().newest);
  bool too_old = now_ms > oldest_ms + retention_ms, too_many = core.window.size() > retention_rows;
  std::uint64_t patience_ms = too_many ? std::min(silent_ms, retention_ms) : retention_ms;
  if ((!too_old && !too_many) || now_ms < awake_since_ms + std::min(silent_ms, retention_ms)) return;
  auto heard_ms = [&](Origin origin) {
    auto meta = core.state.metas.find(origin);
    return meta == core.state.metas.end() ? 0 : hlc_to_ms(meta->second.watermark);
  };
  bool hears_somebody = false;
  for (auto& [origin, member] : core.state.members)
    hears_somebody |=
        origin != core.state.self && !member.away() && now_ms <= heard_ms(origin) + std::min(silent_ms, patience_ms);
  if (!hears_somebody) awake_since_ms = now_ms;  // it was cut off itself: when it is back, not all come in one moment
  if (!too_many && !hears_somebody) return;
  for (auto& [origin, member] : core.state.members) {
    // Nobody says anything while nothing is unsettled.
    std::uint64_t silent_since_ms = std::max(heard_ms(origin), oldest_ms);
    if (origin == core.state.self || member.away() || now_ms <= silent_since_ms + patience_ms) continue;
    member.left = true;
    core.log('w', "server '" + member.name + "' (node " + member.node +
                      ") was not heard of for longer than changes are kept (" +
                      (too_many ? "retention_rows" : "retention") +
                      "): it is no member any more and needs a copy when it is back");
  }
  for (auto& [id, peer] : peers) {
    if (known(peer).origin != 0) continue;
    if (!peer.not_kept)
      core.log('w', "server '" + peer.config.name + "' was never met; changes are not kept for it any longer");
    peer.not_kept = true;
  }
  decide_what_is_kept();
}

// Nothing is forgotten while a server of ours was never met, for nobody knows what it lacks; nor while one has given us
// up: those who did no longer ask whether our changes are everywhere, so what they announce says nothing of these. What
// was never sent is listed when the copy comes, and must be here until then. Nor while this node comes back, for what
// it has forgotten by its birth would be taken for whatever row the copy brings under that key.
void Node::Impl::decide_what_is_kept() {
  core.hold_prune = std::any_of(peers.begin(), peers.end(),
                                [&](auto& one) {
                                  const Peer& peer = one.second;
                                  return known(peer).origin == 0 && !peer.not_kept;
                                }) ||
                    given_up_by_others() || core.state.returning;
}

// Whom we have as servers is told to all, and who is removed everywhere holds nothing back any more. What waits under a
// number of two then may wait for a move that only it could have made.
void Node::Impl::judge_members() {
  std::set<Origin> met;
  core.state.all_met = true;
  for (auto& [id, peer] : peers) {
    if (peer.config.direction == Direction::push) continue;
    if (Origin origin = known(peer).origin; origin != 0)
      met.insert(origin);
    else
      core.state.all_met &= peer.not_kept;
  }
  // Symptom: a row stood under two numbers: a node was taken for gone, and its row moved by its heir as well.
  // Mechanism: its server had crashed before it was on its disk that they had met, and named the others that it had met
  // again. Mend: who has not met all of its servers does not say whom it has.
  std::optional<std::set<Origin>> servers;
  // Symptom: nothing was forgotten any more, and heartbeats went on for ever. Mechanism: a server that had been met was
  // removed before another one was met for the first time, so it had never been announced as a server of ours. Mend:
  // whom we have met ourselves was linked, whether that is told or not.
  for (Origin origin : met)
    if (auto member = core.state.members.find(origin); member != core.state.members.end()) member->second.linked = true;
  if (fewer(met_servers, met)) core.state.fewer_since = core.store.clock().now();
  met_servers = met;
  if (core.state.all_met) servers = std::move(met);
  if (auto& announced = core.state.own_meta().servers; announced != servers) {
    if (fewer(announced, servers)) core.state.fewer_since = core.store.clock().now();
    announced = servers;
    owe_announcement();
  }
  core.state.judge_members();
  std::set<Origin> away_now;
  for (auto& [origin, member] : core.state.members)
    if (member.away()) away_now.insert(origin);
  if (away_now == away) return;
  away = std::move(away_now);
  for (Entry* entry : core.sides())
    for (const Life& life : entry->state.lives)
      if (life.side && life.side->kind == SideKind::held && away.contains(life.birth.origin))
        core.unreconciled.insert(entry);
  note_what_the_gone_left();
}

// Symptom: a reference named another row than its writer meant. Mechanism: the row had been moved to another number;
// only its writer takes a reference along, and that one had left for good before it heard of the move. Whoever takes
// its place had let the row give way before, when the reference was not yet its own. Mend: when a node is gone, its
// heir looks at what it had written (Applier::life_seen), and had deleted (Applier::take_over_deletes).
void Node::Impl::note_what_the_gone_left() {
  for (auto& [id, table] : core.tables()) {
    if (table.references.empty() && !table.keeps_lives_apart()) continue;
    core.window.for_each(id, [&, &table = table](Entry& entry) {
      for (const Life& life : entry.state.lives) {
        for (const Reference& reference : table.references)
          if (Version written = life.columns.of(reference.column); away.contains(written.origin))
            core.look_once_more(entry, written.hlc);
        if (life.moved && away.contains(life.removed.origin)) core.look_once_more(entry, life.removed.hlc);
      }
    });
  }
}

bool Node::Impl::given_up_by_others() {
  return std::any_of(peers.begin(), peers.end(),
                     [](auto& one) { return one.second.config.enabled && one.second.needs_copy_there; });
}

bool Node::Impl::expired(const Peer& peer) {
  auto member = core.state.members.find(known(peer).origin);
  return peer.not_kept || (member != core.state.members.end() && member->second.left);
}

}  // namespace rowmesh
