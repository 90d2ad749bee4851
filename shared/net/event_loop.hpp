// The only place with libcurl and libmicrohttpd. One inner epoll descriptor that an outer loop (WaitEventSet in
// PostgreSQL, poll in SQLite's thread) waits on, and a deadline. One thread; makes no thread of its own except
// libcurl's resolver, with all signals blocked.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/http/message.hpp"
#include "shared/http/neighbour.hpp"
#include "shared/http/refusals.hpp"
#include "shared/net/tls.hpp"

namespace rowmesh {

struct ListenAddress {
  std::string host;  // numeric or name; empty: do not listen
  std::uint16_t port = 0;
  std::string path = {};  // "/stock": other databases of this machine may have others on this port; empty: it is ours

  bool operator==(const ListenAddress&) const = default;
};
// "127.0.0.1:8080", "[::1]:8080/stock". Throws Error(config) with a sentence. '' gives an empty host.
ListenAddress parse_listen_address(const std::string& text);
std::string to_string(const ListenAddress& address);
bool is_loopback(const ListenAddress& address);

// What the listener puts up with. A request beyond them gets a status (429, 431, 413, 408, 503) and is counted.
struct ListenerLimits {
  std::uint32_t connections = 256;
  std::uint32_t connections_per_address = 128;
  std::uint64_t header_bytes = 32 << 10;
  std::uint64_t body_bytes = 8ULL << 30;     // whatever the node would take
  std::uint64_t request_timeout_ms = 60000;  // for the head, and for a body in which nearly nothing comes
  std::uint32_t requests_per_second = 5000;  // from one address; 0: any number

  bool operator==(const ListenerLimits&) const = default;
};

// What it takes to share a port with the other databases of this machine.
struct PortSharing {
  std::function<std::vector<Neighbour>()> neighbours;
  std::function<std::string()> local_key;  // Neighbour::key, as the others know ours
};

class EventLoop : public HttpClient {
 public:
  explicit EventLoop(HttpHandler& handler);
  ~EventLoop() override;

  // Starts, moves or stops the listener. Throws Error(config) when the address is taken, and keeps the old one.
  // With a path: if a neighbour holds the port, listens behind it. To be called again each second while unsettled().
  void listen(const ListenAddress& address);
  void share_ports(PortSharing sharing);
  bool unsettled() const;  // behind a neighbour, which may go away; or waits for one that has just taken the port
  // Both may be called again at any time: a new connection goes by the new ones, and a request under way is not cut
  // off. Throws Error(config) if the listener cannot use it, and keeps the old.
  void set_tls(const TlsMaterial& material);
  void set_limits(const ListenerLimits& limits);
  const TlsMaterial& tls() const;
  RefusalCounts refusals() const;
  std::string listening() const;  // where others reach it: "127.0.0.1:8080", "0.0.0.0:8080/stock", or ''
  std::string inside() const;     // behind a neighbour: where that one reaches it; else ''

  void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit,
            Done done) override;

  int descriptor() const;           // readable: call run()
  std::int64_t timeout_ms() const;  // call run() after this long at the latest; -1: no deadline
  void run();                       // handles what is ready; never blocks. Calls handlers and `done`s

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rowmesh
