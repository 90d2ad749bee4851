// Copies: the taker pulls a table piece by piece, each piece one document. Changes are refused meanwhile; they come
// afterwards from the position at which the copy began, so what changed behind the copy's back comes again. Drawn in
// shared/sync/README.md. What the source answers: copying_answers.cpp;
// what settles with it: copying_settled.cpp; verify and repair: copying_checks.cpp.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "shared/model/hex.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;
constexpr std::uint64_t piece_timeout_ms = 120000;
constexpr std::uint64_t copy_again_ms = 5000;  // a node that comes back tries again, and one that is new
constexpr std::uint32_t most_doublings = 3;    // of that
constexpr int most_garbled = 10;               // answers in a row that are no piece, before a copy ends

Refusal refusal_of(const HttpResponse& response) {
  Refusal refusal;
  Progress progress;
  std::string body = response.status == 409 && response.body ? response.body->text(limits::control_body_bytes) : "";
  error_from_json(body, &refusal.error, &refusal.text, &progress);
  return refusal;
}

}  // namespace

CopyMode copy_mode_of(const std::string& name) {
  if (name == "source") return CopyMode::source;
  if (name == "verify") return CopyMode::verify;
  if (name == "repair") return CopyMode::repair;
  return name == "newer" ? CopyMode::newer : CopyMode::fail;
}

void Node::Impl::begin_copy(const Request& request) {
  for (const Copy& copy : copies)
    if (copy.request == request.id) return;
  json argument = json::parse(request.argument, nullptr, false);
  std::string server = argument.is_object() ? argument.value("server", "") : "";
  for (auto& [id, peer] : peers) {
    if (peer.config.name != server) continue;
    std::string table =
        argument.contains("table") && argument["table"].is_string() ? argument["table"].get<std::string>() : "";
    bool pull = argument.value("direction", "pull") != "push";
    CopyMode mode = copy_mode_of(argument.value("on_existing", "fail"));
    Copy* first = pull && table.empty() ? first_copy_from(id, mode) : nullptr;
    if (first && first->request == 0)
      first->request = request.id;
    else
      add_copy(request.id, peer, pull, table, mode);
    return;
  }
  in_transaction([&] { core.store.finish_request(request.id); });
}

bool Node::Impl::covers_all(const std::vector<std::string>& tables, const Peer& peer) {
  return std::all_of(core.tables().begin(), core.tables().end(), [&](auto& one) {
    const std::string& name = one.second.wire_name;
    return !peer.gives(name) || std::find(tables.begin(), tables.end(), name) != tables.end();
  });
}

void Node::Impl::add_copy(std::int64_t request, Peer& peer, bool pull, const std::string& table, CopyMode mode) {
  Copy copy;
  copy.request = request;
  copy.peer = peer.config.id;
  copy.pull = pull;
  copy.mode = mode;
  for (auto& [id, known] : core.tables())
    if ((table.empty() && peer.config.exchanges(known.wire_name)) || table == known.wire_name ||
        (!table.empty() && table == known.local_name))
      copy.tables.push_back(known.wire_name);
  copy.tables_in_all = copy.tables.size();
  copy.everything = covers_all(copy.tables, peer) || (table.empty() && core.state.returning);
  copies.push_back(std::move(copy));
}

// A new node: what is written to it before its copy is done goes out afterwards. Until the first piece it may have to
// be given anew, which it can be as long as nobody has got any of it; and whoever truncates a table here has not seen
// the rows that are still to come: as they come, they are listed here (Merger), if they are still there to come.
// And who adopts what a source has is as far in forgetting as that one from the first piece on, but does not know
// before the last one what has ended there.
bool Node::Impl::keeps_to_itself() {
  if (!copies.empty() && copies.front().adopt && copies.front().given_up.empty() && !copies.front().start.empty())
    return true;
  if (core.state.joined || core.state.own_meta().newest == 0) return false;
  if (awaits_servers) return true;
  return std::any_of(copies.begin(), copies.end(),
                     [](const Copy& copy) { return copy.pull && copy.everything && !copy.checks() && !copy.adopt; });
}

