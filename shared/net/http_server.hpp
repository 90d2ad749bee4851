// The listener: libmicrohttpd on its own epoll descriptor, no threads, no suspended connections. Handlers answer at once.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "shared/net/event_loop.hpp"

namespace rowmesh {

class HttpServer {
 public:
  HttpServer(HttpHandler& handler, const ListenAddress& address);  // throws Error(config) when the address cannot be had
  ~HttpServer();
  std::string listening() const;
  int descriptor() const;
  std::int64_t timeout_ms() const;
  void run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rowmesh
