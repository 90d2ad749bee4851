#include "sqlite_ext/addresses.hpp"

#include <algorithm>
#include <cctype>

#include "shared/model/error.hpp"
#include "shared/net/event_loop.hpp"

namespace rowmesh::sqlite {
namespace {

[[noreturn]] void refuse(const std::string& url, const std::string& why) {
  throw Error(ErrorKind::config, "bad_url",
              "'" + url + "' is not the URL of a server: " + why +
                  ". Write it like http://10.0.0.7:7470 or https://office.example:7470");
}

bool is_port(const std::string& text) {
  return !text.empty() && text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); }) &&
         std::stoi(text) >= 1 && std::stoi(text) <= 65535;
}

bool is_host(const std::string& text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']')
    return std::all_of(text.begin() + 1, text.end() - 1,
                       [](unsigned char c) { return std::isxdigit(c) || c == ':' || c == '.'; });
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '.' || c == '_';
  });
}

}  // namespace

std::string checked_url(const std::string& url) {
  std::size_t scheme = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  if (!scheme) refuse(url, "it must begin with http:// or https://");
  std::string rest = url.substr(scheme);
  while (rest.ends_with('/')) rest.pop_back();
  if (rest.find('@') != std::string::npos) refuse(url, "user names and passwords do not belong into it");
  if (rest.find_first_of("?#") != std::string::npos) refuse(url, "it ends with the path, without '?' and '#'");
  if (std::any_of(rest.begin(), rest.end(), [](unsigned char c) { return std::isspace(c) || std::iscntrl(c); }))
    refuse(url, "there is a blank in it");
  std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string path = rest.substr(slash);  // of a database that shares its port, or of a reverse proxy
  rest.resize(slash);
  std::size_t bracket = rest.rfind(']');
  std::size_t colon = rest.find(':', bracket == std::string::npos ? 0 : bracket);
  if (colon != std::string::npos && !is_port(rest.substr(colon + 1)))
    refuse(url, "the port must be a number from 1 to 65535");
  if (!is_host(rest.substr(0, colon)))
    refuse(url, "the host's name is missing or has characters that names do not have");
  return url.substr(0, scheme) + rest + path;
}

void check_listen_address(const std::string& text) { parse_listen_address(text); }

bool is_loopback_address(const std::string& text) { return text.empty() || is_loopback(parse_listen_address(text)); }

}  // namespace rowmesh::sqlite
