#include "shared/net/listener.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "shared/model/error.hpp"

namespace rowmesh {
namespace {

constexpr int backlog = 256;
constexpr std::size_t most_path_bytes = 100;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "bad_listen_address", text); }

// One part, of letters that mean the same in every URL; not one that the port's plain root needs.
void check_path(const std::string& text, const std::string& path) {
  constexpr std::array<std::string_view, 7> taken = {"/rowmesh", "/api", "/dashboard", "/health",
                                                     "/metrics", "/.",   "/.."};
  bool fits = path.size() > 1 && path.size() <= most_path_bytes &&
              std::all_of(path.begin() + 1, path.end(), [](unsigned char c) {
                return std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
              });
  if (!fits || std::find(taken.begin(), taken.end(), path) != taken.end())
    refuse("'" + text +
           "' has a path that cannot be used: it is one word of letters, digits, '-', '.', '_' and '~' "
           "behind the port, such as *:8080/stock, and not one that has a meaning there (rowmesh, api, dashboard, "
           "health, metrics)");
}

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
      "'" + text + "' is not an address to listen on: write it as 127.0.0.1:8080, [::1]:8080, *:8080 or *:8080/stock";
  ListenAddress address;
  std::size_t slash = std::min(text.find('/'), text.size());
  address.path = text.substr(slash);
  if (!address.path.empty()) check_path(text, address.path);
  std::size_t colon = text.substr(0, slash).rfind(':');
  if (colon == text.npos || colon == 0) refuse(form);
  address.host = text.substr(0, colon);
  bool bracketed = address.host.starts_with('[') && address.host.ends_with(']');
  if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty() || (!bracketed && address.host.find(':') != text.npos)) refuse(form);
  const char* end = text.data() + slash;
  auto [stop, failure] = std::from_chars(text.data() + colon + 1, end, address.port);
  if (failure != std::errc() || stop != end) refuse(form);
  return address;
}

std::string to_string(const ListenAddress& address) {
  bool six = address.host.find(':') != std::string::npos;
  return (six ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port) + address.path;
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
  std::string text = "cannot listen on " + to_string(address) + ": " + std::strerror(why);
  if (why == EADDRINUSE)
    throw Error(ErrorKind::config, address_in_use,
                text +
                    ". Another program, or another database of this server, listens there: choose another port, or "
                    "give each database a path behind this one, as in " +
                    to_string({address.host, address.port, "/stock"}));
  refuse(text);
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
