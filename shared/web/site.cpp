// The router: which handler a path has, and who may call it. Then the handlers that are not the API: health, metrics,
// the page.
#include "shared/web/site.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "shared/model/error.hpp"
#include "shared/web/answers.hpp"
#include "shared/web/credentials.hpp"
#include "shared/web/metrics.hpp"
#include "shared/web/page.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t look_every_ms = 5000;
constexpr std::uint64_t action_body_bytes = 64 << 10;

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    std::size_t end = std::min(path.find('/'), path.size());
    parts.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

}  // namespace

Site::Site(SiteServices services)
    : services_(std::move(services)), sessions_(services_.wall, services_.random), attempts_(services_.wall) {}
Site::~Site() = default;

const std::vector<Site::Route>& Site::routes() {
  static const std::vector<Route>& table = *new std::vector<Route>{
      {"GET", "/", Access::nobody, &Site::home},
      {"GET", "/dashboard", Access::nobody, &Site::dashboard},
      {"GET", "/health", Access::nobody, &Site::health},
      {"GET", "/metrics", Access::nobody, &Site::metrics},
      {"GET", "/api/v1/session", Access::nobody, &Site::session},
      {"POST", "/api/v1/login", Access::nobody, &Site::login},
      {"POST", "/api/v1/logout", Access::nobody, &Site::logout},
      {"GET", "/api/v1/overview", Access::monitor, &Site::overview},
      {"GET", "/api/v1/history", Access::monitor, &Site::history},
      {"GET", "/api/v1/servers", Access::monitor, &Site::servers},
      {"POST", "/api/v1/servers", Access::admin, &Site::add_server},
      {"PATCH", "/api/v1/servers/{}", Access::admin, &Site::alter_server},
      {"DELETE", "/api/v1/servers/{}", Access::admin, &Site::remove_server},
      {"POST", "/api/v1/servers/{}/test", Access::admin, &Site::test_server},
      {"POST", "/api/v1/servers/{}/{}", Access::admin, &Site::server_action},
      {"GET", "/api/v1/tables", Access::monitor, &Site::tables},
      {"POST", "/api/v1/tables", Access::admin, &Site::add_table},
      {"DELETE", "/api/v1/tables/{}", Access::admin, &Site::remove_table},
      {"GET", "/api/v1/conflicts", Access::monitor, &Site::conflicts},
      {"POST", "/api/v1/conflicts/{}/{}", Access::admin, &Site::conflict_action},
      {"GET", "/api/v1/quarantine", Access::monitor, &Site::quarantine},
      {"POST", "/api/v1/quarantine/retry", Access::admin, &Site::retry_all},
      {"POST", "/api/v1/quarantine/{}/{}", Access::admin, &Site::quarantine_action},
      {"POST", "/api/v1/enable", Access::admin, &Site::switch_on},
      {"POST", "/api/v1/disable", Access::admin, &Site::switch_off},
      {"GET", "/api/v1/nodes", Access::monitor, &Site::neighbours},
      {"GET", "/api/v1/nodes/{}/...", Access::admin, &Site::forward},
      {"POST", "/api/v1/nodes/{}/...", Access::admin, &Site::forward},
      {"PATCH", "/api/v1/nodes/{}/...", Access::admin, &Site::forward},
      {"DELETE", "/api/v1/nodes/{}/...", Access::admin, &Site::forward},
  };
  return table;
}

std::vector<std::pair<std::string, std::string>> site_routes() {
  std::vector<std::pair<std::string, std::string>> list;
  for (const Site::Route& route : Site::routes()) list.emplace_back(route.method, route.path);
  return list;
}

const Site::Route* Site::find_route(const HttpRequest& request, Names& names, bool& path_known) {
  auto asked = parts_of(request.path);
  for (const Route& route : routes()) {
    auto parts = parts_of(route.path);
    bool open_end = parts.back() == "...";
    if (open_end ? asked.size() < parts.size() : asked.size() != parts.size()) continue;
    names.clear();
    bool fits = true;
    for (std::size_t i = 0; i < parts.size() && fits; i++) {
      if (parts[i] == "...") break;
      if (parts[i] == "{}")
        names.push_back(percent_decoded(asked[i]));
      else
        fits = parts[i] == asked[i];
    }
    if (!fits) continue;
    path_known = true;
    if (request.method == route.method) return &route;
  }
  return nullptr;
}

// ---- who asks

Access Site::by_token(const std::string& token) {
  if (!local_key_.empty() && token_fits(token, hash_token(local_key_))) return Access::admin;
  Access access = Access::nobody;
  for (const Credential& one : credentials_)
    if (one.name != "dashboard" && token_fits(token, one.hash))
      access = std::max(access, one.scope == "admin" ? Access::admin : Access::monitor);
  return access;
}

