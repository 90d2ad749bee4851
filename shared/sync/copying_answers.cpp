// What a server answers that is copied from: a piece of a table, and "then copy from me", which whoever cannot be
// reached says.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "shared/http/auth.hpp"
#include "shared/http/query.hpp"
#include "shared/model/hex.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;

}  // namespace

HttpResponse Node::Impl::answer_rows(const HttpRequest& request, Peer& peer) {
  if (in_store) return refuse(RefusedFor::other, 503, "busy", "a long document is being applied here; ask again");
  if (gives_none(request, peer)) return refuse_piece("a copy is being taken in here; copy when it is done");
  if (core.state.returning)
    return refuse_piece(
        "this database was put back or copied and has not taken its own copy yet; copy when that is done");
  const Table* table = core.table_by_wire_name(bytes_from_hex(query_value(request.query, "table").value_or("")));
  if (!table)
    return refuse(RefusedFor::other, 409, "schema", "the table is not replicated on the source; call add_table there");
  if (core.unwritten() >= limits::unwritten_positions)
    return refuse(RefusedFor::other, 503, "busy", "the history cannot be written here now; ask again");
  if (would_be_refused(request, peer))
    return refuse(RefusedFor::other, 409, "clock", "the clock of this server is ahead of yours; set both by NTP");
  in_store = true;
  HttpResponse response;
  try {
    Key last;
    bool compress = peer.zstd && peer.config.options.compression == ServerOptions::Compression::on;
    core.secure_numbers();
    core.store.begin(TransactionKind::read);
    core.cut(false);
    MadeDocument made =
        make_copy_document(core, *table, bytes_from_hex(query_value(request.query, "after").value_or("")),
                           peer.config.options, compress, &last);
    core.store.commit();
    core.state.copied_up_to = std::max(core.state.copied_up_to, core.state.own_meta().newest);
    core.note_joined();
    response.status = 200;
    response.headers["content-type"] = "application/x-ndjson";
    if (made.compressed) response.headers["content-encoding"] = "zstd";
    response.headers["x-rowmesh-last"] = bytes_to_hex(last);
    response.body = made.body;
    peer.rows_sent += made.rows;
    core.state.not_compared.erase(peer.config.id);
    peer.copied = {core.state.own_meta().newest, core.state.self};
    peer.needs_copy = false;  // judged anew when it has said where it stands
    peer.met = false;
  } catch (...) {
    core.store.rollback();
    in_store = false;
    throw;
  }
  in_store = false;
  return response;
}

// Symptom: a row stood under two numbers after a clock had been set right. Mechanism: a server had taken pieces of a
// copy when the clock was not ahead; that it had refused others, or must have, was judged by the clock of afterwards,
// so those counted as refused as well, and what they had brought was given anew. Mend: what would be refused is not
// given, so what was given may have been taken.
bool Node::Impl::would_be_refused(const HttpRequest& request, Peer& peer) {
  std::uint64_t clock_there_ms = signed_at_ms(request);
  peer.waits_for_clock = hlc_to_ms(core.store.clock().now()) > clock_there_ms + limits::clock_ahead_ms;
  // Who takes a copy asks for no changes, and its last answer to such a question is not known to have come.
  if (peer.waits_for_clock && !peer.greets() && query_number(request.query, "yours") == core.state.self) {
    peer.has_of_ours = Version{query_number(request.query, "newest"), core.state.self};
    peer.untold = false;
  }
  return peer.waits_for_clock;
}

HttpResponse Node::Impl::answer_copy(const HttpRequest& request, Peer& peer) {
  json argument = json::parse(request.body ? request.body->text(limits::control_body_bytes) : "", nullptr, false);
  if (!argument.is_object() || !argument.contains("tables") || !argument["tables"].is_array())
    return refuse(RefusedFor::other, 400, "bad_request", "the tables to copy are missing");
  if (peer.config.url.empty())
    return refuse(RefusedFor::direction, 409, "forbidden",
                  "this server has no URL for you, so it cannot fetch a copy; let it be pulled the other way round");
  if (!peer.takes())
    return refuse(RefusedFor::direction, 403, "forbidden", "this server takes nothing from you (direction 'push')");
  if (in_store) return refuse(RefusedFor::other, 503, "busy", "a long document is being applied here; ask again");
  if (copies.size() >= limits::copies)
    return refuse(RefusedFor::other, 503, "busy", "too many copies wait here already; ask again when some are done");
  json on_existing = argument.value("on_existing", json("fail"));
  CopyMode mode = copy_mode_of(on_existing.is_string() ? on_existing.get<std::string>() : "fail");
  NodeState::AskedCopy asked{peer.config.id, static_cast<std::uint64_t>(mode), {}};
  for (auto& name : argument["tables"])
    if (name.is_string() && core.table_by_wire_name(name.get<std::string>()))
      asked.tables.push_back(name.get<std::string>());
  auto& all = core.state.asked_copies;
  // Whoever did not get the answer asks again.
  if (std::find(all.begin(), all.end(), asked) == all.end()) {
    all.push_back(asked);
    std::string error_before = std::exchange(known(peer).copy_error, "");
    try {
      in_transaction([] {});
    } catch (const Error& error) {
      all.pop_back();
      known(peer).copy_error = error_before;
      return refuse(RefusedFor::other, 503, "busy", error.what());
    }
  }
  take_up_asked_copies();
  HttpResponse response;
  response.status = 202;
  response.body = std::make_shared<Body>("{}");
  return response;
}

// Symptom: a server that had been added with a copy lacked rows for ever, though all servers streamed. Mechanism: it
// was killed after it had said that it takes the copy, and knew nothing of it afterwards; the other one took it for
// done. Mend: what it has been asked for is on disk before it says so.
void Node::Impl::take_up_asked_copies() {
  for (const NodeState::AskedCopy& asked : core.state.asked_copies) {
    if (std::any_of(copies.begin(), copies.end(), [&](const Copy& copy) { return copy.asked == asked; })) continue;
    Copy copy;
    copy.asked = asked;
    copy.peer = asked.server;
    copy.mode = static_cast<CopyMode>(asked.mode);
    copy.tables = asked.tables;
    copy.tables_in_all = copy.tables.size();
    auto peer = peers.find(asked.server);
    copy.everything = peer != peers.end() && covers_all(copy.tables, peer->second);
    Copy* first = copy.everything ? first_copy_from(asked.server, copy.mode) : nullptr;
    if (first && !first->asked)
      first->asked = asked;
    else
      copies.push_back(std::move(copy));
  }
}

}  // namespace rowmesh
