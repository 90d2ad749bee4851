// Copies in a ring: each takes a copy of the next, and who takes one gives none. Drawn in shared/sync/README.md; who is
// to give all the same: copy_waits.cpp.
#include <algorithm>

#include "shared/http/query.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {

// By the copies that it has to take. 0: nobody has refused one, so there is nothing to be said.
// `numbers`: somebody has now.
std::uint64_t Node::Impl::waits_as(bool numbers) {
  bool has_rows = core.state.joined || base == Base::filled;
  GivesInRing now = core.state.returning ? GivesInRing::never : has_rows ? GivesInRing::first : GivesInRing::last;
  GivesInRing when = GivesInRing::first;
  std::uint64_t all = 0;
  for (Copy& copy : copies) {
    if (!copy.is_whole()) continue;
    if (numbers && copy.number == 0) copy.number = copy_number(now, core.services.random.next());
    if (copy.number == 0) return 0;
    when = std::max(when, gives_in_ring(copy.number));
    all ^= copy.number;
  }
  return all == 0 ? 0 : copy_number(when, all);
}

CopyWaits Node::Impl::copy_waits() {
  CopyWaits waits;
  waits.self = waits_as(true);
  CopyWaits::Said said{copies_refused, true, {}};
  for (const Copy& copy : copies) {
    if (!copy.is_whole()) continue;
    auto source = refused_by.find(copy.peer);
    bool refused = source != refused_by.end() && source->second.self != 0;
    said.all &= refused;
    if (!refused) continue;
    said.whose.insert(source->second.self);
    waits.take(source->second);
  }
  waits.all.erase(waits.self);
  if (!said.whose.empty()) waits.all[waits.self] = std::move(said);
  waits.keep_to_own();
  return waits;
}

// What is not here yet would be in no copy from here, nor follow as a change. (Two that copy from each other do not
// wait for each other.)
// Symptom: three that copied from each other in a ring waited for ever. Mechanism: each gave nothing before it had its
// own. Mend: the lowest of them gives. What it lacks is missing in no other: whoever has it, and takes a copy of one
// who has not, compares, and ships it ('newer'), removes it ('source') or says that they differ ('fail'). So it must be
// the only one, and nobody outside of the ring may have anything for one inside: whoever waits for such a one is no
// part of it.
bool Node::Impl::gives_none(const HttpRequest& request, const Peer& asker) {
  if (!copies.empty() && copies.front().read) return false;
  if (std::none_of(copies.begin(), copies.end(),
                   [&](const Copy& copy) { return copy.is_whole() && copy.peer != asker.config.id; }))
    return false;
  std::uint64_t number = query_number(request.query, "waits");
  return number == 0 || !copy_waits().gives_to(number);
}

HttpResponse Node::Impl::refuse_piece(const std::string& text) {
  CopyWaits waits = copy_waits();
  HttpResponse response = refuse(RefusedFor::other, 503, "copying", text);
  if (waits.self == 0) return response;
  response.body = std::make_shared<Body>(error_to_json("copying", text, nullptr, {}, &waits));
  return response;
}

// True: the source takes a copy itself.
bool Node::Impl::source_refused(Peer& peer, const HttpResponse& response) {
  std::string error, text, body = response.body ? response.body->text(limits::control_body_bytes) : "";
  Progress progress;
  CopyWaits waits;
  error_from_json(body, &error, &text, &progress, nullptr, &waits);
  if (error != "copying") return false;
  waits_as(true);
  refused_by[peer.config.id] = std::move(waits);
  copies_refused++;
  return true;
}

// As far as its source knows.
bool Node::Impl::waits_for_itself(const Copy& copy) {
  std::uint64_t self = waits_as(false);
  const CopyWaits& known = refused_by[copy.peer];
  return std::any_of(known.all.begin(), known.all.end(), [&](auto& one) { return one.second.whose.contains(self); });
}

// What others have may be had meanwhile; nor is it known before all have refused that it waits in a ring. Where pieces
// have come already the copy is begun anew afterwards, as after a crash, or it would end with what others have brought
// between them; so only if it waits in a ring. Those of one server keep their order.
void Node::Impl::let_others_go_first() {
  Copy& front = copies.front();
  auto of_another = [server = front.peer](const Copy& copy) { return copy.peer != server; };
  if (std::none_of(copies.begin(), copies.end(), of_another)) return;
  if (!front.start.empty()) {
    bool asked_for = (front.request != 0 || front.asked) && !front.first;
    if (!asked_for || !waits_for_itself(front)) return;
    front.tables.insert(front.tables.begin(), front.tables_done.begin(), front.tables_done.end());
    Copy anew;
    anew.request = front.request, anew.peer = front.peer, anew.mode = front.mode, anew.asked = front.asked;
    anew.everything = front.everything, anew.number = front.number;
    anew.tables = std::move(front.tables), anew.tables_in_all = anew.tables.size();
    front = std::move(anew);
  }
  front.begun = false;
  std::stable_partition(copies.begin(), copies.end(), of_another);
}

}  // namespace rowmesh