void Node::Impl::go_on_copying() {
  if (!core.state.asked_copies.empty()) take_up_asked_copies();
  stand_still_while_copying();
  if (copies.empty()) return;
  Copy& copy = copies.front();
  auto found = peers.find(copy.peer);
  if (found == peers.end() || !found->second.config.enabled) return end_copy("the server was removed or disabled");
  Peer& peer = found->second;
  if (!peer.reachable())
    return end_copy("this server has no URL for '" + peer.config.name + "': call copy there instead");
  if (!peer.met || peer.in_flight || peer.retry_at_ms > core.now_ms()) return;
  if (copy.pause_until_ms > core.now_ms()) {
    next_wake_ms = std::min(next_wake_ms, copy.pause_until_ms);
    return;
  }
  if (copy.read) return guard_copy(copy, peer, [&] { end_copied_table(copy); });
  HttpRequest request;
  if (!copy.pull) {
    request.method = "POST";
    request.path = "/rowmesh/v1/copy";
    constexpr const char* modes[] = {"fail", "fail", "source", "newer", "verify", "repair"};
    request.body = std::make_shared<Body>(
        json{{"tables", copy.tables}, {"on_existing", modes[static_cast<int>(copy.mode)]}}.dump());
    send(peer, std::move(request), piece_timeout_ms, [this](Peer& answered, const HttpResponse& response) {
      if (response.status != 202) failed(answered, response);
      // Symptom: a server that had been added with a copy never got it. Mechanism: it had not met this one yet, or was
      // away for a moment. Mend: it is asked until it says what it thinks of it.
      bool again = response.status == 0 || response.status == 429 || response.status >= 500;
      if (again)
        copies.front().pause_until_ms = core.now_ms() + copy_again_ms;
      else
        end_copy(response.status == 202 ? "" : answered.last_error);
    });
    return;
  }
  while (!copy.tables.empty() && !peer.gives(copy.tables.front())) {
    if (copy.tables.size() == copy.tables_in_all) copy.tables_in_all--;
    copy.tables.erase(copy.tables.begin());
  }
  if (copy.tables.empty()) return end_copy("");
  const Table* table = core.table_by_wire_name(copy.tables.front());
  if (!table) return end_copy("table '" + copy.tables.front() + "' is not replicated here any more");
  if (!copy.begun) {
    copy.session = {};
    copy.session.mode = copy.mode;
    if (copy.tables.size() == copy.tables_in_all) {
      copy.met_in_lost_life = core.state.returning && peer.has_lost && !knew(peer);
      copy.adopt = !copy.given_up.empty() || (core.state.returning && knew(peer)) || copy.met_in_lost_life ||
                   std::any_of(peers.begin(), peers.end(), [](auto& one) { return one.second.told_to_copy; });
    }
    copy.session.adopt = copy.adopt;
    copy.session.met_in_lost_life = copy.met_in_lost_life;
    copy.session.names_again = comes_back_with(copy) && core.state.ran_as_another;
    stand_still_while_copying(true);
    core.store.begin(TransactionKind::read);
    core.cut(false);
    if (copy.checks()) copy.session.target_was_empty = false;
    // Rows that came since the table was added have versions: they merge with what comes as any change does, and are
    // shipped by themselves.
    // Symptom: a row stayed on the taker of two copies, one right after the other. Mechanism: the first had brought it
    // as settled, so nobody got it as a change; but it was known still, and so the table counted as empty for the
    // second, which compared nothing. Mend: what came as settled is a row of before.
    core.store.scan_rows(*table, {}, [&](std::size_t, KeyView key, RowView) {
      const Entry* known = core.window.find(table->id, key);
      if (known && std::any_of(known->state.lives.begin(), known->state.lives.end(),
                               [](const Life& life) { return !life.birth.settled(); }))
        return true;
      copy.session.target_was_empty = false;
      return false;
    });
    core.store.commit();
    if (copy.adopt) copy.session.target_was_empty = false;
    // Symptom: rows were gone on a node that had come back by a copy. Mechanism: the database had been busy when the
    // copy began, and when it went on it was not noted that the table had rows; so none of the rows that came were
    // remembered, and all of them counted as ended at the source. Mend: it has begun when all of that is noted.
    copy.begun = true;
  }
  request.method = "GET";
  request.path = "/rowmesh/v1/rows";
  request.query =
      "table=" + bytes_to_hex(copy.tables.front()) + "&after=" + bytes_to_hex(copy.after) + told_in_greeting(peer);
  if (std::uint64_t number = waits_as(false)) request.query += "&waits=" + to_hex(number);
  request.bytes_per_second = peer.config.options.rate_limit;
  peer.in_flight = true;
  peer.asked_ms = core.now_ms();
  post(peer, std::move(request), piece_timeout_ms, limits::body_bytes,
       {.done = [this](Peer& answered, HttpResponse piece) { take_copied(answered, std::move(piece)); }});
}

