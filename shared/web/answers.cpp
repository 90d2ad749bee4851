#include "shared/web/answers.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

int digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  letter = static_cast<char>(letter | 0x20);
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

// Calls `visit` with each piece.
template <typename Visit>
void split(std::string_view text, char at, Visit visit) {
  while (true) {
    std::size_t end = text.find(at);
    visit(text.substr(0, end));
    if (end == text.npos) return;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

HttpResponse text_answer(int status, const std::string& content_type, std::string body) {
  HttpResponse response;
  response.status = status;
  response.headers["content-type"] = content_type;
  response.headers["cache-control"] = "no-store";
  response.headers["x-content-type-options"] = "nosniff";
  response.body = std::make_shared<Body>(std::move(body));
  return response;
}

HttpResponse json_answer(int status, const nlohmann::json& body) {
  // Not UTF-8 somewhere (a name in another encoding) must not hide all the rest.
  return text_answer(status, "application/json", body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

HttpResponse error_answer(int status, const std::string& code, const std::string& text) {
  return json_answer(status, {{"error", code}, {"text", text}});
}

std::string header_of(const HttpRequest& request, const char* name) {
  auto at = request.headers.find(name);
  return at == request.headers.end() ? "" : at->second;
}

std::string cookie_of(const HttpRequest& request, const std::string& name) {
  std::string found;
  split(header_of(request, "cookie"), ';', [&](std::string_view one) {
    one = trimmed(one);
    if (one.starts_with(name + "=")) found = one.substr(name.size() + 1);
  });
  return found;
}

std::string percent_decoded(std::string_view text, bool plus_is_space) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); i++) {
    int high = text[i] == '%' && i + 2 < text.size() ? digit(text[i + 1]) : -1;
    int low = high >= 0 ? digit(text[i + 2]) : -1;
    if (low >= 0) {
      result += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      result += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return result;
}

std::string query_value(const HttpRequest& request, std::string_view name) {
  std::string found;
  split(request.query, '&', [&](std::string_view one) {
    std::size_t equals = one.find('=');
    if (equals != one.npos && one.substr(0, equals) == name) found = percent_decoded(one.substr(equals + 1), true);
  });
  return found;
}

nlohmann::json json_body(const HttpRequest& request) {
  if (!request.body || request.body->size() == 0) return nlohmann::json::object();
  auto body = nlohmann::json::parse(request.body->text(limits::control_body_bytes), nullptr, false);
  if (!body.is_object()) throw Error(ErrorKind::config, "bad_request", "the body must be a JSON object");
  return body;
}

bool is_loopback_text(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

bool host_is_numeric(const HttpRequest& request) {
  std::string host = header_of(request, "host");
  if (host.starts_with('[')) return true;
  if (std::size_t colon = host.find(':'); colon != std::string::npos) host.resize(colon);
  return host == "localhost" || (!host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= '0' && c <= '9') || c == '.';
         }));
}

}  // namespace rowmesh
