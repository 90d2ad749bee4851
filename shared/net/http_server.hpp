// Incoming requests over one libmicrohttpd daemon with external epoll: no thread. A request that the handler cannot answer
// yet is suspended, and the handler asked again at each run().
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "shared/net/event_loop.hpp"
#include "shared/net/poller.hpp"

namespace rowmesh {

class HttpServer {
 public:
  // Throws Error(config) when the address is taken.
  HttpServer(Poller& poller, HttpHandler& handler, const ListenAddress& address);
  ~HttpServer();

  const ListenAddress& address() const { return address_; }
  std::string listening() const;
  void run();  // calls the handler. From within the handler: does nothing
  std::int64_t timeout_ms() const;

 private:
  struct Connection;
  struct Exchange;
  struct Callbacks;
  struct Lingering {
    int fd;
    std::int64_t until_ms;
    std::uint64_t bytes;
  };

  void answer_waiting();
  void linger(int fd);
  void drain_lingering();
  void end_slow_requests();

  Poller& poller_;
  HttpHandler& handler_;
  ListenAddress address_;
  std::uint16_t port_ = 0;
  void* daemon_ = nullptr;
  int epoll_fd_ = -1;
  bool running_ = false;
  bool stopping_ = false;
  std::list<Connection> connections_;
  std::vector<Lingering> lingering_;
  std::vector<Exchange*> waiting_;
  std::int64_t looked_for_slow_ms_ = 0;
};

}  // namespace rowmesh
