#include "shared/net/event_loop.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include "shared/model/error.hpp"
#include "shared/net/http_client.hpp"
#include "shared/net/http_server.hpp"

namespace rowmesh {

ListenAddress parse_listen_address(const std::string& text) {
  if (text.empty()) return {};
  auto bad = [&] {
    return Error(ErrorKind::config, "listen", "'" + text + "' is not an address to listen on; write it as 127.0.0.1:8080 or [::1]:8080");
  };
  std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size() || text.size() - colon > 6) throw bad();
  ListenAddress address;
  address.host = text.substr(0, colon);
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
    address.host = address.host.substr(1, address.host.size() - 2);
  else if (address.host.find(':') != std::string::npos)
    throw bad();
  unsigned long port = 0;
  for (char digit : text.substr(colon + 1)) {
    if (digit < '0' || digit > '9') throw bad();
    port = port * 10 + static_cast<unsigned long>(digit - '0');
  }
  if (port == 0 || port > 65535 || address.host.empty()) throw bad();
  address.port = static_cast<std::uint16_t>(port);
  return address;
}

bool is_loopback(const ListenAddress& address) {
  return address.host == "localhost" || address.host == "::1" || address.host.starts_with("127.");
}

struct EventLoop::State {
  HttpHandler& handler;
  CurlClient client;
  std::unique_ptr<HttpServer> server;
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
  }
};

EventLoop::EventLoop(HttpHandler& handler) : state_(new State{handler, {}, {}}) {
  if (state_->epoll_fd < 0) throw Error(ErrorKind::transient, "no_loop", "no epoll descriptor is left; raise the limit of open files");
  state_->watch(state_->client.descriptor());
}

EventLoop::~EventLoop() {
  state_->server.reset();
  close(state_->epoll_fd);
}

void EventLoop::listen(const ListenAddress& address) {
  if (address.host.empty()) {
    state_->server.reset();
    return;
  }
  auto server = std::make_unique<HttpServer>(state_->handler, address);
  state_->server = std::move(server);  // the old one's descriptor leaves the set by being closed
  state_->watch(state_->server->descriptor());
}

std::string EventLoop::listening() const { return state_->server ? state_->server->listening() : ""; }

void EventLoop::send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit, Done done) {
  state_->client.send(url_base, std::move(request), timeout_ms, answer_limit, std::move(done));
}

int EventLoop::descriptor() const { return state_->epoll_fd; }

std::int64_t EventLoop::timeout_ms() const {
  std::int64_t client = state_->client.timeout_ms();
  std::int64_t server = state_->server ? state_->server->timeout_ms() : -1;
  if (client < 0 || server < 0) return std::max(client, server);
  return std::min(client, server);
}

void EventLoop::run() {
  if (state_->server) state_->server->run();
  state_->client.run();
}

}  // namespace rowmesh
