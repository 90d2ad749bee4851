// Tables whose changes wait because they do not fit (NodeState::parked): all others flow.
#include <algorithm>

#include "shared/sync/applier.hpp"

namespace rowmesh {

// `fits`: from this document on its changes are taken; what came before is asked for (catch_up).
void Applier::park(const std::string& name, const std::string& reason, bool fits) {
  auto [at, added] = state_.parked.try_emplace(name);
  ParkedTable& table = at->second;
  if (added) {
    table.covered = core_.state.applied;
    table.covered.erase(state_.self);
    table.since_ms = core_.now_ms();
    for (auto& [origin, meta] : core_.state.metas)
      if (Hlc come = core_.state.come(origin); origin != state_.self && come < state_.prune_horizon)
        table.late[origin] = come;
  }
  for (auto& [origin, come] : late_) table.late.try_emplace(origin, come);
  if (added || (!fits && table.fits)) core_.log('w', "the changes of table '" + name + "' wait: " + reason);
  if (!reason.empty()) table.reason = reason;
  if (fits && !table.fits) to_fit_.insert(name);
  table.fits = fits;
  parked_[name] = table;
}

// A server that hands on what others did leaves out the tables that it could not take itself.
void Applier::park_what_the_sender_lacks() {
  if (header_.kind != DocumentKind::changes) return;
  for (auto& [name, has] : header_.parked) {
    if (!core_.table_by_wire_name(name)) continue;
    bool lacks = std::any_of(header_.to.begin(), header_.to.end(), [&, &has = has](auto& one) {
      auto& [origin, to] = one;
      if (origin == state_.self || origin == header_.sender || state_.closed(origin)) return false;
      auto here = core_.state.applied.find(origin);
      if (here != core_.state.applied.end() && here->second.number >= to.number) return false;
      auto there = has.find(origin);
      return there == has.end() || there->second.number < to.number;
    });
    if (!lacks) continue;
    auto known = state_.parked.find(name);
    if (known != state_.parked.end() && !known->second.fits) continue;
    park(name, "the server that hands them on cannot take them itself", true);
    to_fit_.insert(name);
  }
}

void Applier::note_partial() {
  if (header_.kind != DocumentKind::changes) return;
  for (auto& [origin, to] : header_.to) {
    if (origin == state_.self) continue;
    if (header_.partial)
      state_.partial.insert(origin);
    else
      state_.partial.erase(origin);
  }
}

// After the positions have moved: which parked tables have everything now?
void Applier::catch_up() {
  for (const std::string& name : to_fit_)
    if (auto at = state_.parked.find(name); at != state_.parked.end() && at->second.fits) {
      at->second.until = state_.applied;
      at->second.until.erase(state_.self);
    }
  for (auto& [name, span] : header_.behind) {
    auto at = state_.parked.find(name);
    if (at == state_.parked.end() || misfits_.contains(name) || at->second.given_up) continue;
    for (auto& [origin, to] : span.to) {
      auto from = span.from.find(origin);
      Position& covered = at->second.covered[origin];
      if (from != span.from.end() && from->second.number <= covered.number && to.number > covered.number) covered = to;
    }
  }
  std::erase_if(state_.parked, [&](auto& one) {
    if (!state_.caught_up(one.second)) return false;
    core_.log('i', "the changes of table '" + one.first + "' are here");
    return true;
  });
}

}  // namespace rowmesh
