// Outgoing requests over one libcurl multi handle. Callbacks from libcurl only record; `done`s are called by
// dispatch().
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "shared/http/message.hpp"
#include "shared/net/poller.hpp"
#include "shared/net/tls.hpp"

namespace rowmesh {

// A body that is still coming in while it goes out again. Whoever fills it calls CurlClient::go_on().
struct ComingBody {
  std::optional<std::uint64_t> size;  // none: not known before the end
  bool wanted = false;                // the other side has seen the head and takes the body
  bool complete = false;
  bool starved = false;  // asked for more than there was
  std::string bytes;     // not yet taken
  std::size_t taken = 0;

  std::size_t left() const { return bytes.size() - taken; }
};

class CurlClient {
 public:
  CurlClient(Poller& poller, long connections_per_host);
  ~CurlClient();

  void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit,
            HttpClient::Done done);
  // Headers as they are, none of our own; the body (null: none) is asked for before it is sent, and may be refused
  // unread. No time limit but `silence_ms` without a byte. -> a number for go_on and cancel
  std::uint64_t relay(const std::string& url_base, HttpRequest head, std::shared_ptr<ComingBody> body,
                      std::uint64_t silence_ms, std::uint64_t answer_limit, HttpClient::Done done);
  void go_on(std::uint64_t relayed);   // there is more of the body, or all of it
  void cancel(std::uint64_t relayed);  // its `done` is not called. Both do nothing if it has ended
  void set_tls(const TlsMaterial& material) { tls_ = material; }  // for requests from now on
  bool owns(int fd) const { return sockets_.count(fd) > 0; }
  void socket_ready(int fd, std::uint32_t events);
  void run_timer();  // if it is due
  void dispatch();   // calls the `done`s of what has ended
  std::int64_t timeout_ms() const;

 private:
  struct Transfer;
  struct Callbacks;

  void start(std::unique_ptr<Transfer> transfer, const std::string& url);
  static void set_time_limits(void* easy, const Transfer& transfer);
  static void set_headers(Transfer& transfer);
  static void set_body(Transfer& transfer);
  Transfer* find(std::uint64_t relayed);
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
  std::uint64_t relayed_ = 0;
  bool dispatching_ = false;
};

}  // namespace rowmesh
