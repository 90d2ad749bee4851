#include "shared/net/event_loop.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "shared/model/error.hpp"
#include "shared/net/curl_client.hpp"
#include "shared/net/http_server.hpp"
#include "shared/net/poller.hpp"

namespace rowmesh {

struct EventLoop::State {
  explicit State(HttpHandler& handler) : handler(handler) {}

  HttpHandler& handler;
  Poller poller;
  CurlClient client{poller};
  ListenerSettings settings;
  RefusalCounts refusals;
  std::unique_ptr<HttpServer> server;
  std::vector<std::unique_ptr<HttpServer>> retired;  // end the requests that they have

  std::unique_ptr<HttpServer> open(const ListenAddress& at) {
    return std::make_unique<HttpServer>(poller, handler, at, settings, refusals);
  }

  // The listening socket stays, so nobody is turned away meanwhile.
  void renew_server() {
    if (!server) return;
    auto next =
        std::make_unique<HttpServer>(poller, handler, server->address(), settings, refusals, server->listener());
    server->retire();
    retired.push_back(std::exchange(server, std::move(next)));
  }

  void run_client() {
    epoll_event events[64];
    int ready = poller.ready(events, static_cast<int>(std::size(events)));
    for (int i = 0; i < ready; i++)
      if (client.owns(events[i].data.fd)) client.socket_ready(events[i].data.fd, events[i].events);
    client.run_timer();
  }
};

EventLoop::EventLoop(HttpHandler& handler) : state_(std::make_unique<State>(handler)) {}

EventLoop::~EventLoop() = default;

void EventLoop::listen(const ListenAddress& address) {
  std::unique_ptr<HttpServer>& server = state_->server;
  if (server && server->address().host == address.host && server->address().port == address.port) return;
  if (address.host.empty()) {
    server.reset();
    return;
  }
  auto open = [this](const ListenAddress& at) { return state_->open(at); };
  if (!server || server->address().port != address.port) {
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

void EventLoop::set_tls(const TlsMaterial& material) {
  if (material == state_->settings.tls) return;
  TlsMaterial before = std::exchange(state_->settings.tls, material);
  try {
    state_->renew_server();
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
    state_->renew_server();
  } catch (const Error&) {
    state_->settings.limits = before;
    throw;
  }
}

const TlsMaterial& EventLoop::tls() const { return state_->settings.tls; }

RefusalCounts EventLoop::refusals() const { return state_->refusals; }

std::string EventLoop::listening() const { return state_->server ? state_->server->listening() : std::string(); }

void EventLoop::send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms,
                     std::uint64_t answer_limit, Done done) {
  state_->client.send(url_base, std::move(request), timeout_ms, answer_limit, std::move(done));
}

int EventLoop::descriptor() const { return state_->poller.descriptor(); }

std::int64_t EventLoop::timeout_ms() const {
  std::int64_t client_ms = state_->client.timeout_ms();
  std::int64_t server_ms = state_->server ? state_->server->timeout_ms() : -1;
  for (auto& one : state_->retired) {
    std::int64_t retired_ms = std::min<std::int64_t>(one->timeout_ms() < 0 ? 1000 : one->timeout_ms(), 1000);
    server_ms = server_ms < 0 ? retired_ms : std::min(server_ms, retired_ms);
  }
  if (client_ms < 0 || server_ms < 0) return std::max(client_ms, server_ms);
  return std::min(client_ms, server_ms);
}

// Everything is looked at in every turn: which descriptor woke us says nothing certain (edge-triggered sets inside).
void EventLoop::run() {
  if (state_->server) state_->server->run();
  for (auto& one : state_->retired) one->run();
  std::erase_if(state_->retired, [](auto& one) { return one->done(); });
  state_->run_client();
  state_->client.dispatch();
}

}  // namespace rowmesh
