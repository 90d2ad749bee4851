// A database that joins others that are in use takes what they have with the first of them that it meets, by itself, as
// with add_server(..., copy => 'pull').
//
// Symptom: a server that had been added without a copy lacked rows, or kept rows that had been deleted, though all
// servers streamed; and it could not be told from others that it lacked them. Mechanism: what has settled at the others
// comes to nobody as a change, and what they had deleted before they met the new one does not either, while an edit
// brings the whole row. Mend: who has nothing begins with a copy, and takes and ships nothing before.
#include <algorithm>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t look_again_ms = 1000;
}  // namespace

// Rows without an entry are of before, or have settled: no server gets them as changes. Nor has what was written last
// an entry before the log was read.
Base Node::Impl::look_for_base() {
  if (core.state.joined || core.state.returning || core.state.came_back_without) return Base::filled;
  // Symptom: a new server that was killed in the middle of its first copy streamed, and lacked rows. Mechanism: the
  // rows that had come counted as rows of before. Mend: a copy that has begun (Core::rebase) is taken until it is done.
  if (core.state.rebased != 0) return Base::empty;
  StoreTransaction transaction(core.store, TransactionKind::read);
  Base found = base_of_rows();
  if (found == Base::filled) {
    core.cut(false);
    found = base_of_rows();
  }
  transaction.commit();
  return found;
}

Base Node::Impl::base_of_rows() {
  Base found = Base::empty;
  for (auto& [id, table] : core.tables()) {
    core.store.scan_rows(table, {}, [&, id = id](std::size_t, KeyView key, RowView) {
      const Entry* known = core.window.find(id, key);
      bool captured = known && !known->state.lives.empty();
      found = captured ? Base::captured : Base::filled;
      return captured;
    });
    if (found == Base::filled) break;
  }
  return found;
}

// (Who exchanges some tables only has not all that is to be had.)
bool Node::Impl::may_give_first_copy(const Peer& peer) {
  return peer.greets() && peer.takes() && peer.config.all_tables && peer.config.options.first_copy;
}

bool Node::Impl::is_new() {
  return !core.state.joined && base && *base != Base::filled && !core.tables().empty() && enabled;
}

// Nothing is shipped before it is known whether there is a copy to be had: each server was asked, or was not there. One
// that takes its own first copy is waited for. A copy that ended early, for a table does not fit, say, is taken again,
// from another server if there is one. (Two that have nothing but what was captured get it as changes. So nobody takes
// one of a server that takes one of him: three did so in a ring, for ever.)
void Node::Impl::join_others() {
  awaits_servers = false;
  if (core.state.joined || !copies.empty()) return;
  if (std::none_of(peers.begin(), peers.end(), [&](auto& one) { return may_give_first_copy(one.second); })) return;
  bool look_again = base != Base::filled && core.now_ms() >= look_for_base_at_ms;
  if ((!base || look_again) && core.unwritten() < limits::unwritten_positions) {
    base = look_for_base();
    look_for_base_at_ms = core.now_ms() + look_again_ms;
  }
  if (!is_new()) return;
  Peer* source = nullptr;
  for (auto& [id, peer] : peers) {
    if (!may_give_first_copy(peer)) continue;
    bool gives = peer.met && peer.base && *peer.base > *base;
    if (gives && (!source || peer.first_copies_failed < source->first_copies_failed)) source = &peer;
    awaits_servers |= gives || (!peer.base && peer.failures == 0);
  }
  if (!source || core.now_ms() < come_back_at_ms || core.unwritten() >= limits::unwritten_positions) return;
  base = look_for_base();  // something may have been written here since
  if (*source->base <= *base) return;
  if (source->first_copies_failed == 0)
    core.log('i', "this database is new: it takes what server '" + source->config.name + "' has");
  // What came of a copy that was not done may have been deleted there since.
  add_copy(0, *source, true, "", core.state.rebased != 0 ? CopyMode::source : CopyMode::fail);
  copies.back().first = true;
}

// For one that asks in its greeting, since it is new. None: it cannot be told now, or the first copy is being taken.
std::optional<Base> Node::Impl::told_base() {
  if (core.state.joined) return Base::filled;
  if (taking_copy() || in_store || core.unwritten() >= limits::unwritten_positions) return {};
  in_store = true;
  try {
    Base found = look_for_base();
    in_store = false;
    return found;
  } catch (const Error& busy) {
    in_store = false;
    core.log('i', std::string("answering a new server: ") + busy.what());
    return {};
  }
}

// Symptom: two databases that both had rows differed for ever, and all that was told of it was that they stream.
// Mechanism: nothing of what was there before comes as a change. Mend: until they were compared the status says so. (A
// new one says that it is in its greeting, and copies.)
void Node::Impl::note_rows_of_before(const Peer& peer) {
  if (known(peer).origin == 0 && !core.state.joined && base == Base::filled)
    core.state.not_compared.insert(peer.config.id);
}

// Nor are its changes taken before: who had some would not be new any more.
bool Node::Impl::awaits_first_copy(const Peer& peer) {
  return awaits_servers || (is_new() && may_give_first_copy(peer) && !peer.base);
}

// Symptom: three new servers waited for each other for ever. Mechanism: each had been empty when it was asked, or had
// deleted what it had, and took its copy of the next, which gives none while it takes one itself. Mend: it is asked
// anew what it has.
bool Node::Impl::source_is_new_itself(const Copy& copy, Peer& peer, const HttpResponse& response) {
  if (!copy.first || !copy.start.empty() || response.status != 503 || peer.base == Base::filled) return false;
  peer.base.reset();
  return true;
}

// The copy that a new node takes by itself. Who asks for one as well means that one: what is here was written since, so
// 'fail' and 'newer' come to the same.
Node::Impl::Copy* Node::Impl::first_copy_from(std::int64_t server, CopyMode wanted) {
  if (wanted != CopyMode::fail && wanted != CopyMode::newer) return nullptr;
  auto first =
      std::find_if(copies.begin(), copies.end(), [&](const Copy& copy) { return copy.first && copy.peer == server; });
  return first == copies.end() ? nullptr : &*first;
}

}  // namespace rowmesh
