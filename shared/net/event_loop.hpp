// The only place with libcurl and libmicrohttpd. One inner epoll descriptor that an outer loop (WaitEventSet in PostgreSQL,
// poll in SQLite's thread) waits on, and a deadline. One thread; makes no thread of its own except libcurl's resolver, with all signals blocked.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "shared/http/message.hpp"

namespace rowmesh {

struct ListenAddress {
  std::string host;  // numeric or name; empty: do not listen
  std::uint16_t port = 0;
};
// "127.0.0.1:8080", "[::1]:8080". Throws Error(config) with a sentence. '' gives an empty host.
ListenAddress parse_listen_address(const std::string& text);
bool is_loopback(const ListenAddress& address);

class EventLoop : public HttpClient {
 public:
  explicit EventLoop(HttpHandler& handler);
  ~EventLoop() override;

  // Starts, moves or stops the listener. Throws Error(config) when the address is taken, and keeps the old one.
  void listen(const ListenAddress& address);
  std::string listening() const;  // "127.0.0.1:8080", or ''

  void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit, Done done) override;

  int descriptor() const;          // readable: call run()
  std::int64_t timeout_ms() const; // call run() after this long at the latest; -1: no deadline
  void run();                      // handles what is ready; never blocks. Calls handlers and `done`s

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rowmesh
