#include "shared/net/listener.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "shared/model/error.hpp"

namespace rowmesh {
namespace {

constexpr int backlog = 256;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "bad_listen_address", text); }

int try_listen(const addrinfo& at) {
  int fd = ::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // old connections of ours may linger on this port
  if (::bind(fd, at.ai_addr, at.ai_addrlen) == 0 && ::listen(fd, backlog) == 0) return fd;
  int why = errno;
  ::close(fd);
  errno = why;
  return -1;
}

}  // namespace

ListenAddress parse_listen_address(const std::string& text) {
  if (text.empty()) return {};
  const std::string form =
      "'" + text + "' is not an address to listen on: write it as 127.0.0.1:8080, [::1]:8080 or *:8080";
  std::size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0) refuse(form);
  ListenAddress address;
  address.host = text.substr(0, colon);
  bool bracketed = address.host.starts_with('[') && address.host.ends_with(']');
  if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty() || (!bracketed && address.host.find(':') != text.npos)) refuse(form);
  const char* end = text.data() + text.size();
  auto [stop, failure] = std::from_chars(text.data() + colon + 1, end, address.port);
  if (failure != std::errc() || stop != end) refuse(form);
  return address;
}

bool is_loopback(const ListenAddress& address) {
  in_addr four;
  in6_addr six;
  if (::inet_pton(AF_INET, address.host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  if (::inet_pton(AF_INET6, address.host.c_str(), &six) == 1)
    return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
  return address.host == "localhost";
}

int open_listener(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const char* host = address.host == "*" ? nullptr : address.host.c_str();
  int failed = ::getaddrinfo(host, std::to_string(address.port).c_str(), &hints, &found);
  if (failed) refuse("cannot listen on '" + address.host + "': " + ::gai_strerror(failed));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> free_at_end(found, ::freeaddrinfo);
  int why = EADDRNOTAVAIL;
  for (const addrinfo* at = found; at; at = at->ai_next) {
    int fd = try_listen(*at);
    if (fd >= 0) return fd;
    why = errno;
  }
  std::string advice = why == EADDRINUSE
                           ? ". Another program, or another database of this server, listens there: choose another port"
                           : "";
  refuse("cannot listen on " + address.host + ":" + std::to_string(address.port) + ": " + std::strerror(why) + advice);
}

std::uint16_t port_of(int listener) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size);
  if (bound.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

std::string numeric_address(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  if (address->sa_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text, sizeof text);
  return text;
}

}  // namespace rowmesh
