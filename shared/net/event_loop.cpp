#include "shared/net/event_loop.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "shared/model/error.hpp"
#include "shared/net/curl_client.hpp"
#include "shared/net/http_server.hpp"
#include "shared/net/listener.hpp"
#include "shared/net/poller.hpp"
#include "shared/net/port_door.hpp"

namespace rowmesh {
namespace {

constexpr long connections_per_host = 8;
constexpr std::int64_t door_patience_ms = 5000;

// Of two waits, where -1 is none.
std::int64_t sooner(std::int64_t one, std::int64_t other) {
  return one < 0 || other < 0 ? std::max(one, other) : std::min(one, other);
}

}  // namespace

struct EventLoop::State {
  explicit State(HttpHandler& handler) : handler(handler) {}

  HttpHandler& handler;
  Poller poller;
  CurlClient client{poller, connections_per_host};
  PortDoor door{poller};
  ListenerSettings settings;
  RefusalCounts refusals;
  ListenAddress wanted;  // what `server` is for: its own address, unless it is behind a neighbour
  std::unique_ptr<HttpServer> server;
  std::vector<std::unique_ptr<HttpServer>> retired;  // end the requests that they have
  std::int64_t door_missing_ms = -1;                 // since when

  bool behind() const { return server && settings.behind; }

  std::unique_ptr<HttpServer> open(const ListenAddress& at, bool is_behind = false) {
    ListenerSettings those = settings;
    those.behind = is_behind;
    return std::make_unique<HttpServer>(poller, handler, at, those, refusals);
  }

  // The listening socket stays, so nobody is turned away meanwhile.
  void renew_server(const ListenAddress& at) {
    auto next = std::make_unique<HttpServer>(poller, handler, at, settings, refusals, server->listener());
    server->retire();
    retired.push_back(std::exchange(server, std::move(next)));
  }

  void move_to(const ListenAddress& address);
  void stand_behind(const ListenAddress& address, const Error& why);

  void run_client() {
    epoll_event events[64];
    int ready = poller.ready(events, static_cast<int>(std::size(events)));
    for (int i = 0; i < ready; i++)
      for (CurlClient* one : {&client, &door.client()})
        if (one->owns(events[i].data.fd)) one->socket_ready(events[i].data.fd, events[i].events);
    client.run_timer();
    door.client().run_timer();
  }
};

EventLoop::EventLoop(HttpHandler& handler) : state_(std::make_unique<State>(handler)) {
  state_->settings.door = &state_->door;
}

EventLoop::~EventLoop() = default;

void EventLoop::share_ports(PortSharing sharing) { state_->door.share(std::move(sharing)); }

void EventLoop::listen(const ListenAddress& address) {
  State& state = *state_;
  if (state.server && state.wanted == address && !state.behind()) return;
  if (address.host.empty()) {
    state.server.reset();
    state.settings.behind = false;
    state.door_missing_ms = -1;
    return;
  }
  if (!address.path.empty()) {
    try {
      state.door.refuse_taken(address, inside());
    } catch (const Error&) {
      if (state.behind() && state.wanted == address) listen({});  // it gives way
      throw;
    }
  }
  try {
    state.move_to(address);
    state.settings.behind = false;
    state.wanted = address;
    state.door_missing_ms = -1;
  } catch (const Error& error) {
    if (address.path.empty() || error.code() != address_in_use) throw;
    state.stand_behind(address, error);
  }
}

// To an address that is bound.
void EventLoop::State::move_to(const ListenAddress& address) {
  bool same_port = server && !behind() && server->address().port == address.port;
  if (same_port && server->address().host == address.host) return renew_server(address);
  if (!same_port) {
    server = open(address);
    return;
  }
  // From 127.0.0.1:8080 to *:8080: the old listener stands in the way of the new one.
  ListenAddress before = server->address();
  server.reset();
  try {
    server = open(address);
  } catch (const Error&) {
    server = open(before);
    throw;
  }
}

// A neighbour that has just bound the port says so a moment later, and one that held it may just have gone.
void EventLoop::State::stand_behind(const ListenAddress& address, const Error& why) {
  if (!door.has_door(address)) {
    if (door_missing_ms < 0) door_missing_ms = steady_ms();
    if (steady_ms() > door_missing_ms + door_patience_ms) throw why;
    return;
  }
  door_missing_ms = -1;
  if (behind() && wanted == address) return;
  server = open({"127.0.0.1", 0}, true);
  settings.behind = true;
  wanted = address;
}

bool EventLoop::unsettled() const { return state_->behind() || state_->door_missing_ms >= 0; }

void EventLoop::set_tls(const TlsMaterial& material) {
  if (material == state_->settings.tls) return;
  TlsMaterial before = std::exchange(state_->settings.tls, material);
  try {
    if (state_->server) state_->renew_server(state_->server->address());
  } catch (const Error&) {
    state_->settings.tls = std::move(before);
    throw;
  }
  state_->client.set_tls(material);
}

void EventLoop::set_limits(const ListenerLimits& limits) {
  if (limits == state_->settings.limits) return;
  ListenerLimits before = std::exchange(state_->settings.limits, limits);
  try {
    if (state_->server) state_->renew_server(state_->server->address());
  } catch (const Error&) {
    state_->settings.limits = before;
    throw;
  }
}

const TlsMaterial& EventLoop::tls() const { return state_->settings.tls; }

RefusalCounts EventLoop::refusals() const { return state_->refusals; }

std::string EventLoop::listening() const {
  if (!state_->server) return "";
  return state_->behind() ? to_string(state_->wanted) : state_->server->listening();
}

std::string EventLoop::inside() const { return state_->behind() ? state_->server->listening() : std::string(); }

void EventLoop::send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms,
                     std::uint64_t answer_limit, Done done) {
  state_->client.send(url_base, std::move(request), timeout_ms, answer_limit, std::move(done));
}

int EventLoop::descriptor() const { return state_->poller.descriptor(); }

std::int64_t EventLoop::timeout_ms() const {
  std::int64_t client_ms = sooner(state_->client.timeout_ms(), state_->door.client().timeout_ms());
  std::int64_t server_ms = state_->server ? state_->server->timeout_ms() : -1;
  for (auto& one : state_->retired) {
    std::int64_t retired_ms = std::min<std::int64_t>(one->timeout_ms() < 0 ? 1000 : one->timeout_ms(), 1000);
    server_ms = sooner(server_ms, retired_ms);
  }
  return sooner(client_ms, server_ms);
}

// Everything is looked at in every turn: which descriptor woke us says nothing certain (edge-triggered sets inside).
void EventLoop::run() {
  if (state_->server) state_->server->run();
  for (auto& one : state_->retired) one->run();
  std::erase_if(state_->retired, [](auto& one) { return one->done(); });
  state_->run_client();
  state_->door.client().dispatch();
  state_->client.dispatch();
}

}  // namespace rowmesh
