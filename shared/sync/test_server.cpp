// test_server(name): one row per check, in the order in which things go wrong.
#include <nlohmann/json.hpp>

#include "shared/http/auth.hpp"
#include "shared/model/limits.hpp"
#include "shared/sync/hello.hpp"

namespace rowmesh {

std::vector<ServerCheck> test_server(const ServerConfig& server, const Identity& self, const std::vector<Table>& tables,
                                     const Exchange& exchange, WallClock& wall, Random& random) {
  std::vector<ServerCheck> checks;
  auto add = [&](const std::string& check, bool ok, const std::string& detail, std::uint64_t ms = 0) {
    checks.push_back({check, ok, detail, ms});
    return ok;
  };
  if (server.url.empty()) {
    add("reach", true, "it has no URL here: it comes to us");
    return checks;
  }
  std::uint64_t begin_ms = wall.now_ms();
  HttpRequest ping;
  ping.method = "GET";
  ping.path = "/rowmesh/v1/ping";
  HttpResponse pong = exchange(server.url, std::move(ping));
  std::uint64_t end_ms = wall.now_ms();
  if (!add("reach", pong.status != 0 || pong.tls_failed,
           pong.status != 0  ? "answered"
           : pong.tls_failed ? "connected"
                             : pong.error,
           end_ms - begin_ms))
    return checks;
  if (server.url.starts_with("https://") &&
      !add("TLS", !pong.tls_failed, pong.tls_failed ? pong.error : "its certificate is good"))
    return checks;
  if (server.url.starts_with("http://")) add("TLS", true, "not used: what is shipped can be read on the way");
  std::string body = pong.body ? pong.body->text(limits::control_body_bytes) : "";
  nlohmann::json said = nlohmann::json::parse(body, nullptr, false);
  bool ours = pong.status == 200 && said.is_object() && said.contains("rowmesh") && said.contains("node");
  if (!add("rowmesh", ours,
           ours
               ? "version " + said.value("rowmesh", "?")
               : "something else than rowmesh answers there (status " + std::to_string(pong.status) + "); see the URL"))
    return checks;
  if (!add("another node", said.value("node", "") != self.node, "node " + said.value("node", "?"))) return checks;

  HttpRequest request;
  request.method = "GET";
  request.path = "/rowmesh/v1/hello";
  sign_request(request, self.node, server.secret, wall.now_ms(), random.next());
  begin_ms = wall.now_ms();
  HttpResponse response = exchange(server.url, std::move(request));
  end_ms = wall.now_ms();
  std::string text = response.body ? response.body->text(limits::control_body_bytes) : "", error, sentence;
  if (response.status != 200) {
    Progress progress;
    error_from_json(text, &error, &sentence, &progress);
    add("secret", false,
        sentence.empty() ? "it answered with status " + std::to_string(response.status) + " " + response.error
                         : sentence,
        end_ms - begin_ms);
    return checks;
  }
  add("secret", true, "accepted", end_ms - begin_ms);
  Hello hello;
  try {
    hello = hello_from_json(text);
  } catch (const Error& problem) {
    add("protocol", false, problem.what());
    return checks;
  }
  add("protocol", hello.protocol_min <= 1 && hello.protocol_max >= 1,
      "it speaks " + std::to_string(hello.protocol_min) + " to " + std::to_string(hello.protocol_max) +
          ", this server 1");
  std::int64_t skew_ms =
      static_cast<std::int64_t>(hello.clock_ms) - static_cast<std::int64_t>(begin_ms + (end_ms - begin_ms) / 2);
  std::uint64_t apart_ms = static_cast<std::uint64_t>(skew_ms < 0 ? -skew_ms : skew_ms);
  add("clock", apart_ms < limits::own_clock_ahead_ms, "its clock is " + std::to_string(skew_ms) + " ms ahead of ours");
  for (const Table& table : tables) {
    std::string misfit = table_misfit(table, hello);
    add("table " + table.wire_name, misfit.empty(), misfit.empty() ? "fits" : misfit);
  }
  return checks;
}

}  // namespace rowmesh
