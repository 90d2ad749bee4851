// How a node notices that it is not who it was, and what mends it. Three signs, none of which needs the other machine's
// word for it:
//   - another server has a change that we made, and it is not here: a backup was restored, or a standby took over that
//   had not got it;
//   - the database does not lie where its identity was made (SQLite): a copied file;
//   - another server hears two that speak in turns under our identity: a copy is running.
// Then the node stands still, capture goes on, and the status says which call mends it.
#include <algorithm>
#include <functional>

#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t turns_ms = 30000;
constexpr std::uint32_t turns = 3;  // a run that ended may be heard once more, a request that was held up on the way
constexpr std::size_t kept_instances = 8;
// By less than this no version goes back: with it others listen still (limits::clock_ahead_ms).
constexpr std::uint64_t least_back_ms = limits::own_clock_ahead_ms / 3;

std::string time_text(Hlc version) { return std::to_string(hlc_to_ms(version) / 1000) + " s after 1970"; }

std::string new_uuid(Random& random) {
  std::string hex = to_hex(random.next()) + to_hex(random.next());
  hex[12] = '4';
  hex[16] = '8';
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

}  // namespace

std::string Node::Impl::identity_trouble() {
  if (!misplaced.empty()) return "copied";
  if (core.state.lost != 0) return "restored";
  for (auto& [id, peer] : peers)
    if (peer.twin) return "copied";
  return "";
}

std::string Node::Impl::stopped() {
  if (!misplaced.empty()) return misplaced;
  if (core.state.lost != 0)
    return "others have changes that this database made and lost (one of " + time_text(core.state.lost) +
           "): it was restored from a backup, or a standby took over too early; call new_identity('restored'), or "
           "new_identity('copied') if "
           "the database that made them still runs elsewhere";
  for (auto& [id, peer] : peers)
    if (peer.twin)
      return "server '" + peer.config.name +
             "' hears two databases with this identity: one is a copy of the other; call new_identity('copied') "
             "on the copy";
  return "";
}

void Node::Impl::met_other_history(Hlc newest) {
  core.state.lost = std::max<Hlc>(newest, 1);
  // What is written here from now on must not count as of the life that was lost.
  core.store.clock().observe(core.state.lost);
  core.log('e', stopped());
  in_transaction([] {});
}

// Whoever knows a change of ours that we do not know has met another history of this database.
void Node::Impl::judge_identity(Peer& peer, const Hello& hello) {
  peer.twin = false;
  peer.needs_copy_there = hello.needs_copy && hello.needs_copy_as_of >= copied_at;
  // Symptom: a value was gone without a word. Mechanism: a server told a node that it needed a copy, and when the copy
  // began it had heard another database under that identity, which needed none; so what the node had was merged with
  // what is settled at the source, as if it were newer. Mend: a copy is due until one is taken.
  peer.told_to_copy |= peer.needs_copy_there;
  if (hello.closed && core.state.lost == 0) return met_other_history(hello.your_newest);
  auto there = hello.progress.applied.find(core.state.self);
  if (there != hello.progress.applied.end() && !core.gave(there->second)) {
    core.number_from(there->second.number + 1);
    force = true;
  }
  if (hello.your_position == 0) return;
  core.number_from(hello.your_position + 1);
  if (hello.your_newest == peer.own_checked || core.state.lost != 0) return;
  if (core.knows_own(hello.your_newest)) {
    peer.own_checked = hello.your_newest;
    core.state.confirmed = std::max(core.state.confirmed, hello.your_newest);
    if (core.state.found && hello.your_position > core.state.found->position.number)
      core.confirmed_since_found(hello.your_newest);
    return;
  }
  met_other_history(hello.your_newest);
}

bool Node::Impl::told_what_it_has(const Peer& peer) const {
  return (peer.received || !peer.reachable()) && peer.has_of_ours && peer.has_of_ours->origin == core.state.self;
}

