// The inner epoll descriptor: curl's sockets, libmicrohttpd's own epoll descriptor and connections that linger.
#pragma once
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "shared/model/error.hpp"

namespace rowmesh {

inline std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class Poller {
 public:
  Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (fd_ < 0)
      throw Error(ErrorKind::transient, "no_descriptor",
                  std::string("cannot make an epoll descriptor: ") + std::strerror(errno));
  }
  ~Poller() { ::close(fd_); }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  int descriptor() const { return fd_; }
  // Adds or changes. Called from within libcurl, so it never throws; a failure shows as a time-out of the transfer.
  void watch(int fd, std::uint32_t events) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT)
      ::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event);
  }
  void forget(int fd) noexcept { ::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr); }
  int ready(epoll_event* events, int room) noexcept { return ::epoll_wait(fd_, events, room, 0); }

 private:
  int fd_;
};

}  // namespace rowmesh
