// The listener: libmicrohttpd run from our event loop, and the clients that are slow or do not go.
#include "shared/net/http_server.hpp"

#include <fcntl.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <utility>

#include "shared/model/error.hpp"
#include "shared/net/http_requests.hpp"
#include "shared/net/listener.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t connection_memory_bytes =
    256 << 10;                                  // also what a body is read in: the default of 32 KB halves the speed
constexpr unsigned connections_to_refuse = 64;  // beyond the limit, for an answer that says so
constexpr std::int64_t refused_deadline_ms = 5000;
constexpr unsigned inactivity_seconds = 60;
constexpr int turns_per_run = 16;
constexpr std::int64_t linger_ms = 5000;
constexpr std::uint64_t linger_bytes = 64 << 20;
constexpr std::uint64_t slowest_bytes_per_ms = 1;  // after the grace
constexpr std::int64_t slow_check_ms = 1000;       // libmicrohttpd's own limit is on inactivity only
constexpr std::int64_t retired_ms = 10000;
constexpr std::size_t buckets_kept = 4096;
constexpr const char* tls_priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
constexpr std::int64_t waiting_check_ms = 1000;

}  // namespace

HttpServer::HttpServer(Poller& poller, HttpHandler& handler, const ListenAddress& address,
                       const ListenerSettings& settings, RefusalCounts& refusals, int listener)
    : poller_(poller), handler_(handler), address_(address), settings_(settings), refusals_(refusals) {
  if (settings_.behind) door_key_ = settings_.door->own_key();
  bool inherited = listener >= 0;
  if (!inherited) listener = open_listener(address);
  port_ = port_of(listener);
  std::vector<MHD_OptionItem> tls;
  auto pem = [&](MHD_OPTION option, const std::string& text) {
    if (!text.empty()) tls.push_back({option, 0, const_cast<char*>(text.c_str())});
  };
  if (speaks_tls()) {
    pem(MHD_OPTION_HTTPS_MEM_KEY, settings_.tls.key);
    pem(MHD_OPTION_HTTPS_MEM_CERT, settings_.tls.certificate);
    pem(MHD_OPTION_HTTPS_MEM_TRUST, settings_.tls.authorities);
    tls.push_back({MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(tls_priorities)});
  }
  tls.push_back({MHD_OPTION_END, 0, nullptr});
  unsigned most_connections = settings_.limits.connections + connections_to_refuse;
  auto silent = [](void*, const char*, va_list) {
  };  // it would write to the standard error of the program that hosts us
  MHD_Daemon* daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME | (speaks_tls() ? MHD_USE_TLS : 0), 0, nullptr,
      nullptr, &Callbacks::handle, this,  //
      MHD_OPTION_EXTERNAL_LOGGER, static_cast<void (*)(void*, const char*, va_list)>(silent), nullptr,
      MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_memory_bytes,
      MHD_OPTION_CONNECTION_LIMIT, most_connections, MHD_OPTION_ARRAY, tls.data(), MHD_OPTION_CONNECTION_TIMEOUT,
      inactivity_seconds, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, &Callbacks::begin, this,
      MHD_OPTION_UNESCAPE_CALLBACK, &Callbacks::keep_escapes, nullptr, MHD_OPTION_NOTIFY_COMPLETED,
      &Callbacks::completed, this, MHD_OPTION_NOTIFY_CONNECTION, &Callbacks::connection, this, MHD_OPTION_END);
  if (!daemon) {
    if (!inherited) ::close(listener);
    if (speaks_tls())
      throw Error(ErrorKind::config, "listen_failed",
                  "the listener cannot use the certificate and key in tls_cert_file and tls_key_file");
    throw Error(ErrorKind::transient, "listen_failed",
                "the HTTP listener could not be started: no memory or no descriptors left");
  }
  listener_ = listener;
  daemon_ = daemon;
  epoll_fd_ = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  poller_.watch(epoll_fd_, EPOLLIN);
}

HttpServer::~HttpServer() {
  stopping_ = true;
  answer_waiting();
  poller_.forget(epoll_fd_);
  MHD_stop_daemon(static_cast<MHD_Daemon*>(daemon_));
  for (const Lingering& one : lingering_) {
    poller_.forget(one.fd);
    ::close(one.fd);
  }
}

void HttpServer::retire() {
  MHD_quiesce_daemon(static_cast<MHD_Daemon*>(daemon_));
  retired_at_ms_ = steady_ms();
}

bool HttpServer::done() const {
  return retired_at_ms_ >= 0 && (connections_.empty() || steady_ms() > retired_at_ms_ + retired_ms);
}

std::string HttpServer::listening() const { return to_string({address_.host, port_, address_.path}); }

void HttpServer::run() {
  if (running_) return;
  running_ = true;
  auto* daemon = static_cast<MHD_Daemon*>(daemon_);
  answer_waiting();
  // Its sockets are edge-triggered inside its set, and what it has already read shows only in its timeout
  // (libmicrohttpd's manual).
  for (int turn = 0; turn < turns_per_run; turn++) {
    MHD_run(daemon);
    MHD_UNSIGNED_LONG_LONG again_ms = 0;
    if (MHD_get_timeout(daemon, &again_ms) != MHD_YES || again_ms > 0) break;
  }
  drain_lingering();
  end_slow_requests();
  running_ = false;
}