// How far others have of us, judged by versions: of a position that was shipped and whose record a crash lost it is not
// known any more here what was in it. Of a server whose last answer may be lost nobody knows what it has; but it takes
// nothing from further ahead than a minute.
// Symptom: after a clock had been set right a row was there twice. Mechanism: a new node had got it with a piece of its
// copy, and says what it has of whom only when that is done. Mend: what such pieces brought counts as taken; none is
// given that would be refused (Node::Impl::would_be_refused).
// Symptom: a row stood under two numbers after a clock had been set wrong. Mechanism: it stood two minutes behind all
// others, so what a server had last been sent seemed to be further ahead than it would take, and was given anew, but by
// the clock of that server it was of now, and taken. Mend: what a server refuses is judged by its clock.
Hlc Node::Impl::perhaps_taken() {
  Hlc taken = 0, refused_above = ms_to_hlc(core.now_ms() + 2 * limits::clock_ahead_ms);
  if (core.state.removed_has != 0)
    taken = core.state.removed_has <= refused_above ? core.state.removed_has : core.newest_own_up_to(refused_above);
  // Symptom: a row stood under two numbers after a crash. Mechanism: a server had copied it, and says so only when its
  // copy is done; that it had got it was in memory. Mend: it is on disk before a piece is given.
  taken = std::max(taken, core.copied_before);
  for (auto& [id, peer] : peers) {
    if (peer.copied.origin == core.state.self) taken = std::max(taken, peer.copied.hlc);
    if (known(peer).origin == 0) continue;
    auto ahead_ms = static_cast<std::uint64_t>(std::max(peer.clock_ahead_ms, std::int64_t{0}));
    Hlc refused_there = refused_above + ms_to_hlc(ahead_ms);
    bool told = told_what_it_has(peer) && (!peer.untold || peer.sent_hlc > refused_there);
    Hlc takes = refused_there - ms_to_hlc(limits::clock_ahead_ms);
    taken = std::max(taken, told ? peer.has_of_ours->hlc : takes);
  }
  return taken;
}

// A server is removed, and what it has of us is not known: others may get from it what they have not heard of us. What
// a crash lost is not in the log yet, so it is up to the clock that it may have our versions.
void Node::Impl::note_removed(const KnownServer& server, const Peer* peer) {
  bool told = peer && told_what_it_has(*peer);
  if (server.origin == 0 || (told && !peer->untold)) return;
  Hlc may_have = told ? peer->sent_hlc : core.store.clock().now();
  core.state.removed_has = std::max(core.state.removed_has, may_have);
}

// How far we have promised somebody that nothing comes from us any more. What they hand on is no more than that.
Hlc Node::Impl::promised() {
  Hlc promised = 0;
  for (auto& [id, peer] : peers)
    if (peer.received)
      if (auto ours = peer.received->find(core.state.self); ours != peer.received->end())
        promised = std::max(promised, ours->second);
  return promised;
}

// Between two versions of one moment the origin decides, and has decided here: the new one stands where ours stands
// among the others.
Origin Node::Impl::next_origin() {
  constexpr Origin least_room = 1 << 10, most_room = 1 << 20;
  Origin before = core.state.self, above = ~Origin{0};
  for (auto& [origin, member] : core.state.members)
    if (origin > before) above = std::min(above, origin);
  Origin room = std::min(above - before, most_room), random = core.services.random.next();
  return room < least_room ? random | 1 : before + 1 + random % (room - 1);
}

// After the clock was corrected, our versions are still those of the wrong time: they begin again behind what others
// have of us, and what we have of others.
void Node::Impl::judge_clock(const Progress& progress) {
  // Symptom: what a node had lost never came back to it. Mechanism: its clock was set right as well, and the new
  // incarnation that this brings knew nothing of a loss. Mend: who stands still stays who it is.
  if (!stopped().empty()) return;
  std::uint64_t now_ms = core.now_ms();
  Hlc ahead = core.store.clock().now();
  if (hlc_to_ms(ahead) <= now_ms + limits::own_clock_ahead_ms) return;
  Hlc horizon = core.horizon_with_others();
  // Who took some of ours may be no server of ours any more, and has it all the same.
  Hlc fork = std::max({core.newest_confirmed(progress.applied, horizon), perhaps_taken(), core.state.confirmed});
  Hlc floor = std::max({fork, core.newest_of_others(horizon), promised(), core.state.source_clock});
  // What others have stays as it is. Where that is ahead as well, it is this clock that is behind now.
  if (hlc_to_ms(floor) > now_ms + limits::own_clock_ahead_ms) return;
  // Symptom: a server of which all was settled became a new incarnation, long after its clock had been set right.
  // Mechanism: the others had taken all from ahead of the time, and when this was as far that they were not ahead of it
  // any more, the clock was, by moments. Mend: nobody refuses what is ahead by so little more, and time mends it.
  if (hlc_to_ms(ahead) < std::max(now_ms, hlc_to_ms(floor)) + least_back_ms) return;
  core.log('w', "the clock was corrected: versions that nobody has yet go back by " +
                    std::to_string((hlc_to_ms(ahead) - std::max(now_ms, hlc_to_ms(floor))) / 1000) + " s");
  Renewal renewal;
  renewal.before = core.state.self;
  renewal.after = next_origin();
  renewal.fork = fork;
  renewal.corrected = true;
  renewal.floor = floor;
  renewal.horizon = horizon;
  core.renew(std::move(renewal), core.identity, 0);
  for (auto& [id, peer] : peers) {
    peer.waits_for_clock = false;
    peer.received_as_of = peer.asked_at = 0;  // G may be lower than it was then
    peer.ready = nullptr;                     // it has the versions that were taken back
  }
  hand_on_again();
}

