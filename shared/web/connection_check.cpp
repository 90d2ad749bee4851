// "Test connection" without waiting in it. The checks (shared/sync/test_server.cpp) are written as a plain function
// that asks and gets answers. Here it runs as far as the answers go that are there; where one is missing, it is sent
// for, and the function runs again from its start once it has come. Nothing is sent twice, and the times that it reads
// are those of the first time.
#include <nlohmann/json.hpp>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"
#include "shared/web/answers.hpp"
#include "shared/web/site.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t answer_timeout_ms = 10000, give_up_ms = 30000;
struct AnswerMissing {};

}  // namespace

struct Site::ServerTest : std::enable_shared_from_this<Site::ServerTest> {
  struct Exchange {
    std::uint64_t begin_ms, end_ms;
    HttpResponse response;
  };
  struct RecordedClock : WallClock {
    std::uint64_t time_ms = 0;
    std::uint64_t now_ms() override { return time_ms; }
  };

  ServerConfig server;
  Identity self;
  std::vector<Table> tables;
  HttpClient& client;
  WallClock& wall;
  Random& random;
  std::shared_ptr<Waiting> waiting;
  std::vector<Exchange> past;

  ServerTest(HttpClient& client, WallClock& wall, Random& random) : client(client), wall(wall), random(random) {}

  void go_on() {
    RecordedClock clock;
    clock.time_ms = past.empty() ? wall.now_ms() : past.front().begin_ms;
    std::size_t at = 0;
    auto exchange = [&](const std::string& url, HttpRequest request) {
      if (at == past.size()) {
        send(url, std::move(request));
        throw AnswerMissing();
      }
      const Exchange& known = past[at++];
      clock.time_ms = known.end_ms;
      return known.response;
    };
    try {
      nlohmann::json checks = nlohmann::json::array();
      for (const ServerCheck& check : rowmesh::test_server(server, self, tables, exchange, clock, random))
        checks.push_back({{"check", check.check}, {"ok", check.ok}, {"detail", check.detail}, {"ms", check.ms}});
      waiting->answer = json_answer(200, {{"checks", checks}});
    } catch (const AnswerMissing&) {
    } catch (const Error& error) {
      waiting->answer = error_answer(500, error.code(), error.what());
    }
  }

  void send(const std::string& url, HttpRequest request) {
    std::uint64_t begin_ms = wall.now_ms();
    client.send(url, std::move(request), answer_timeout_ms, limits::control_body_bytes,
                [self = shared_from_this(), begin_ms](HttpResponse response) {
                  self->past.push_back({begin_ms, self->wall.now_ms(), std::move(response)});
                  self->go_on();
                });
  }
};

HttpResponse Site::test_server(const HttpRequest& request, const Names& names) {
  services_.node.require_idle();
  auto test = std::make_shared<ServerTest>(services_.client, services_.wall, services_.random);
  for (const ServerConfig& server : services_.store.servers())
    if (server.name == names[0]) test->server = server;
  if (test->server.name.empty()) return error_answer(404, "unknown_server", "there is no server '" + names[0] + "'");
  test->self = services_.store.identity();
  test->tables = services_.store.tables();
  test->waiting = wait_for(request, give_up_ms);
  test->go_on();
  return {};
}

}  // namespace rowmesh
