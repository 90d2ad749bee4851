// How a NodeState is written with every history record, and read.
#include "shared/codec/packed.hpp"
#include "shared/model/error.hpp"
#include "shared/sync/node_state.hpp"

namespace rowmesh {
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
  out.number(returning ? ran_as_another ? 3 : 1 : 0);
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
  out.number(two_histories.size());
  for (Origin origin : two_histories) out.fixed64(origin);
  out.fixed64(found ? found->told : 0);
  out.number(not_compared.size());
  for (std::int64_t server : not_compared) out.number(static_cast<std::uint64_t>(server));
  for (auto& [id, server] : servers) {
    out.number(server.heard.size());
    for (Origin origin : server.heard) out.fixed64(origin);
  }
  for (auto& [id, server] : servers) {
    out.text(server.copy_error);
  }
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
  auto returning = in.number();
  state.returning = returning != 0;
  state.ran_as_another = returning == 3;
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
  for (std::uint64_t origins = in.done() ? 0 : in.number(); origins > 0; origins--)
    state.two_histories.insert(in.fixed64());
  if (Hlc told = in.done() ? 0 : in.fixed64(); state.found) state.found->told = told;
  for (std::uint64_t servers_left = in.done() ? 0 : in.number(); servers_left > 0; servers_left--)
    state.not_compared.insert(static_cast<std::int64_t>(in.number()));
  for (auto& [id, server] : state.servers)
    for (std::uint64_t origins = in.done() ? 0 : in.number(); origins > 0; origins--) server.heard.insert(in.fixed64());
  for (auto& [id, server] : state.servers)
    if (!in.done()) server.copy_error = in.text();
  return state;
}

}  // namespace rowmesh