void Node::Impl::take_copied(Peer& peer, HttpResponse response) {
  if (copies.empty()) return;
  Copy& copy = copies.front();
  refused_by.erase(peer.config.id);
  if (response.status != 200) {
    bool refused_for_copy = response.status == 503 && source_refused(peer, response);
    if (source_is_new_itself(copy, peer, response))
      copies.pop_front();
    else if (refused_for_copy)
      let_others_go_first();
    if (Refusal refused = refusal_of(response); refused.error == "clock")
      return guard_copy(copy, peer, [&] { throw refused; });
    return failed(peer, response);  // and again from the same row, when it is back
  }
  auto encoding = response.headers.find("content-encoding");
  Applier applier(core, response.body, encoding != response.headers.end() && encoding->second == "zstd");
  guard_copy(copy, peer, [&] {
    applier.check([](Origin) { return true; });
    // It speaks of a moment before what has been forgotten here meanwhile: nobody could tell what is on its way.
    if (copy.checks() && applier.header().horizon < core.state.prune_horizon) return;
    if (!copy.given_up.empty() && copy.start.empty()) {
      if (!has_all_of_ours(applier.header())) return end_copy("the source has not heard of all yet");
      core.copies_waiting_table = true;
    }
    if (copy.start.empty()) copy.begun_elsewhere = !core.state.joined && !foreign_entries().empty();
    if (copy.start.empty()) give_anew_what_nobody_has(copy, applier.header());
    settle_as_source(copy, applier.header());
    if (copy.start.empty()) {
      if (comes_back_with(copy)) {
        core.rebase(applier.header().hlc);
        forget_truncates(applier.header().prune_horizon);
        settle_for_who_is_awaited(applier.header().prune_horizon);
      }
      copy.start = applier.header().to;
      copy.forgotten = applier.header().from;
      copy.start_metas = applier.header().metas;
      copy.start_parked = applier.header().parked;
      copy.start_given_up = applier.header().given_up;
      copy.newest = std::min(applier.header().newest, applier.header().hlc);
      copy.start_horizon = {applier.header().prune_horizon, applier.header().sender};
      // What a node that comes back wrote is newer than that now, and what it has of others is there as well.
      if (copy.adopt && !core.state.returning && copy.given_up.empty())
        give_up_old_changes(applier.header().prune_horizon, peer);
    }
    in_store = true;
    applier.run(core.services.breathe, &copy.session);
    in_store = false;
    copy.garbled = 0;
    if (!copy.session.compares_first() && !copy.checks()) copy.rows += applier.rows();
    peer.rows_received += applier.rows();
    auto last = response.headers.find("x-rowmesh-last");
    if (applier.header().copy_more && last != response.headers.end()) {
      copy.after = bytes_from_hex(last->second);
      return;
    }
    copy.read = true;
    copy.reached = applier.header().to;
    copy.source_horizon = applier.header().prune_horizon;
    end_copied_table(copy);
  });
}

void Node::Impl::guard_copy(Copy& copy, Peer& peer, const std::function<void()>& step) {
  try {
    step();
  } catch (const Refusal& refusal) {
    in_store = false;
    if (!put_off(copy, peer, refusal)) end_copy(refusal.text);
  } catch (const Error& error) {
    in_store = false;
    core.store.rollback();
    core.window.undo_changes();
    if (garbled(copy, peer, error)) return;
    if (error.kind() != ErrorKind::transient) return end_copy(error.what());
    core.log('i', std::string("copying: ") + error.what());
  } catch (const OtherHistory& other) {
    // Symptom: the process of a database that had been copied ended. Mechanism: that its copy runs as well was seen by
    // a row of a piece, which nobody looked for there. Mend: it tells of another history as a document does.
    in_store = false;
    met_other_history(other.newest);
  }
}

// Symptom: a row of a new node had two lives, for ever. Mechanism: its source's clock was ahead, so its copy had ended;
// before it was asked for again, the node took changes, and a row that had settled at the source and one that another
// server named by its birth counted as two. Mend: the copy of a new node waits until the clock is right, and changes
// with it.
bool Node::Impl::put_off(Copy& copy, Peer& peer, const Refusal& refusal) {
  if (refusal.error != "clock" || core.state.joined || !copy.everything || !copy.start.empty()) return false;
  if (peer.last_error != refusal.text)
    core.log('w', "copy with server '" + peer.config.name + "' waits: " + refusal.text);
  peer.last_error = refusal.text;
  copy.pause_until_ms = core.now_ms() + copy_again_ms;
  return true;
}

// Symptom: a copy that people had asked for ended, and rows were missing. Mechanism: a proxy had given half an answer,
// or a page of its own with status 200, and what does not decode counted as the source's last word. Mend: the piece is
// asked for again, as after any answer that is not one of rowmesh, unless it is never one.
bool Node::Impl::garbled(Copy& copy, Peer& peer, const Error& error) {
  if (error.kind() != ErrorKind::protocol || ++copy.garbled > most_garbled) return false;
  HttpResponse none;
  none.status = 200;
  failed(peer, none);
  core.log('i', std::string("copying: ") + error.what());
  return true;
}

