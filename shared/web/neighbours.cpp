// Several databases of one machine in one dashboard: this node lists the others and hands requests on to them.
#include <nlohmann/json.hpp>

#include "shared/model/limits.hpp"
#include "shared/web/answers.hpp"
#include "shared/web/site.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t answer_timeout_ms = 35000;  // testing a server takes up to 30 s
constexpr const char* prefix = "/api/v1/nodes/";

std::string reachable_here(const Neighbour& one) {
  if (!one.inside.empty()) return one.inside;
  return one.address.starts_with("*:") ? "127.0.0.1" + one.address.substr(1) : one.address;
}

}  // namespace

HttpResponse Site::neighbours(const HttpRequest&, const Names&) {
  services_.node.require_idle();
  look_around();
  nlohmann::json nodes = nlohmann::json::array();
  nodes.push_back(
      {{"node", identity_.node}, {"name", identity_.name}, {"address", status().listening}, {"here", true}});
  for (const Neighbour& one : services_.administration.neighbours())
    if (one.node != identity_.node)
      nodes.push_back({{"node", one.node}, {"name", one.name}, {"address", one.address}, {"here", false}});
  return json_answer(200, {{"nodes", nodes}});
}

// /api/v1/nodes/ID/REST is /api/v1/REST there. The neighbour trusts us by a key that only this machine's owner of both
// databases can know.
HttpResponse Site::forward(const HttpRequest& request, const Names& names) {
  services_.node.require_idle();
  for (const Neighbour& one : services_.administration.neighbours()) {
    if (one.node != names[0]) continue;
    if (one.address.empty())
      return error_answer(409, "not_listening", "'" + one.name + "' does not listen: give it the setting 'listen'");
    HttpRequest onward;
    onward.method = request.method;
    onward.path = "/api/v1/" + request.path.substr(request.path.find('/', std::string_view(prefix).size()) + 1);
    if (onward.path.starts_with(prefix))
      return error_answer(400, "bad_request", "one node hands a request on only once");
    onward.query = request.query;
    onward.headers["authorization"] = "Bearer " + one.key;
    onward.headers["content-type"] = "application/json";
    onward.body = request.body;
    auto waiting = wait_for(request, answer_timeout_ms);
    services_.client.send(
        "http://" + reachable_here(one), std::move(onward), answer_timeout_ms, limits::control_body_bytes,
        [waiting, name = one.name](HttpResponse response) {
          if (response.status == 0)
            waiting->answer = error_answer(502, "no_answer", "'" + name + "' does not answer: " + response.error);
          else
            waiting->answer = text_answer(response.status, "application/json",
                                          response.body ? response.body->text(limits::control_body_bytes) : "{}");
        });
    return {};
  }
  return error_answer(404, "unknown_node", "there is no such node on this machine");
}

}  // namespace rowmesh
