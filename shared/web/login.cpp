// Logging in to the dashboard: one password for a node, set by set_dashboard_password().
#include <nlohmann/json.hpp>

#include "shared/web/answers.hpp"
#include "shared/web/credentials.hpp"
#include "shared/web/site.hpp"

namespace rowmesh {
namespace {

const std::string* password_hash(const std::vector<Credential>& credentials) {
  for (const Credential& one : credentials)
    if (one.name == "dashboard") return &one.hash;
  return nullptr;
}

}  // namespace

// What the page asks first: may I show something, and if not, what is to do?
HttpResponse Site::session(const HttpRequest& request, const Names&) {
  look_around();
  std::string id = cookie_of(request, cookie_name());
  bool in = !id.empty() && sessions_.known(id);
  nlohmann::json answer = {
      {"logged_in", in}, {"password_set", password_hash(credentials_) != nullptr}, {"engine", engine_.engine}};
  if (in) {
    answer["csrf"] = Sessions::csrf_of(id);
    answer["ends_ms"] = sessions_.ends_ms(id);
    answer["name"] = identity_.name;
  }
  return json_answer(200, answer);
}

HttpResponse Site::login(const HttpRequest& request, const Names&) {
  look_around();
  if (header_of(request, "content-type").find("application/json") == std::string::npos)
    return error_answer(415, "content_type", "send application/json");  // what a form of another site cannot do unasked
  const std::string* hash = password_hash(credentials_);
  if (!hash)
    return error_answer(403, "no_password",
                        engine_.engine == "sqlite"
                            ? "no password is set: SELECT rowmesh_set_dashboard_password('...') sets one"
                            : "no password is set: SELECT rowmesh.set_dashboard_password('...') sets one");
  if (std::uint64_t wait_ms = attempts_.wait_ms(request.peer_address); wait_ms > 0) {
    HttpResponse response =
        error_answer(429, "too_many_attempts",
                     "too many wrong passwords; try again in " + std::to_string(wait_ms / 1000 + 1) + " s");
    response.headers["retry-after"] = std::to_string(wait_ms / 1000 + 1);
    return response;
  }
  auto body = json_body(request);
  std::string password =
      body.contains("password") && body["password"].is_string() ? body["password"].get<std::string>() : "";
  if (!password_fits(password, *hash)) {
    attempts_.failed(request.peer_address);
    services_.log('w', "a wrong password for the dashboard came from " + request.peer_address);
    return error_answer(401, "wrong_password", "this is not the password");
  }
  attempts_.succeeded(request.peer_address);
  std::string id = sessions_.open();
  HttpResponse response =
      json_answer(200, {{"csrf", Sessions::csrf_of(id)}, {"name", identity_.name}, {"ends_ms", sessions_.ends_ms(id)}});
  response.headers["set-cookie"] =
      cookie_name() + "=" + id + "; Path=/; HttpOnly; SameSite=Strict" + (request.secure ? "; Secure" : "");
  return response;
}

HttpResponse Site::logout(const HttpRequest& request, const Names&) {
  look_around();
  std::string id = cookie_of(request, cookie_name());
  if (!id.empty() && sessions_.known(id)) {
    if (HttpResponse refusal = csrf_refusal(request, id); refusal.status != 0) return refusal;
    sessions_.close(id);
  }
  HttpResponse response = json_answer(200, nlohmann::json::object());
  response.headers["set-cookie"] = cookie_name() + "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
  return response;
}

}  // namespace rowmesh
