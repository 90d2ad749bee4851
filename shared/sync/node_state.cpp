#include "shared/sync/node_state.hpp"

#include <algorithm>

namespace rowmesh {

void KnownServer::says(const Vector& it_applied) {
  applied = it_applied;
  for (auto& [origin_of, position] : applied) heard.insert(origin_of);
}

std::set<std::int64_t> NodeState::met_servers() const {
  std::set<std::int64_t> met;
  for (auto& [id, server] : servers)
    if (server.origin != 0) met.insert(id);
  return met;
}

Hlc NodeState::horizon(Hlc own_watermark) const {
  Hlc horizon = own_watermark;
  for (auto& [origin, member] : members) {
    if (origin == self || member.away()) continue;
    auto at = metas.find(origin);
    horizon = std::min(horizon, at == metas.end() ? 0 : at->second.watermark);
  }
  return horizon;
}

Hlc NodeState::received_of_us() const {
  Hlc lowest = ~Hlc{0};
  for (auto& [origin, member] : members) {
    if (origin == self || member.away()) continue;
    auto meta = metas.find(origin);
    if (meta == metas.end()) return 0;
    auto ours = meta->second.received.find(self);
    if (ours == meta->second.received.end()) return 0;
    lowest = std::min(lowest, ours->second);
  }
  return lowest;
}

Hlc NodeState::confirmed_here() const {
  auto own = metas.find(self);
  if (own == metas.end()) return 0;
  Hlc lowest = own->second.horizon;
  for (auto& [origin, member] : members) {
    if (origin == self || member.away() || !partial.empty()) continue;
    auto received = own->second.received.find(origin);
    lowest = std::min(lowest, received == own->second.received.end() ? 0 : received->second);
  }
  return lowest;
}

bool NodeState::advance_prune_horizon() {
  if (hears_two_histories()) return false;
  Hlc lowest = ~Hlc{0};
  for (auto& [origin, member] : members) {
    if (member.away() && origin != self) continue;
    auto at = metas.find(origin);
    lowest = std::min(lowest, at == metas.end() ? 0 : at->second.horizon);
    // A horizon never goes back, so what it confirmed before it had heard of another member says nothing of that one's
    // changes (model, H16 h): it may be above all that it has received of that one, for long after it has heard of it.
    // (Not so where nothing is handed on: the servers on its sides need not have heard of each other.)
    for (auto& [other, known] : members) {
      if (!partial.empty() || other == origin || known.away() || at == metas.end()) continue;
      auto received = at->second.received.find(other);
      if (received == at->second.received.end()) return false;
      lowest = std::min(lowest, received->second);
    }
  }
  lowest = std::min(lowest, everybody_has_of_the_gone());
  if (members.empty() || lowest <= prune_horizon) return false;
  prune_horizon = lowest;
  return true;
}

// Symptom: a row was on one server alone after another one had left for good; or a server "needs copy" since then.
// Mechanism: what the gone one had written last had come to some only, and nobody asks any more whether it has
// confirmed anything; so those forgot it before they had handed it on. Mend: they keep it until all that remain have as
// much of it as anybody has.
Hlc NodeState::everybody_has_of_the_gone() const {
  Hlc lowest = ~Hlc{0};
  for (auto& [gone, member] : members) {
    if (!member.removed || gone == self || closed(gone) || !partial.empty()) continue;
    auto own = metas.find(gone);
    Hlc most = own == metas.end() || own->second.position == 0 ? 0 : own->second.watermark;
    Hlc least = most;
    for (auto& [origin, remaining] : members) {
      auto meta = metas.find(origin);
      if ((remaining.away() && origin != self) || meta == metas.end()) continue;
      auto received = meta->second.received.find(gone);
      Hlc has = received == meta->second.received.end() ? 0 : received->second;
      most = std::max(most, has), least = std::min(least, has);
    }
    if (least < most) lowest = std::min(lowest, least);
  }
  return lowest;
}

// Symptom: nobody took what two new nodes wrote, for ever. Mechanism: they had met before they had their copies, each
// counted nothing of the other as received until that one spoke, and so the documents of both were older than what is
// forgotten, for each other as well. Mend: of one that has not spoken all counts as received that everybody has
// forgotten, whenever it was met (Node::Impl::met).
void NodeState::settle_up_to(Hlc horizon) {
  prune_horizon = std::max(prune_horizon, horizon);
  for (auto& [origin, meta] : metas) {
    if (origin == self || meta.position != 0) continue;
    meta.watermark = std::max(meta.watermark, prune_horizon);
    meta.horizon = std::max(meta.horizon, prune_horizon);
  }
}

void NodeState::forgotten_alone(Hlc horizon) {
  prune_horizon = std::min(prune_horizon, horizon);
  for (auto& [origin, meta] : metas) {
    if (origin == self || meta.position != 0) continue;
    meta.watermark = std::min(meta.watermark, prune_horizon);
    meta.horizon = std::min(meta.horizon, prune_horizon);
  }
}

Hlc NodeState::come(Origin origin) const {
  if (!applied.contains(origin)) return 0;
  auto meta = metas.find(origin);
  return meta == metas.end() || meta->second.position == 0 ? ~Hlc{0} : meta->second.watermark;
}

bool NodeState::came_with_another(Origin origin) const {
  if (!closed(origin)) return false;
  const std::string& node = members.at(origin).node;
  return std::any_of(members.begin(), members.end(), [&](auto& other) {
    return other.second.node == node && (other.first == self || come(other.first) >= prune_horizon);
  });
}

// Symptom: an edit stayed on one server alone after a backup had been put back. Mechanism: the restored node first met
// a server that had not got the edit, and said that it had given everything up to now; that one told the server with
// the edit that it had everything of it, and so the edit was forgotten there before the restored node was known to have
// another history. Mend: who had given a newest version has not, at a later position and with all given up to that
// version, given none as new.
void NodeState::hears_of(Origin origin, const OriginMeta& meta) {
  auto known = metas.find(origin);
  if (origin == self || known == metas.end() || known->second.position == 0 || meta.position == 0) return;
  bool later = meta.position > known->second.position;
  const OriginMeta &first = later ? known->second : meta, &last = later ? meta : known->second;
  if (first.position == last.position || last.newest >= first.newest || last.watermark < first.newest) return;
  two_histories.insert(origin);
  known->second.newest = first.newest;  // which is asked for when it is met (Node::Impl::judge_identity)
}

bool NodeState::hears_two_histories() const {
  return std::any_of(two_histories.begin(), two_histories.end(), [&](Origin origin) {
    auto member = members.find(origin);
    return member != members.end() && !member->second.away();
  });
}

void NodeState::take_meta(Origin origin, const OriginMeta& meta) {
  if (origin == self) return;
  auto [at, added] = metas.try_emplace(origin, meta);
  if (!added && meta.position <= at->second.position) return;
  if (fewer(at->second.servers, meta.servers)) fewer_since = std::max(fewer_since, meta.watermark);
  Hlc newest = std::max(meta.newest, at->second.newest);
  at->second = meta;
  at->second.newest = newest;
  judge_members();
  if (added) return;
  if (auto member = members.find(origin); member != members.end() && !closed(origin)) member->second.left = false;
}

bool NodeState::closed(Origin origin) const { return follower(origin) != origin; }

Origin NodeState::follower(Origin origin) const {
  auto member = members.find(origin);
  if (member == members.end() || !member->second.left || member->second.node.empty()) return origin;
  auto next = std::find_if(members.begin(), members.end(), [&](auto& other) {
    return other.first != origin && !other.second.left && other.second.node == member->second.node;
  });
  return next == members.end() ? origin : next->first;
}

bool NodeState::awaits_what_was_closed() const {
  if (!partial.empty()) return false;  // the servers on its sides need not have heard of each other
  for (auto& [origin, member] : members) {
    if (!closed(origin)) continue;
    for (auto& [next, other] : members) {
      if (other.node != member.node || other.away() || next == origin) continue;
      for (auto& [speaker, one] : members) {
        if (speaker == self || speaker == next || one.away()) continue;
        auto meta = metas.find(speaker);
        if (meta == metas.end() || !meta->second.received.contains(next)) return true;
      }
    }
  }
  return false;
}

bool NodeState::caught_up(const ParkedTable& table) const {
  if (!table.fits || table.given_up) return false;
  return std::all_of(table.until.begin(), table.until.end(), [&](auto& one) {
    auto at = table.covered.find(one.first);
    return (at != table.covered.end() && at->second.number >= one.second.number) || closed(one.first);
  });
}

void NodeState::take_members(const std::map<Origin, Member>& theirs, const std::map<Origin, OriginMeta>& their_metas) {
  for (auto& [origin, member] : theirs) {
    auto [here, added] = members.try_emplace(origin, member);
    here->second.linked |= member.removed;   // also of one that we know: perhaps from when it had just been removed
    here->second.removed |= member.removed;  // until it is reached from here: judge_members
    if (added || origin == self || !member.left || here->second.left) continue;
    auto said = their_metas.find(origin);
    auto known = metas.find(origin);
    PositionNumber said_position = said == their_metas.end() ? 0 : said->second.position;
    bool followed = std::any_of(theirs.begin(), theirs.end(), [&, member = member](auto& other) {
      return !member.node.empty() && other.second.node == member.node && !other.second.left;
    });
    if (followed || known == metas.end() || said_position >= known->second.position) here->second.left = true;
  }
  judge_members();
}

bool fewer(const std::optional<std::set<Origin>>& before, const std::optional<std::set<Origin>>& after) {
  return before && !(after && std::includes(after->begin(), after->end(), before->begin(), before->end()));
}

void NodeState::judge_members() {
  bool sure = all_met;
  std::set<Origin> reached;
  std::vector<Origin> next = {self};
  while (!next.empty()) {
    Origin origin = next.back();
    next.pop_back();
    auto member = members.find(origin);
    bool left = member != members.end() && member->second.left && origin != self;
    if (!reached.insert(origin).second) continue;
    if (left) {
      // Whoever names an incarnation that was followed by another has that one as a server, and has not said so yet.
      // (Without this, those behind it counted as gone for a moment, and others moved rows in their place that they
      // moved themselves.)
      for (auto& [other, known] : members)
        if (!known.left && !known.node.empty() && known.node == member->second.node) next.push_back(other);
      continue;
    }
    auto meta = metas.find(origin);
    bool said = meta != metas.end() && meta->second.servers;
    // A new member can announce nothing as long as it waits for one who is gone; what it said in a hello is of now.
    bool old = said && origin != self && meta->second.position != 0 && meta->second.watermark < fewer_since;
    if (!said || old) sure = false;
    if (said) next.insert(next.end(), meta->second.servers->begin(), meta->second.servers->end());
  }
  for (auto& [origin, member] : members) {
    member.linked |= reached.contains(origin);
    bool found_gone = sure || member.removed;  // what it lacks is forgotten then, and stays so
    member.removed = found_gone && member.linked && !reached.contains(origin);
  }
}

bool NodeState::had_seen(Version winner, Version loser) const {
  if (loser.settled()) return true;
  // Symptom: an edit was lost without a trace while a copy of its database ran as well. Mechanism: the copy had removed
  // the row, under the same origin, and whoever had both took the edit for one that the remover had made itself. Mend:
  // nobody has seen what it writes later.
  if (loser.origin == winner.origin) return loser.hlc <= winner.hlc;
  auto meta = metas.find(winner.origin);
  if (meta == metas.end()) return false;
  auto seen = meta->second.received.find(loser.origin);
  return seen != meta->second.received.end() && seen->second >= loser.hlc;
}

}  // namespace rowmesh
