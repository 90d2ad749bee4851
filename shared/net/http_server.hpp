// Incoming requests over one libmicrohttpd daemon with external epoll: no thread. A request that the handler cannot
// answer yet is suspended, and the handler asked again at each run().
#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shared/net/event_loop.hpp"
#include "shared/net/poller.hpp"

namespace rowmesh {

class PortDoor;

struct ListenerSettings {
  TlsMaterial tls;
  ListenerLimits limits;
  PortDoor* door = nullptr;  // with a path in the address: where requests for other paths go
  bool behind = false;       // a door stands before it: plain HTTP, and that one says who asks
};

class HttpServer {
 public:
  // Throws Error(config) when the address is taken, or the certificate cannot be used. `listener`: a socket that
  // listens there already.
  HttpServer(Poller& poller, HttpHandler& handler, const ListenAddress& address, const ListenerSettings& settings,
             RefusalCounts& refusals, int listener = -1);
  ~HttpServer();

  const ListenAddress& address() const { return address_; }
  std::string listening() const;
  int listener() const { return listener_; }
  // Takes no new connections; those that there are end by themselves or after a while. The listening socket is somebody
  // else's now.
  void retire();
  bool done() const;
  void run();  // calls the handler. From within the handler: does nothing
  std::int64_t timeout_ms() const;

 private:
  struct Connection;
  struct Exchange;
  struct Callbacks;
  struct Bucket {
    double tokens;
    std::int64_t at_ms;
  };
  struct Lingering {
    int fd;
    std::int64_t until_ms;
    std::uint64_t bytes;
  };

  void answer_waiting();
  bool may_go_on(Exchange& exchange);
  bool speaks_tls() const { return settings_.tls.serves() && !settings_.behind; }
  void linger(int fd);
  void drain_lingering();
  void end_slow_requests();
  bool within_rate(const std::string& address);

  Poller& poller_;
  HttpHandler& handler_;
  ListenAddress address_;
  ListenerSettings settings_;
  RefusalCounts& refusals_;
  std::string door_key_;  // behind a door: what it proves itself with
  int listener_ = -1;
  std::int64_t retired_at_ms_ = -1;
  std::uint16_t port_ = 0;
  void* daemon_ = nullptr;
  int epoll_fd_ = -1;
  bool running_ = false;
  bool stopping_ = false;
  std::list<Connection> connections_;
  std::map<std::string, std::uint32_t> by_address_;  // connections
  std::map<std::string, Bucket> buckets_;
  std::vector<Lingering> lingering_;
  std::vector<Exchange*> waiting_;
  std::int64_t looked_for_slow_ms_ = 0;
};

}  // namespace rowmesh