// Where all servers come to us nobody is greeted: what they said when they asked for changes is as good.
// Symptom: a new server got no copy for as long as its source's clock had been ahead. Mechanism: who takes a copy asks
// for no changes. Mend: what it said in its greeting is as good, too.
void Node::Impl::judge_clock_unasked() {
  for (auto& [id, peer] : peers)
    if (!peer.greets() && (peer.asked_for_changes || peer.waits_for_clock) && told_what_it_has(peer))
      return judge_clock({});
}

void Node::Impl::new_identity(const Request& request) {
  const std::string& kind = request.argument;
  Identity becomes = core.identity;
  if (kind == "moved") {
    core.store.begin(TransactionKind::write);
    core.store.set_identity(becomes);
    core.store.finish_request(request.id);
    core.store.commit();
  } else {
    // What is on its way may be taken still, and then belongs to the incarnation that made it.
    if (std::any_of(peers.begin(), peers.end(), [](auto& one) { return one.second.in_flight; })) return;
    bool copied = kind == "copied";
    if (copied) becomes.node = new_uuid(core.services.random);
    Renewal renewal{core.state.self, next_origin(), core.last_shared(), copied};
    if (copied && misplaced.empty()) renewal.awaited = core.services.random.next() | 1;
    core.renew(std::move(renewal), becomes, request.id);
    hand_on_again();
  }
  misplaced = core.store.place_trouble();
  copied_at = 0;
  decide_what_is_kept();
  queued.clear();
  copies.clear();
  core.copies_waiting_table = false;
  for (auto& [id, peer] : peers) {
    peer.twin = peer.met = peer.has_lost = peer.in_flight = peer.asking = false;
    peer.own_checked = 0;
    peer.retry_at_ms = peer.ask_at_ms = 0;
    peer.failures = 0;
    peer.blocked.clear();
    peer.start = {};
    peer.had_others = false;
    peer.generation++;
  }
}

// Did it know this database before that was put back or copied? What a new server lacks has not ended here.
bool Node::Impl::knew(const Peer& peer) {
  const std::string& node = known(peer).node;
  return !node.empty() && std::any_of(core.state.applied.begin(), core.state.applied.end(), [&](auto& one) {
    auto member = core.state.members.find(one.first);
    return one.first != core.state.self && member != core.state.members.end() && member->second.node == node;
  });
}

// What others forgot since this state was made comes in no document any more, and neither would they find what belongs
// to a change that was made here meanwhile. So the rows come whole, from one that has them all, before anything is
// shipped or taken.
// Symptom: rows were gone everywhere after a restore. Mechanism: the copy came from a server that gets some tables
// only, and the others were called complete as well. Mend: one of those is asked only where there is no other.
// Where the state that was put back is of before it had met anybody, it is one that has met the life that was lost.
std::vector<Peer*> Node::Impl::sources_to_come_back() {
  std::vector<Peer*> known, met_since;
  for (auto& [id, peer] : peers) {
    if (!peer.config.enabled || !peer.takes()) continue;
    if (knew(peer)) known.push_back(&peer);
    if (peer.has_lost) met_since.push_back(&peer);
  }
  std::vector<Peer*>& sources = known.empty() ? met_since : known;
  auto has_all = [](Peer* peer) { return peer->config.all_tables; };
  if (std::any_of(sources.begin(), sources.end(), has_all)) std::erase_if(sources, std::not_fn(has_all));
  return sources;
}

