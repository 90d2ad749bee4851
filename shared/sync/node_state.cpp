#include "shared/sync/node_state.hpp"

#include <algorithm>

#include "shared/codec/packed.hpp"
#include "shared/model/error.hpp"

namespace rowmesh {

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
  if (members.empty() || lowest <= prune_horizon) return false;
  prune_horizon = lowest;
  return true;
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

void NodeState::take_meta(Origin origin, const OriginMeta& meta) {
  if (origin == self) return;
  auto [at, added] = metas.try_emplace(origin, meta);
  if (!added && meta.position <= at->second.position) return;
  if (fewer(at->second.servers, meta.servers)) fewer_since = std::max(fewer_since, meta.watermark);
  at->second = meta;
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

namespace {

void pack_vector(PackedWriter& out, const Vector& vector) {
  out.number(vector.size());
  for (auto& [origin, position] : vector) {
    out.fixed64(origin);
    out.number(position.number);
    out.fixed64(position.tag);
  }
}

Vector unpack_vector(PackedReader& in) {
  Vector vector;
  for (std::uint64_t left = in.number(); left > 0; left--) {
    Origin origin = in.fixed64();
    PositionNumber number = in.number();
    vector[origin] = {number, in.fixed64()};
  }
  return vector;
}

void pack_meta(PackedWriter& out, const OriginMeta& meta) {
  out.number(meta.position);
  out.fixed64(meta.watermark);
  out.fixed64(meta.horizon);
  out.number(meta.received.size());
  for (auto& [origin, hlc] : meta.received) {
    out.fixed64(origin);
    out.fixed64(hlc);
  }
  out.fixed64(meta.newest);
  out.number(meta.servers.has_value());
  if (!meta.servers) return;
  out.number(meta.servers->size());
  for (Origin origin : *meta.servers) out.fixed64(origin);
}

OriginMeta unpack_meta(PackedReader& in) {
  OriginMeta meta;
  meta.position = in.number();
  meta.watermark = in.fixed64();
  meta.horizon = in.fixed64();
  for (std::uint64_t left = in.number(); left > 0; left--) {
    Origin origin = in.fixed64();
    meta.received[origin] = in.fixed64();
  }
  meta.newest = in.fixed64();
  if (in.number() == 0) return meta;
  meta.servers.emplace();
  for (std::uint64_t left = in.number(); left > 0; left--) meta.servers->insert(in.fixed64());
  return meta;
}

constexpr std::uint64_t state_format = 5;  // 4: until what follows `missing` was added to

}  // namespace

std::string NodeState::encode(Hlc promised) const {
  PackedWriter out;
  out.number(state_format);
  out.fixed64(self);
  out.fixed64(promised);
  pack_vector(out, applied);
  out.number(metas.size());
  for (auto& [origin, meta] : metas) {
    out.fixed64(origin);
    pack_meta(out, meta);
  }
  out.number(members.size());
  for (auto& [origin, member] : members) {
    out.fixed64(origin);
    out.text(member.node);
    out.text(member.name);
    out.number(member.left);
    out.number(member.linked);
    out.number(member.removed);
  }
  out.fixed64(prune_horizon);
  out.fixed64(lost);
  out.number(truncates.size());
  for (auto& [table, version] : truncates) {
    out.number(table);
    out.version(version);
  }
  out.number(late_truncates.size());
  for (auto& [table, until] : late_truncates) {
    out.number(table);
    out.fixed64(until);
  }
  out.number(pruned.size());
  for (auto& [origin, position] : pruned) {
    out.fixed64(origin);
    out.number(position);
  }
  out.number(servers.size());
  for (auto& [id, server] : servers) {
    out.fixed64(static_cast<std::uint64_t>(id));
    out.text(server.node);
    out.fixed64(server.origin);
    pack_vector(out, server.applied);
  }
  for (auto& [id, server] : servers) {
    out.number(server.withheld.size());
    for (const std::string& name : server.withheld) out.text(name);
  }
  out.number(parked.size());
  for (auto& [name, table] : parked) {
    out.text(name);
    out.text(table.reason);
    pack_vector(out, table.covered);
    out.number((table.fits ? 1 : 0) + (table.given_up ? 2 : 0));
    pack_vector(out, table.until);
    out.number(table.since_ms);
    out.number(table.late.size());
    for (auto& [origin, come] : table.late) {
      out.fixed64(origin);
      out.fixed64(come);
    }
  }
  out.number(partial.size());
  for (Origin origin : partial) out.fixed64(origin);
  out.number(missing.size());
  for (auto& [origin, newest] : missing) {
    out.fixed64(origin);
    out.fixed64(newest);
  }
  out.number(found.has_value());
  if (found) {
    out.number(found->position.number);
    out.fixed64(found->position.tag);
    out.fixed64(found->watermark);
    out.fixed64(found->newest);
    out.fixed64(found->unread);
    out.number(found->copy);
  }
  out.fixed64(confirmed);
  out.number(returning);
  out.fixed64(rebased);
  out.fixed64(removed_has);
  out.number(joined);
  out.number(asked_copies.size());
  for (const AskedCopy& asked : asked_copies) {
    out.number(static_cast<std::uint64_t>(asked.server));
    out.number(asked.mode);
    out.number(asked.tables.size());
    for (const std::string& table : asked.tables) out.text(table);
  }
  out.fixed64(source_clock);
  out.number(came_back_without);
  out.fixed64(settled_elsewhere);
  out.fixed64(copied_up_to);
  return out.take();
}

NodeState NodeState::decode(const std::string& bytes) {
  PackedReader in(bytes);
  std::uint64_t format = in.number();
  if (format != state_format && format != state_format - 1)
    throw Error(ErrorKind::corrupt, "bad_state",
                "the stored state was written by another version of rowmesh; install that version");
  NodeState state;
  state.joined = true;  // perhaps
  state.self = in.fixed64();
  state.hlc = in.fixed64();
  state.applied = unpack_vector(in);
  for (std::uint64_t left = in.number(); left > 0; left--) {
    Origin origin = in.fixed64();
    state.metas[origin] = unpack_meta(in);
  }
  for (std::uint64_t left = in.number(); left > 0; left--) {
    Member& member = state.members[in.fixed64()];
    member.node = in.text();
    member.name = in.text();
    member.left = in.number() != 0;
    member.linked = in.number() != 0;
    member.removed = in.number() != 0;
  }
  state.prune_horizon = in.fixed64();
  state.lost = in.fixed64();
  for (std::uint64_t left = in.number(); left > 0; left--) {
    auto table = static_cast<TableId>(in.number());
    state.truncates[table] = in.version();
  }
  for (std::uint64_t left = in.number(); left > 0; left--) {
    auto table = static_cast<TableId>(in.number());
    state.late_truncates[table] = in.fixed64();
  }
  for (std::uint64_t left = in.number(); left > 0; left--) {
    Origin origin = in.fixed64();
    state.pruned[origin] = in.number();
  }
  for (std::uint64_t left = in.number(); left > 0; left--) {
    KnownServer& server = state.servers[static_cast<std::int64_t>(in.fixed64())];
    server.node = in.text();
    server.origin = in.fixed64();
    server.applied = unpack_vector(in);
  }
  for (auto& [id, server] : state.servers)
    for (std::uint64_t left = in.number(); left > 0; left--) server.withheld.emplace(in.text());
  for (std::uint64_t left = in.number(); left > 0; left--) {
    ParkedTable& table = state.parked[std::string(in.text())];
    table.reason = in.text();
    table.covered = unpack_vector(in);
    std::uint64_t flags = in.number();
    table.fits = (flags & 1) != 0;
    table.given_up = (flags & 2) != 0;
    table.until = unpack_vector(in);
    table.since_ms = in.number();
    for (std::uint64_t late = in.number(); late > 0; late--) {
      Origin origin = in.fixed64();
      table.late[origin] = in.fixed64();
    }
  }
  for (std::uint64_t left = in.number(); left > 0; left--) state.partial.insert(in.fixed64());
  if (in.done()) return state;
  for (std::uint64_t left = in.number(); left > 0; left--) {
    Origin origin = in.fixed64();
    state.missing[origin] = in.fixed64();
  }
  if (format != state_format || in.done()) return state;
  if (in.number() != 0) {
    HistoryEnd& found = state.found.emplace();
    found.position.number = in.number();
    found.position.tag = in.fixed64();
    found.watermark = in.fixed64();
    found.newest = in.fixed64();
    found.unread = in.fixed64();
    found.copy = in.number() != 0;
  }
  state.confirmed = in.fixed64();
  state.returning = in.number() != 0;
  state.rebased = in.fixed64();
  if (!in.done()) state.removed_has = in.fixed64();
  if (!in.done()) state.joined = in.number() != 0;
  for (std::uint64_t copies = in.done() ? 0 : in.number(); copies > 0; copies--) {
    AskedCopy& asked = state.asked_copies.emplace_back();
    asked.server = static_cast<std::int64_t>(in.number());
    asked.mode = in.number();
    for (std::uint64_t tables = in.number(); tables > 0; tables--) asked.tables.emplace_back(in.text());
  }
  if (!in.done()) state.source_clock = in.fixed64();
  if (!in.done()) state.came_back_without = in.number() != 0;
  if (!in.done()) state.settled_elsewhere = in.fixed64();
  if (!in.done()) state.copied_up_to = in.fixed64();
  return state;
}

}  // namespace rowmesh
