// For servers that nobody can reach (behind a NAT, a laptop): they push their own changes like everybody, and ask for
// ours with a request that is answered when there are some, or with "nothing yet" after a while. The document is the
// one that a push would carry.
#include <algorithm>
#include <utility>

#include "shared/model/hex.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t hold_ms = 20000;  // an answer is kept back so long: below what proxies allow an idle request
// A question that got lost silences the line for so long: an address translator may forget a connection without a word.
constexpr std::uint64_t ask_timeout_ms = hold_ms + 10000;
// Where answers are long; and after some questions without any, for the line may be slow.
constexpr std::uint64_t long_ask_timeout_ms = 3 * ask_timeout_ms;
constexpr std::size_t long_answer_bytes = 256 * 1024;
constexpr std::uint64_t applying_ms = 10;  // until the next look whether a long document is applied
constexpr std::string_view part = "progress=", whole_part = "&whole=", stale_mark = "&stale=1";
constexpr std::size_t wanted_bytes = 2000;  // more is not named row by row in a request's query

HttpResponse nothing_yet() {
  HttpResponse response;
  response.status = 204;
  return response;
}

}  // namespace

// ---- who asks ----

void Node::Impl::ask_for_changes() {
  for (auto& [id, peer] : peers) {
    if (!enabled || !peer.greets() || !peer.takes() || !peer.met || !peer.ask || peer.asking || taking_copy() ||
        awaits_first_copy(peer))
      continue;
    if (peer.ask_at_ms <= core.now_ms())
      ask(peer);
    else
      next_wake_ms = std::min(next_wake_ms, peer.ask_at_ms);
  }
}

void Node::Impl::ask(Peer& peer) {
  std::int64_t id = peer.config.id;
  if (applying == id || queued.contains(id)) {
    peer.ask_at_ms = core.now_ms() + applying_ms;
    next_wake_ms = std::min(next_wake_ms, peer.ask_at_ms);
    return;
  }
  if (auto refused = refusals.extract(id)) return refuse_asked(peer, refused.mapped());
  HttpRequest request;
  request.method = "GET";
  request.path = "/rowmesh/v1/changes";
  Progress told = progress();
  told.question = {peer.instance_there, instance, ++peer.questions};
  request.query = std::string(part) + bytes_to_hex(progress_to_json(told, 0, 0));
  if (peer.wanted_of_it.any()) {
    std::string wanted = wanted_to_json(peer.wanted_of_it);
    request.query += std::string(whole_part) + bytes_to_hex(wanted.size() <= wanted_bytes ? wanted : "\"all\"");
  }
  if (std::exchange(peer.ask_stale, false)) request.query += stale_mark;
  peer.asking = true;
  std::uint64_t timeout_ms = std::min(long_ask_timeout_ms, ask_timeout_ms * (1 + peer.ask_failures));
  post(peer, std::move(request), peer.long_answers ? long_ask_timeout_ms : timeout_ms, limits::body_bytes,
       {.done = [this](Peer& answered, const HttpResponse& got) { take_asked(answered, got); }, .asked = true});
}

void Node::Impl::take_asked(Peer& peer, const HttpResponse& response) {
  peer.asking = false;
  peer.ask_at_ms = core.now_ms();
  if (response.status == 204 || response.status == 200) {
    peer.last_success_ms = peer.last_received_ms = core.now_ms();
    if (response.status == 204) peer.ask_failures = 0;
  } else {
    peer.ask_at_ms += backoff_ms(peer.ask_failures++, core.services.random.next());
    failed(peer, response);
    return;
  }
  if (response.status == 204 || !response.body) return;
  peer.long_answers = response.body->size() > long_answer_bytes;
  auto encoding = response.headers.find("content-encoding");
  bool compressed = encoding != response.headers.end() && encoding->second == "zstd";
  if (response.body->size() > limits::inline_apply_bytes) {
    queued[peer.config.id] = {response.body, compressed};
    return;
  }
  try {
    apply_inline(peer, response.body, compressed);
    peer.ask_failures = 0;
    peer.wanted_of_it = {};
    peer.last_error.clear();
  } catch (const Refusal& refusal) {
    return refuse_asked(peer, refusal);
  } catch (const Error& error) {
    peer.last_error = error.what();
    peer.ask_at_ms = core.now_ms() + backoff_ms(peer.ask_failures++, core.services.random.next());
    next_wake_ms = std::min(next_wake_ms, peer.ask_at_ms);
    core.log(error.kind() == ErrorKind::transient ? 'i' : 'w',
             "a document of server '" + peer.config.name + "' was not applied: " + error.what());
  }
}

