// test_server(name): the checks of the core, over a private event loop of this session.
#include <sys/random.h>

#include "pg_ext/catalog.hpp"
#include "pg_ext/clock.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/rows_out.hpp"
#include "pg_ext/settings.hpp"
#include "shared/http/late_handler.hpp"
#include "shared/model/limits.hpp"
#include "shared/net/event_loop.hpp"
#include "shared/net/listener_settings.hpp"
#include "shared/sync/node.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "pgstat.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(rowmesh_test_server);
}

namespace rowmesh {
namespace {

constexpr std::uint64_t timeout_ms = 10000;

void wait_on(int descriptor, long ms) {
  guard([&] {
    (void)WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, descriptor,
                            ms, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  });
}

HttpResponse exchange(EventLoop& loop, const std::string& url_base, HttpRequest request) {
  HttpResponse answer;
  bool done = false;
  loop.send(url_base, std::move(request), timeout_ms, limits::control_body_bytes, [&](HttpResponse response) {
    answer = std::move(response);
    done = true;
  });
  while (!done) {
    loop.run();
    if (done) break;
    std::int64_t ms = loop.timeout_ms();
    wait_on(loop.descriptor(), ms < 0 || ms > 1000 ? 1000 : static_cast<long>(ms));
  }
  return answer;
}

ServerConfig find_server(const std::string& name) {
  for (ServerConfig& server : read_servers())
    if (server.name == name) return server;
  throw Error(ErrorKind::config, "42704",
              "there is no server '" + name + "'; add it with rowmesh.add_server(name, url, secret)");
}

std::vector<ServerCheck> run_checks(const std::string& name) {
  ServerConfig server = find_server(name);
  Identity self = read_identity();
  Catalog catalog;
  catalog.load();
  std::vector<Table> tables;
  for (const auto& table : catalog.tables()) tables.push_back(table->table);
  LateHandler nobody;
  EventLoop loop(nobody);
  std::map<std::string, std::string> settings = read_settings();
  apply_tls_settings(loop, [&](const std::string& setting) { return settings[setting]; });
  SystemClock wall;
  SystemRandom random;
  return test_server(
      server, self, tables,
      [&](const std::string& url, HttpRequest request) { return exchange(loop, url, std::move(request)); }, wall,
      random);
}

// RAISES.
void put_check(const RowsOut& out, const ServerCheck& check) {
  Datum values[4] = {CStringGetTextDatum(check.check.c_str()), BoolGetDatum(check.ok),
                     CStringGetTextDatum(check.detail.c_str()), Int64GetDatum(static_cast<std::int64_t>(check.ms))};
  bool nulls[4] = {};
  put_row(out, values, nulls);
}

}  // namespace
}  // namespace rowmesh

extern "C" PGDLLEXPORT Datum rowmesh_test_server(PG_FUNCTION_ARGS) {
  using namespace rowmesh;
  if (PG_ARGISNULL(0))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("name the server to test; the view rowmesh.status lists them")));
  RowsOut out = start_rows(fcinfo);
  const char* name = text_to_cstring(PG_GETARG_TEXT_PP(0));
  door([&] {
    for (const ServerCheck& check : run_checks(name)) guard([&] { put_check(out, check); });
  });
  return 0;
}