// Cookies are shared by all ports of a host, so each node has a name of its own.
std::string Site::cookie_name() { return "rowmesh_" + identity_.node.substr(0, 8); }

HttpResponse Site::csrf_refusal(const HttpRequest& head, const std::string& session) {
  if (head.method == "GET") return {};
  std::string site = header_of(head, "sec-fetch-site");
  bool same = site.empty() || site == "same-origin" || site == "none";
  if (same && token_fits(header_of(head, "x-rowmesh-csrf"), hash_token(Sessions::csrf_of(session)))) return {};
  return error_answer(403, "csrf", "the request did not come from this node's own page; load the dashboard again");
}

Site::Caller Site::who_asks(const HttpRequest& head) {
  look_around();
  Caller caller;
  std::string authorization = header_of(head, "authorization");
  if (authorization.starts_with("Bearer ")) {
    caller.access = by_token(authorization.substr(7));
    if (caller.access == Access::nobody)
      caller.refusal = error_answer(401, "bad_token", "this token is not known here; add_token() makes one");
    return caller;
  }
  if (std::string id = cookie_of(head, cookie_name()); !id.empty() && sessions_.known(id)) {
    caller.access = Access::admin;
    caller.refusal = csrf_refusal(head, id);
    return caller;
  }
  // What is signed by a server of ours may read. To change something it takes a person or a token.
  if (head.headers.contains("x-rowmesh-signature") && services_.node.signed_by_server(head))
    caller.access = Access::monitor;
  return caller;
}

bool Site::tells_all(const HttpRequest& head) {
  return (is_loopback_text(head.peer_address) && host_is_numeric(head)) || who_asks(head).access != Access::nobody;
}

HttpResponse Site::check(const HttpRequest& head, std::uint64_t& body_limit) {
  if (head.path.starts_with("/rowmesh/")) return services_.node.check(head, body_limit);
  body_limit = action_body_bytes;
  Names names;
  bool path_known = false;
  const Route* route = find_route(head, names, path_known);
  if (!route) {
    if (path_known) return error_answer(405, "method", "this address does not take " + head.method);
    services_.node.count_refused(RefusedFor::not_found);
    return error_answer(
        404, "not_found",
        "there is nothing at this address; the dashboard is at /dashboard, the API is described in docs/openapi.json");
  }
  if (route->needs == Access::nobody) return {};
  return guarded([&] {
    Caller caller = who_asks(head);
    if (caller.refusal.status != 0 || caller.access == Access::nobody)
      services_.node.count_refused(RefusedFor::not_signed);
    if (caller.refusal.status != 0) return caller.refusal;
    if (caller.access == Access::nobody)
      return error_answer(401, "login",
                          "log in, or send a token (Authorization: Bearer ...), or sign the request as a server does");
    if (caller.access < route->needs)
      return error_answer(403, "forbidden",
                          "this token may only read; add_token(name, 'admin') makes one that may do more");
    return HttpResponse();
  });
}

HttpResponse Site::handle(const HttpRequest& request) {
  if (request.path.starts_with("/rowmesh/")) return services_.node.handle(request);
  waiting_.erase(&request);
  Names names;
  bool path_known = false;
  const Route* route = find_route(request, names, path_known);
  if (!route) return error_answer(404, "not_found", "there is nothing at this address");
  return guarded([&] { return (this->*route->handler)(request, names); });
}

HttpResponse Site::later(const HttpRequest& request) {
  if (request.path.starts_with("/rowmesh/")) return services_.node.later(request);
  auto at = waiting_.find(&request);
  if (at == waiting_.end()) return handle(request);  // the database was busy
  std::shared_ptr<Waiting> waiting = at->second;
  if (!waiting->answer && services_.wall.now_ms() < waiting->give_up_ms) return {};
  waiting_.erase(at);
  return waiting->answer ? *waiting->answer : error_answer(504, "timeout", "no answer came in time");
}

std::shared_ptr<Site::Waiting> Site::wait_for(const HttpRequest& request, std::uint64_t timeout_ms) {
  // Whose client went away is never asked for again.
  std::erase_if(waiting_,
                [&](const auto& one) { return services_.wall.now_ms() >= one.second->give_up_ms + timeout_ms; });
  auto waiting = std::make_shared<Waiting>();
  waiting->give_up_ms = services_.wall.now_ms() + timeout_ms;
  return waiting_[&request] = waiting;
}