void Node::Impl::end_table(Copy& copy) {
  const Table* table = core.table_by_wire_name(copy.tables.front());
  if (table && copy.adopt)
    Applier(core).adopt_absence(*table, copy.session, copy.start_horizon);
  else if (table && !copy.checks() && copy.session.compares_first())
    judge_extra_rows(copy, *table);
  copy.after.clear();
  if (table && copy.checks() && !end_check(copy)) return;
  if (table && copy.session.compares_first()) {  // now in earnest
    copy.session = {};
    copy.session.mode = CopyMode::none;
    return;
  }
  copy.tables_done.push_back(std::move(copy.tables.front()));
  copy.tables.erase(copy.tables.begin());
  copy.begun = false;
}

// Of a check that is what was found.
void Node::Impl::tell_end_of_copy(const Copy& copy, const std::string& failure) {
  auto found_peer = peers.find(copy.peer);
  Peer* peer = found_peer == peers.end() ? nullptr : &found_peer->second;
  if (peer && copy.checks() && copy.pull) {
    const Differences& found = copy.found;
    peer->checked = std::string(copy.mode == CopyMode::verify ? "verified: " : "repaired: ") +
                    std::to_string(found.compared) + " rows compared, " + std::to_string(found.differ) + " differ, " +
                    std::to_string(found.missing_here) + " only there, " + std::to_string(found.only_here) +
                    " only here" +
                    (found.on_their_way > 0 ? ", " + std::to_string(found.on_their_way) + " still changing" : "") +
                    (found.all() > 0 ? "; see conflicts for them" : "");
    if (!failure.empty()) peer->checked = "not verified: " + failure;
  }
  if (!failure.empty() && !copy.given_up.empty()) return;  // the status tells
  std::string name = peer ? peer->config.name : "?";
  core.log(failure.empty() ? 'i' : 'w',
           failure.empty() ? "copy with server '" + name + "' done: " + std::to_string(copy.rows) + " rows"
                           : "copy with server '" + name + "' ended: " + failure);
  if (!peer) return;
  if (failure.empty() && copy.pull && !copy.checks() && copy.given_up.empty())
    peer->checked = "copied: " + std::to_string(copy.rows) + " rows";
}

// If that cannot be committed the copy is taken again, as what it was: what only memory knows of it changes afterwards.
void Node::Impl::end_copy(const std::string& failure) {
  Copy copy = std::move(copies.front());
  copies.pop_front();
  auto peer = peers.find(copy.peer);
  bool had_peer = peer != peers.end();
  bool all_taken = had_peer && failure.empty() && copy.everything;
  if (all_taken && !copy.checks()) core.cut_alone(true);
  PositionNumber taken_at = core.state.applied[core.state.self].number;
  decide_what_is_kept();
  Batch copied;
  in_transaction(
      [&] {
        if (failure.empty()) counts_as_reached(copy, copied);
        if (failure.empty() && copy.begun_elsewhere)
          for (const Entry* entry : foreign_entries())
            if (const Table* table = core.table(entry->table))
              core.store.note_local(*table, LogOp::update, *entry->key, {});
        if (failure.empty() && !copy.given_up.empty()) takes_changes_again(copy, copied);
        if (failure.empty() && had_peer && !copy.pull)
          for (const std::string& table : copy.tables) known(peer->second).withheld.erase(table);
        if (all_taken) core.state.not_compared.erase(copy.peer);
        // (Of a table that was given up the status tells otherwise.)
        if (had_peer && (failure.empty() || copy.given_up.empty())) known(peer->second).copy_error = failure;
        if (copy.request != 0) core.store.finish_request(copy.request);
        if (copy.asked) std::erase(core.state.asked_copies, *copy.asked);
        if (failure.empty() && copy.pull && copy.everything && !copy.checks()) {
          core.state.joined = true;
          core.state.came_back_without = false;
        }
        if (failure.empty() && copy.everything && comes_back_with(copy)) {
          core.state.returning = false;
          core.state.prune_horizon = std::max(core.state.prune_horizon, copy.start_horizon.hlc);
          came_with(copy);
        }
      },
      &copied);
  tell_end_of_copy(copy, failure);
  if (all_taken)
    for (auto& [id, other] : peers) other.needs_copy_there = other.told_to_copy = false;
  if (all_taken && !copy.checks()) copied_at = taken_at;
  if (!copy.given_up.empty()) end_copy_of_given_up(copy, failure);
  decide_what_is_kept();
  if (failure.empty()) return;
  std::uint32_t before = had_peer && copy.everything && !core.state.returning ? peer->second.first_copies_failed++ : 0;
  come_back_at_ms = core.now_ms() + (copy_again_ms << std::min(before, most_doublings));
}

}  // namespace rowmesh
