// Outgoing requests over one libcurl multi handle. Callbacks from libcurl only record; `done`s are called by
// dispatch().
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "shared/http/message.hpp"
#include "shared/net/poller.hpp"
#include "shared/net/tls.hpp"

namespace rowmesh {

class CurlClient {
 public:
  explicit CurlClient(Poller& poller);
  ~CurlClient();

  void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit,
            HttpClient::Done done);
  void set_tls(const TlsMaterial& material) { tls_ = material; }  // for requests from now on
  bool owns(int fd) const { return sockets_.count(fd) > 0; }
  void socket_ready(int fd, std::uint32_t events);
  void run_timer();  // if it is due
  void dispatch();   // calls the `done`s of what has ended
  std::int64_t timeout_ms() const;

 private:
  struct Transfer;
  struct Callbacks;

  void collect();
  void finish(void* easy, int code);
  void* take_handle();

  Poller& poller_;
  TlsMaterial tls_;
  void* multi_ = nullptr;
  std::int64_t timer_at_ms_ = -1;  // steady; -1: none
  std::unordered_map<int, bool> sockets_;
  std::unordered_map<void*, std::unique_ptr<Transfer>> transfers_;
  std::deque<std::unique_ptr<Transfer>> ended_;
  std::vector<void*> idle_handles_;
  bool dispatching_ = false;
};

}  // namespace rowmesh