void Node::Impl::refuse_asked(Peer& peer, const Refusal& refusal) {
  core.counters.refused.count(RefusedFor::document);
  peer.ask_stale = refusal.error == "stale";
  peer.wanted_of_it = refusal.wanted;
  if (refusal.error == "stale") force = true;
  bool again =
      (refusal.error == "stale" || refusal.error == "gap" || refusal.error == "incomplete") && peer.ask_failures == 0;
  if (!again) peer.last_error = refusal.text;
  peer.ask_at_ms = core.now_ms() + (again ? 0 : backoff_ms(peer.ask_failures, core.services.random.next()));
  next_wake_ms = std::min(next_wake_ms, peer.ask_at_ms);
  peer.ask_failures++;
}

// ---- who is asked ----

// Symptom: a server was said to need a copy, though it lacked nothing. Mechanism: a question of before a crash had been
// delivered twice, and came the second time when its nonce had been forgotten in the crash; so what it told counted as
// of now. Mend: a question says to which run it is put, and which one it is. (Its time says nothing: a clock may have
// been set back. An older server does not say it.)
bool Node::Impl::takes_question(const Progress& told, Peer& peer) {
  if (!told.question) return true;
  auto [to, by, count] = *told.question;
  bool of_this_run = to == instance && (peer.instance == 0 || by == peer.instance);
  if (!of_this_run || (by == peer.asked_by && count <= peer.asked_count)) return false;
  peer.asked_by = by;
  peer.asked_count = count;
  return true;
}

HttpResponse Node::Impl::answer_asked(const HttpRequest& request, Peer& peer) {
  if (peer.reachable() || !peer.may_ship())
    return refuse(
        RefusedFor::direction, 403, "forbidden",
        "this server does not hand out changes to you: it sends them to the URL that it has for you, or takes only");
  std::string_view query = request.query;
  bool stale = query.ends_with(stale_mark);
  if (stale) query.remove_suffix(stale_mark.size());
  std::size_t whole = query.find(whole_part);
  peer.wanted = whole == std::string_view::npos
                    ? WantedRows{}
                    : wanted_from_json(bytes_from_hex(query.substr(whole + whole_part.size())));
  if (whole != std::string_view::npos) query = query.substr(0, whole);
  if (!query.starts_with(part))
    return refuse(RefusedFor::other, 400, "bad_request", "the request does not say what is applied there");
  std::uint64_t rows = 0, conflicts = 0;
  Progress told = progress_from_json(bytes_from_hex(query.substr(part.size())), &rows, &conflicts);
  if (!takes_question(told, peer))
    return refuse(RefusedFor::other, 503, "late",
                  "this question is older than what was heard since; greet and ask again");
  peer.ask_again = false;
  take_progress(peer, told);
  note_taken(peer, told);
  peer.last_received_ms = core.now_ms();
  peer.asked_for_changes = true;
  peer.asked_since_ms = core.now_ms();
  peer.ready = nullptr;  // made for an earlier request, whose answer did not arrive
  if (stale) force = true;
  return {};
}

// Symptom: a row of a server that was copying had two lives everywhere. Mechanism: an answer to a question had brought
// it to another server, which said so with its next question; but how new it is was known from the greeting before, so
// it was given anew with the copy. Mend: where the position says that the answer was taken, its newest version is
// there.
void Node::Impl::note_taken(Peer& peer, const Progress& told) {
  peer.untold = false;
  auto there = told.applied.find(core.state.self);
  if (!peer.has_of_ours || there == told.applied.end() || there->second.number < peer.handed.number) return;
  if (peer.handed.newest.origin == peer.has_of_ours->origin)
    peer.has_of_ours = std::max(*peer.has_of_ours, peer.handed.newest);
}

HttpResponse Node::Impl::later(const HttpRequest& request) {
  Peer* peer = peer_of(request);
  if (!peer || !peer->asked_for_changes) return nothing_yet();
  peer->asked_at = core.state.prune_horizon;  // it asks again when it has this answer
  if (peer->ready) {
    HttpResponse response;
    response.status = 200;
    response.headers["content-type"] = "application/x-ndjson";
    if (peer->ready_compressed) response.headers["content-encoding"] = "zstd";
    response.body = std::exchange(peer->ready, nullptr);
    peer->asked_for_changes = false;
    peer->untold = true;
    return response;
  }
  if (core.now_ms() < peer->asked_since_ms + hold_ms && peer->may_ship() && enabled && !peer->ask_again) return {};
  peer->asked_for_changes = false;
  return nothing_yet();
}

}  // namespace rowmesh
