#include "shared/net/request_gate.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace rowmesh {
namespace {

constexpr std::size_t most_uri_bytes = 8 << 10;
constexpr std::array<std::string_view, 4> methods_with_body = {"POST", "PUT", "PATCH", "DELETE"};

// Lists may come in several lines; everything else has one value, and two of them are two readings of one request.
constexpr std::array<std::string_view, 6> lists = {"accept", "accept-encoding", "accept-language", "cookie",
                                                   "via",    "x-forwarded-for"};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& letter : result)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + ('a' - 'A'));
  return result;
}

bool contains(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void RequestGate::header(std::string_view name, std::string_view value) {
  bytes_ += name.size() + value.size();
  std::string key = lower(name);
  auto [at, is_new] = headers_.try_emplace(key, value);
  if (is_new) return;
  if (!contains(lists, key))
    repeated_ = key;
  else
    at->second += (key == "cookie" ? "; " : ", ") + std::string(value);
}

RequestFault RequestGate::judge(std::string_view uri, HttpRequest& request) {
  if (version_ != "HTTP/1.1" && version_ != "HTTP/1.0") return {505, "only HTTP/1.1 is spoken here"};
  if (bytes_ > most_header_bytes_) return {431, "the request's headers are too long", RefusedFor::header_size};
  if (uri.size() > most_uri_bytes) return {414, "the request's path is too long", RefusedFor::header_size};
  if (!repeated_.empty()) return {400, "the header " + repeated_ + " came twice"};
  if (!uri.starts_with('/')) return {400, "the request's path does not begin with '/'"};
  RequestFault refusal = judge_framing();
  if (refusal.status != 0) return refusal;
  request.method = method_ == "HEAD" ? "GET" : method_;
  std::size_t question = uri.find('?');
  request.path = uri.substr(0, question);
  request.query = question == uri.npos ? std::string_view() : uri.substr(question + 1);
  request.headers = std::move(headers_);
  return {};
}

RequestFault RequestGate::judge_framing() {
  auto length = headers_.find("content-length");
  auto encoding = headers_.find("transfer-encoding");
  if (length != headers_.end() && encoding != headers_.end())
    return {400, "Content-Length and Transfer-Encoding came both"};
  if (encoding != headers_.end()) {
    if (lower(encoding->second) != "chunked" || version_ == "HTTP/1.0")
      return {400, "only chunked Transfer-Encoding is understood"};
    chunked_ = true;
  }
  if (length != headers_.end()) {
    const std::string& digits = length->second;
    auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), content_length_);
    if (failure != std::errc() || end != digits.data() + digits.size()) return {400, "Content-Length is not a number"};
  }
  if (has_body() && !contains(methods_with_body, method_)) return {400, "a " + method_ + " request has no body"};
  return {};
}

}  // namespace rowmesh