// Errors of the database as answers. While a long document is applied its transaction is open: status 0, later again.
HttpResponse Site::guarded(const std::function<HttpResponse()>& work) {
  try {
    return work();
  } catch (const Error& error) {
    services_.store.rollback();
    if (error.code() == "node_busy") return {};
    if (error.code() == "unknown_function") return error_answer(501, error.code(), error.what());
    if (error.kind() == ErrorKind::config || error.kind() == ErrorKind::permanent)
      return error_answer(400, error.code(), error.what());
    if (error.kind() == ErrorKind::transient) return error_answer(503, error.code(), error.what());
    services_.log('w', std::string("the API: ") + error.what());
    return error_answer(500, error.code(), error.what());
  }
}

// ---- what is known of the database

void Site::look_around() {
  std::uint64_t now_ms = services_.wall.now_ms();
  if (services_.node.in_transaction()) {
    if (!looked_) throw Error(ErrorKind::transient, "node_busy", "the database is busy");
    return;
  }
  std::uint64_t generation = services_.store.config_generation();
  if (looked_ && generation == looked_generation_ && now_ms < looked_ms_ + look_every_ms && now_ms >= looked_ms_)
    return;
  try {
    identity_ = services_.store.identity();
    if (!looked_) engine_ = services_.administration.engine();
    if (!looked_)
      for (const char* function : {"restore", "verify", "repair"})
        if (services_.administration.knows(function)) functions_.emplace_back(function);
    auto before = credentials_;
    credentials_ = services_.administration.credentials();
    local_key_ = services_.administration.local_key();
    limits_ = health_limits([this](const std::string& name) { return services_.store.setting(name); });
    enabled_ = services_.store.setting("enabled") != "off";
    storage_ = services_.administration.storage();
    database_trouble_.clear();
    // Whoever changes the password wants those who knew the old one out.
    auto hash = [](const std::vector<Credential>& all) {
      for (const Credential& one : all)
        if (one.name == "dashboard") return one.hash;
      return std::string();
    };
    if (looked_ && hash(before) != hash(credentials_)) sessions_.close_all();
    looked_ = true;
  } catch (const Error& error) {
    services_.store.rollback();
    database_trouble_ = error.what();
    if (!looked_) throw;
  }
  looked_generation_ = generation;
  looked_ms_ = now_ms;
}

NodeStatus Site::status() {
  NodeStatus status = services_.node.status();
  if (services_.add_listener) services_.add_listener(status);
  return status;
}

Health Site::judge() {
  HealthFacts facts;
  facts.database_trouble = database_trouble_;
  facts.disk_free_bytes = storage_.disk_free_bytes;
  facts.enabled = enabled_;
  return judge_health(status(), facts, limits_);
}

std::uint64_t Site::tick(const NodeStatus& status) {
  std::uint64_t now_ms = services_.wall.now_ms();
  return history_.due(now_ms) ? history_.look(now_ms, status) : history_.next_ms();
}

// ---- not the API

HttpResponse Site::health(const HttpRequest& request, const Names&) {
  look_around();
  Health health = only_checks(judge(), query_value(request, "only"));
  int status = health.verdict == Verdict::failing ? 503 : 200;
  if (tells_all(request)) return json_answer(status, health_to_json(health, identity_.name));
  return json_answer(status, {{"status", to_string(health.verdict)}});
}

HttpResponse Site::metrics(const HttpRequest& request, const Names&) {
  look_around();
  if (!tells_all(request))
    return error_answer(
        401, "token",
        "from another machine this takes a token (Authorization: Bearer ...); add_token('prometheus') makes one");
  NodeStatus now = status();
  std::vector<ServerDetail> details = services_.node.details();
  auto by_type = services_.node.conflicts_by_type();
  Held held = services_.node.held();
  Health health = judge();
  return text_answer(200, "text/plain; version=0.0.4; charset=utf-8",
                     metrics_text({identity_, engine_, now, details, by_type, storage_, health, held}));
}

HttpResponse Site::dashboard(const HttpRequest&, const Names&) {
  const DashboardPage& page = dashboard_page();
  HttpResponse response = text_answer(200, "text/html; charset=utf-8", page.html);
  response.headers["content-security-policy"] = page.policy;
  response.headers["referrer-policy"] = "no-referrer";
  response.headers["x-frame-options"] = "DENY";
  response.headers["cross-origin-opener-policy"] = "same-origin";
  return response;
}

HttpResponse Site::home(const HttpRequest&, const Names&) {
  HttpResponse response = text_answer(302, "text/plain", "the dashboard is at /dashboard\n");
  response.headers["location"] = "dashboard";  // whatever path a shared port or a proxy puts before it
  return response;
}

}  // namespace rowmesh
