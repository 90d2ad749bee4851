#include "sqlite_ext/server_check.hpp"

#include <poll.h>

#include <algorithm>

#include "shared/http/late_handler.hpp"
#include "shared/model/limits.hpp"
#include "shared/net/event_loop.hpp"
#include "shared/net/listener_settings.hpp"
#include "sqlite_ext/catalog.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/system.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr std::uint64_t answer_timeout_ms = 10000;

HttpResponse exchange(sqlite3* db, const std::string& url, HttpRequest request) {
  LateHandler nobody;  // this loop only asks
  EventLoop loop(nobody);
  apply_tls_settings(loop, [db](const std::string& name) { return setting_value(db, name); });
  HttpResponse answer;
  bool done = false;
  loop.send(url, std::move(request), answer_timeout_ms, limits::control_body_bytes, [&](HttpResponse response) {
    answer = std::move(response);
    done = true;
  });
  while (!done) {
    pollfd ready = {loop.descriptor(), POLLIN, 0};
    std::int64_t wait_ms = loop.timeout_ms();
    poll(&ready, 1, static_cast<int>(std::clamp<std::int64_t>(wait_ms < 0 ? 100 : wait_ms, 0, 100)));
    loop.run();
  }
  return answer;
}

}  // namespace

std::vector<ServerCheck> check_server(sqlite3* db, const std::string& name) {
  require_enabled(db);
  require_server(db, name);
  SystemClock wall;
  SystemRandom random;
  std::vector<Table> tables;
  for (Layout& layout : read_layouts(db)) tables.push_back(std::move(layout.table));
  for (const ServerConfig& server : read_servers(db))
    if (server.name == name)
      return test_server(
          server, read_identity(db), tables,
          [db](const std::string& url, HttpRequest request) { return exchange(db, url, std::move(request)); }, wall,
          random);
  return {};
}

}  // namespace rowmesh::sqlite
