#include "shared/net/port_door.hpp"

#include <algorithm>
#include <array>

#include "shared/http/auth.hpp"
#include "shared/model/error.hpp"
#include "shared/net/listener.hpp"
#include "shared/net/poller.hpp"

namespace rowmesh {
namespace {

constexpr std::int64_t look_again_ms = 1000;
constexpr const char* client_header = "x-rowmesh-client";
constexpr const char* seal_header = "x-rowmesh-client-seal";

// What the plain root of a shared port answers: the door's own page and what a monitor asks.
constexpr std::array<std::string_view, 4> at_the_root = {"", "dashboard", "health", "metrics"};

std::string seal(const std::string& key, const std::string& text) {
  return hmac_sha256_hex(key, "the door of a shared port speaks for\n" + text);
}

std::string part(std::string_view& text) {
  std::size_t end = std::min(text.find(' '), text.size());
  std::string taken(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

bool is_wildcard(const std::string& host) { return host == "*" || host == "0.0.0.0" || host == "::"; }

// Where the neighbour can be reached on the wanted port; nullopt: elsewhere, or the port is its own.
std::optional<ListenAddress> on_the_port(const ListenAddress& wanted, const Neighbour& one) {
  try {
    ListenAddress at = parse_listen_address(one.address);
    bool meets = at.host == wanted.host || is_wildcard(at.host) || is_wildcard(wanted.host);
    if (at.port == wanted.port && meets && !at.path.empty()) return at;
  } catch (const Error&) {
    // Of another version, perhaps; it is not for us.
  }
  return std::nullopt;
}

bool begins_with_path(const std::string& text, const std::string& path) {
  return text.starts_with(path) && (text.size() == path.size() || text[path.size()] == '/');
}

}  // namespace

void introduce(const DoorClient& client, const std::string& key, HttpRequest& request) {
  std::string text = client.address + (client.tls ? " tls" : " plain") + " " + client.authorities;
  request.headers[client_header] = text;
  request.headers[seal_header] = seal(key, text);
}

std::optional<DoorClient> introduced(const std::string& key, HttpRequest& request) {
  auto said = request.headers.extract(client_header), sealed = request.headers.extract(seal_header);
  if (said.empty() && sealed.empty()) return std::nullopt;
  if (said.empty() || sealed.empty() || key.empty() || !equal_constant_time(seal(key, said.mapped()), sealed.mapped()))
    throw Error(ErrorKind::permanent, "bad_seal", "the request says for whom it asks, and does not prove that it may");
  std::string_view text = said.mapped();
  DoorClient client;
  client.address = part(text);
  client.tls = part(text) == "tls";
  client.authorities = part(text);
  return client;
}

std::vector<Neighbour> PortDoor::neighbours() const {
  return sharing_.neighbours ? sharing_.neighbours() : std::vector<Neighbour>();
}

const std::vector<Neighbour>& PortDoor::known() {
  std::int64_t now_ms = steady_ms();
  if (looked_ms_ >= 0 && now_ms < looked_ms_ + look_again_ms) return known_;
  looked_ms_ = now_ms;
  try {
    known_ = neighbours();
  } catch (const Error&) {
    // The database is busy: those of a moment ago are most likely right.
  }
  return known_;
}

PortDoor::Place PortDoor::place_of(const ListenAddress& own, HttpRequest& request, Neighbour& behind) {
  auto take_off = [&request](const std::string& path) {
    request.path.erase(0, path.size());
    return request.path.empty() ? Place::no_slash : Place::here;
  };
  if (begins_with_path(request.path, own.path)) return take_off(own.path);
  std::string first = request.path.substr(1, request.path.find('/', 1) - 1);
  if (std::find(at_the_root.begin(), at_the_root.end(), first) != at_the_root.end() || first == "api")
    return Place::here;
  if (first == "rowmesh") return Place::root_only;
  for (const Neighbour& one : known()) {
    std::optional<ListenAddress> at = on_the_port(own, one);
    if (!at || one.inside.empty() || !begins_with_path(request.path, at->path)) continue;
    behind = one;
    return take_off(at->path) == Place::here ? Place::behind : Place::no_slash;
  }
  return Place::nobody;
}

std::unique_ptr<Relay> PortDoor::relay(const Neighbour& to, HttpRequest head, const DoorClient& client,
                                       Relay::Size size) {
  introduce(client, to.key, head);
  return std::make_unique<Relay>(client_, "http://" + to.inside, std::move(head), size);
}

void PortDoor::refuse_taken(const ListenAddress& wanted, const std::string& inside) const {
  for (const Neighbour& one : neighbours()) {
    std::optional<ListenAddress> at = on_the_port(wanted, one);
    if (!at || at->path != wanted.path) continue;
    // Both came at once: one of them stays.
    if (!inside.empty() && !one.inside.empty() && inside < one.inside) continue;
    throw Error(ErrorKind::config, "path_taken",
                "cannot listen on " + to_string(wanted) + ": the database '" + one.name +
                    "' of this machine has the path " + wanted.path +
                    " on this port: choose another path in the setting 'listen'");
  }
}

bool PortDoor::has_door(const ListenAddress& wanted) const {
  std::vector<Neighbour> others = neighbours();
  return std::any_of(others.begin(), others.end(),
                     [&](const Neighbour& one) { return one.inside.empty() && on_the_port(wanted, one); });
}

}  // namespace rowmesh