std::int64_t HttpServer::timeout_ms() const {
  MHD_UNSIGNED_LONG_LONG wanted_ms = 0;
  std::int64_t timeout = MHD_get_timeout(static_cast<MHD_Daemon*>(daemon_), &wanted_ms) == MHD_YES
                             ? static_cast<std::int64_t>(std::min<MHD_UNSIGNED_LONG_LONG>(wanted_ms, 1 << 30))
                             : -1;
  auto at_most = [&](std::int64_t ms) { timeout = timeout < 0 ? ms : std::min(timeout, ms); };
  if (!connections_.empty()) at_most(slow_check_ms);
  if (!waiting_.empty()) at_most(waiting_check_ms);
  for (const Exchange* one : waiting_)
    if (one->relay && one->relay_moved()) at_most(0);
  for (const Lingering& one : lingering_) at_most(std::max<std::int64_t>(0, one.until_ms - steady_ms()));
  return timeout;
}

// Requests that the handler could not answer at once. When the daemon ends all of them must go on, libmicrohttpd's
// manual says.
void HttpServer::answer_waiting() {
  std::erase_if(waiting_, [this](Exchange* exchange) {
    if (!may_go_on(*exchange)) return false;
    MHD_resume_connection(std::exchange(exchange->waiting, nullptr));
    return true;
  });
}

bool HttpServer::may_go_on(Exchange& exchange) {
  if (exchange.relay && !stopping_) return exchange.relay_moved();
  HttpResponse response = stopping_ ? plain_answer(503, "this server stops") : Callbacks::late_answer(*this, exchange);
  if (response.status == 0) return false;
  if (exchange.relay)
    exchange.relay->answer_with(std::move(response));
  else
    exchange.late = std::move(response);
  return true;
}

// An answer went out while the client is still sending. Closing now would reset the connection, and the reset may
// overtake the answer. So the descriptor is kept a while under another number, and what comes is thrown away.
void HttpServer::linger(int fd) {
  int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return;
  ::shutdown(copy, SHUT_WR);
  lingering_.push_back({copy, steady_ms() + linger_ms, 0});
  poller_.watch(copy, EPOLLIN);
}

void HttpServer::drain_lingering() {
  auto ended = [this](Lingering& one) {
    char thrown_away[64 << 10];
    ssize_t got = 0;
    for (int turn = 0; turn < turns_per_run; turn++) {
      got = ::recv(one.fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT);
      if (got <= 0) break;
      one.bytes += static_cast<std::uint64_t>(got);
    }
    bool open = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (open && one.bytes < linger_bytes && steady_ms() < one.until_ms) return false;
    poller_.forget(one.fd);
    ::close(one.fd);
    return true;
  };
  std::erase_if(lingering_, ended);
}

bool HttpServer::within_rate(const std::string& address) {
  double most = settings_.limits.requests_per_second;
  if (most <= 0) return true;
  std::int64_t now_ms = steady_ms();
  if (buckets_.size() >= buckets_kept)
    std::erase_if(buckets_, [&](auto& one) { return one.second.at_ms + 1000 < now_ms; });
  if (buckets_.size() >= buckets_kept) buckets_.clear();
  Bucket& bucket = buckets_.try_emplace(address, Bucket{most, now_ms}).first->second;
  bucket.tokens = std::min(most, bucket.tokens + most * static_cast<double>(now_ms - bucket.at_ms) / 1000);
  bucket.at_ms = now_ms;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

// A client that sends a byte now and then would hold its connection for ever. One that takes our answer slowly does not
// come here: libmicrohttpd's limit on inactivity is enough for it.
void HttpServer::end_slow_requests() {
  std::int64_t now_ms = steady_ms(), passed_ms = now_ms - looked_for_slow_ms_;
  if (passed_ms < slow_check_ms) return;
  looked_for_slow_ms_ = now_ms;
  bool we_were_slow =
      passed_ms > 4 * slow_check_ms;  // nobody ran the loop: what waited meanwhile is not the clients' fault
  for (Connection& one : connections_) {
    if (we_were_slow) one.enter(one.stage);
    std::int64_t in_stage_ms = now_ms - one.since_ms;
    auto limit_ms = static_cast<std::int64_t>(settings_.limits.request_timeout_ms);
    if (one.too_many) limit_ms = std::min(limit_ms, refused_deadline_ms);
    bool slow = one.stage == Connection::head
                    ? in_stage_ms > limit_ms
                    : one.stage == Connection::body && in_stage_ms > limit_ms &&
                          one.body_bytes < slowest_bytes_per_ms * static_cast<std::uint64_t>(in_stage_ms);
    if (!slow || one.fd < 0 || std::exchange(one.ended, true)) continue;
    if (one.asked) {  // else it is kept open for a next request, and no fault
      static constexpr std::string_view sorry =
          "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
      refusals_.count(one.too_many ? RefusedFor::too_many_connections : RefusedFor::slow);
      if (!speaks_tls() && ::send(one.fd, sorry.data(), sorry.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        one.asked = false;
    }
    ::shutdown(one.fd, SHUT_RDWR);
  }
}

}  // namespace rowmesh
