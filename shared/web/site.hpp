// Everything that a node answers over HTTP: what is between servers goes to the node; /health, /metrics, /dashboard and
// /api/v1/ are answered here. The engines give it to their listener in the node's place.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shared/sync/node.hpp"
#include "shared/web/administration.hpp"
#include "shared/web/health.hpp"
#include "shared/web/history.hpp"
#include "shared/web/sessions.hpp"

namespace rowmesh {

// Who asks.
enum class Access : std::uint8_t { nobody, monitor, admin };

struct SiteServices {
  Node& node;
  Store& store;
  Administration& administration;
  WallClock& wall;
  Random& random;
  HttpClient& client;
  std::function<void(char level, const std::string& text)> log;
  std::function<void(NodeStatus&)> add_listener;  // fills in where it listens, or why not
};

class Site : public HttpHandler {
 public:
  explicit Site(SiteServices services);
  ~Site() override;

  // Called beside Node::tick: takes samples. Returns when it wants to be called again at the latest.
  std::uint64_t tick(const NodeStatus& status);
  bool tick_due() const { return history_.due(services_.wall.now_ms()); }

  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override;
  HttpResponse handle(const HttpRequest& request) override;
  HttpResponse later(const HttpRequest& request) override;

 private:
  using Names = std::vector<std::string>;  // what stands in the path's variable parts
  using Handler = HttpResponse (Site::*)(const HttpRequest& request, const Names& names);
  struct Route {
    const char* method;
    const char* path;  // "{}" stands for one part
    Access needs;
    Handler handler;
  };
  static const std::vector<Route>& routes();
  static const Route* find_route(const HttpRequest& request, Names& names, bool& path_known);
  friend std::vector<std::pair<std::string, std::string>> site_routes();

  struct Caller {
    Access access = Access::nobody;
    HttpResponse refusal;  // status 0: none
  };
  Caller who_asks(const HttpRequest& head);
  Access by_token(const std::string& token);
  HttpResponse csrf_refusal(const HttpRequest& head, const std::string& session);
  bool tells_all(const HttpRequest& head);  // /health and /metrics without a login: from this machine
  std::string cookie_name();
  HttpResponse guarded(const std::function<HttpResponse()>& work);
  void look_around();  // what is asked of the database now and then

  // site.cpp
  HttpResponse health(const HttpRequest&, const Names&);
  HttpResponse metrics(const HttpRequest&, const Names&);
  HttpResponse dashboard(const HttpRequest&, const Names&);
  HttpResponse home(const HttpRequest&, const Names&);

  // login.cpp
  HttpResponse session(const HttpRequest&, const Names&);
  HttpResponse login(const HttpRequest&, const Names&);
  HttpResponse logout(const HttpRequest&, const Names&);

  // api.cpp
  HttpResponse overview(const HttpRequest&, const Names&);
  HttpResponse history(const HttpRequest&, const Names&);
  HttpResponse servers(const HttpRequest&, const Names&);
  HttpResponse tables(const HttpRequest&, const Names&);
  HttpResponse conflicts(const HttpRequest&, const Names&);
  HttpResponse quarantine(const HttpRequest&, const Names&);
  HttpResponse add_server(const HttpRequest&, const Names&);
  HttpResponse alter_server(const HttpRequest&, const Names&);
  HttpResponse remove_server(const HttpRequest&, const Names&);
  HttpResponse server_action(const HttpRequest&, const Names&);
  HttpResponse add_table(const HttpRequest&, const Names&);
  HttpResponse remove_table(const HttpRequest&, const Names&);
  HttpResponse conflict_action(const HttpRequest&, const Names&);
  HttpResponse quarantine_action(const HttpRequest&, const Names&);
  HttpResponse retry_all(const HttpRequest&, const Names&);
  HttpResponse switch_on(const HttpRequest&, const Names&);
  HttpResponse switch_off(const HttpRequest&, const Names&);
  HttpResponse perform(const std::string& function, const nlohmann::json& arguments);

  // connection_check.cpp
  HttpResponse test_server(const HttpRequest&, const Names&);
  struct ServerTest;

  // neighbours.cpp
  HttpResponse neighbours(const HttpRequest&, const Names&);
  HttpResponse forward(const HttpRequest&, const Names&);

  // A request whose answer comes later, by what it waits for. Shared with callbacks that may outlive us.
  struct Waiting {
    std::optional<HttpResponse> answer;
    std::uint64_t give_up_ms = 0;
  };
  std::shared_ptr<Waiting> wait_for(const HttpRequest& request, std::uint64_t timeout_ms);

  NodeStatus status();
  Health judge();

  SiteServices services_;
  Sessions sessions_;
  Attempts attempts_;
  RecentHistory history_;
  std::map<const HttpRequest*, std::shared_ptr<Waiting>> waiting_;

  // Of the database, as last looked at.
  std::uint64_t looked_ms_ = 0, looked_generation_ = 0;
  bool looked_ = false;
  Identity identity_;
  EngineInfo engine_;
  std::vector<std::string> functions_;  // of those that not every version has
  std::vector<Credential> credentials_;
  std::string local_key_;
  HealthLimits limits_;
  Storage storage_;
  bool enabled_ = true;
  std::string database_trouble_;
};

// (method, path) of all there are, for the test that compares them with docs/openapi.json.
std::vector<std::pair<std::string, std::string>> site_routes();

}  // namespace rowmesh