// Who of them has met the life that was lost shows when they have answered.
bool Node::Impl::awaits_greeting() {
  return std::any_of(peers.begin(), peers.end(), [](auto& one) {
    return one.second.config.enabled && one.second.takes() && one.second.greets() && !one.second.met;
  });
}

void Node::Impl::come_back() {
  std::vector<Peer*> sources = sources_to_come_back();
  if (sources.empty() && !core.state.missing.empty() && awaits_greeting()) return;
  bool first = std::all_of(sources.begin(), sources.end(), [this](Peer* peer) {
    return peer->met && peer->returning && core.identity.node < known(*peer).node;
  });
  if (first) {  // nobody who could give it one; or all wait for theirs
    // Symptom: a row stayed missing on a node that was put back, and no status said so. Mechanism: the backup was from
    // before it had met its servers, and none that has what was lost could be asked, so it took a copy from none; and
    // one that was put back counted as having taken it. Mend: it says that it has not.
    in_transaction([&] {
      core.state.returning = false;
      core.state.came_back_without |= sources.empty() && !core.state.missing.empty();
    });
    return;
  }
  if (taking_copy() || core.now_ms() < come_back_at_ms) return;
  for (Peer* peer : sources)
    if (peer->met && peer->reachable() && !peer->returning) return add_copy(0, *peer, true, "", CopyMode::source);
}

// None of them can be reached: a person must say under which URL.
bool Node::Impl::cannot_come_back(const Peer& peer) {
  if (!core.state.returning || peer.reachable() || !knew(peer)) return false;
  std::vector<Peer*> sources = sources_to_come_back();
  return std::none_of(sources.begin(), sources.end(), [](Peer* source) { return source->reachable(); });
}

// Of an incarnation that another one followed there may be two histories: what it had shipped before it was put back to
// an older state, and what it shipped afterwards, before it met anybody who knew better. The positions of the one hide
// those of the other. So whoever has any of it names it in its own log once more, and it is on all nodes in the end,
// whatever they count as applied of that origin.
// Symptom: a row differed on a new server after the one that it had copied from had left for good. Mechanism: a piece
// of the copy brought a change that its source had made after the copy began, and shipped to nobody else any more; what
// is handed on of the source ends where the copy began. Mend: so it is done with what is here of one that is gone and
// that none of its positions covers.
void Node::Impl::hand_on_again() {
  std::set<Origin> closed, gone;
  for (auto& [origin, member] : core.state.members) {
    if (core.handed_on_again.contains(origin)) continue;
    if (core.state.closed(origin))
      closed.insert(origin);
    else if (member.removed)
      gone.insert(origin);
  }
  if (closed.empty() && gone.empty()) return;
  in_transaction([&] {
    for (auto& [id, table] : core.tables())
      core.window.for_each(id, [&, &table = table](Entry& entry) {
        bool some = false;
        for (const Life& life : entry.state.lives)
          life.for_each_version([&](Version version) {
            bool beyond = closed.contains(version.origin) ||
                          (gone.contains(version.origin) && version.hlc > core.state.metas[version.origin].watermark);
            some |= beyond && version.hlc > core.state.prune_horizon;
          });
        if (some) core.store.note_local(table, LogOp::update, *entry.key, {});
      });
  });
  core.handed_on_again.insert(closed.begin(), closed.end());
  core.handed_on_again.insert(gone.begin(), gone.end());
  force = true;
}

// True if two runs of that node speak in turns.
bool Node::Impl::hears_twins(Peer& peer, std::uint64_t instance) {
  std::uint64_t now_ms = core.now_ms();
  if (instance != 0 && instance != peer.instance) {
    bool again = std::find(peer.instances.begin(), peer.instances.end(), instance) != peer.instances.end();
    if (!again) peer.instances.push_back(instance);
    if (peer.instances.size() > kept_instances) peer.instances.pop_front();
    peer.instance = instance;
    if (again) {
      peer.returns = now_ms < peer.returned_ms + turns_ms ? peer.returns + 1 : 1;
      peer.returned_ms = now_ms;
    }
  }
  return peer.returns >= turns && now_ms < peer.returned_ms + turns_ms;
}

}  // namespace rowmesh
