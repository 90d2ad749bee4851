// Two databases on one port, as two event loops of one process; a third one asks.
#include "shared/net/port_door.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "shared/model/error.hpp"
#include "shared/testing/raw_connection.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t most_bytes = 200 << 20;

class Database : public HttpHandler {
 public:
  explicit Database(const std::string& name) : loop(*this), name(name) {}
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    body_limit = most_bytes;
    checked++;
    HttpResponse response;
    if (head.path == "/secret") response.status = 401;
    return response;
  }
  HttpResponse handle(const HttpRequest& request) override {
    last = request;
    handled++;
    HttpResponse response;
    response.status = 200;
    response.headers["x-answer"] = name;
    response.body = request.body ? request.body : std::make_shared<Body>(name + " " + request.path);
    return response;
  }
  HttpResponse later(const HttpRequest& request) override { return handle(request); }

  EventLoop loop;
  std::string name;
  HttpRequest last;
  int checked = 0, handled = 0;
};

class PortDoorTest : public ::testing::Test {
 protected:
  PortDoorTest() {
    for (Database* one : {&sales, &stock, &other})
      one->loop.share_ports({[this, one] { return neighbours_of(*one); }, [one] { return one->name + "'s key"; }});
    for (port = 21200; port < 21290; port++) {
      try {
        sales.loop.listen(at("/sales"));
        break;
      } catch (const Error&) {}
    }
    stock.loop.listen(at("/stock"));
  }

  ListenAddress at(const std::string& path) const { return {"127.0.0.1", port, path}; }
  std::string base() const { return "http://127.0.0.1:" + std::to_string(port); }

  std::vector<Neighbour> neighbours_of(const Database& self) {
    std::vector<Neighbour> others;
    for (Database* one : {&sales, &stock, &other})
      if (one != &self && !one->loop.listening().empty())
        others.push_back({one->name, one->name, one->loop.listening(), one->loop.inside(), one->name + "'s key"});
    return others;
  }

  void turn() {
    for (Database* one : {&sales, &stock, &other}) one->loop.run();
    asking.loop.run();
    pollfd all[] = {{sales.loop.descriptor(), POLLIN, 0},
                    {stock.loop.descriptor(), POLLIN, 0},
                    {asking.loop.descriptor(), POLLIN, 0}};
    ::poll(all, 3, 1);
  }
  template <typename Condition>
  void run_until(Condition condition) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      turn();
    }
  }

  HttpResponse ask(const std::string& method, const std::string& path, std::shared_ptr<Body> body = nullptr,
                   Headers headers = {}, const std::string& url = "") {
    HttpRequest request{method, path, "", std::move(headers), std::move(body), ""};
    std::optional<HttpResponse> answer;
    asking.loop.send(url.empty() ? base() : url, request, 20000, most_bytes,
                     [&](HttpResponse response) { answer = std::move(response); });
    run_until([&] { return answer.has_value(); });
    return answer.value_or(HttpResponse());
  }
  static std::string text(const HttpResponse& response) { return response.body ? response.body->text(most_bytes) : ""; }

  int connect_raw(const std::string& bytes) { return testing::connect_raw(port, bytes); }
  std::string read_until(int fd, const std::string& mark) {
    std::string answer;
    run_until([&] {
      char piece[4096];
      ssize_t got = ::recv(fd, piece, sizeof piece, MSG_DONTWAIT);
      if (got > 0) answer.append(piece, static_cast<std::size_t>(got));
      return answer.find(mark) != answer.npos || got == 0;
    });
    return answer;
  }

  std::uint16_t port = 0;
  Database sales{"sales"}, stock{"stock"}, other{"other"}, asking{"asking"};
};

TEST_F(PortDoorTest, EachAnswersUnderItsPathAndTheDoorAtTheRoot) {
  EXPECT_EQ(sales.loop.listening(), to_string(at("/sales")));
  EXPECT_EQ(stock.loop.listening(), to_string(at("/stock")));
  EXPECT_EQ(sales.loop.inside(), "");
  EXPECT_NE(stock.loop.inside(), "");
  EXPECT_EQ(text(ask("GET", "/sales/health")), "sales /health");
  EXPECT_EQ(text(ask("GET", "/stock/api/v1/some%20thing")), "stock /api/v1/some%20thing");
  EXPECT_EQ(text(ask("GET", "/rowmesh/v1/ping", nullptr, {}, base() + "/stock")), "stock /rowmesh/v1/ping");
  for (const char* path : {"/", "/dashboard", "/health", "/metrics", "/api/v1/session"})
    EXPECT_EQ(text(ask("GET", path)), std::string("sales ") + path);
  HttpResponse moved = ask("GET", "/stock");
  EXPECT_EQ(moved.status, 302);
  EXPECT_EQ(moved.headers["location"], "stock/");
  EXPECT_EQ(ask("GET", "/rowmesh/v1/ping").status, 404);
  EXPECT_EQ(ask("GET", "/stockings/health").status, 503);
  EXPECT_EQ(ask("POST", "/nowhere/x", std::make_shared<Body>(std::string(1000, 'x'))).status, 503);
}

TEST_F(PortDoorTest, HeadersAndBodyComeAsTheyWereSent) {
  std::string bytes(40 << 20, 'x');
  for (std::size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<char>(i * 2654435761u >> 13);
  HttpResponse answer =
      ask("POST", "/stock/echo", std::make_shared<Body>(bytes), {{"x-rowmesh-signature", "abc"}, {"host", "name:1"}});
  ASSERT_EQ(answer.status, 200) << answer.error;
  EXPECT_TRUE(text(answer) == bytes);
  EXPECT_EQ(answer.headers["x-answer"], "stock");
  EXPECT_EQ(stock.last.headers["x-rowmesh-signature"], "abc");
  EXPECT_EQ(stock.last.headers["host"], "name:1");
  EXPECT_EQ(stock.last.headers["content-type"], "application/octet-stream");
  EXPECT_EQ(stock.last.headers.count("x-rowmesh-client"), 0u);
  EXPECT_EQ(text(ask("DELETE", "/stock/thing")), "stock /thing");
  EXPECT_EQ(stock.last.method, "DELETE");
  EXPECT_EQ(ask("POST", "/stock/nothing").status, 200);
  for (int i = 0; i < 20; i++) ASSERT_EQ(text(ask("POST", "/stock/e", std::make_shared<Body>("short"))), "short");
  int fd = connect_raw(
      "POST /stock/e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n5\r\n more\r\n0\r\n\r\n");
  EXPECT_NE(read_until(fd, "some more").find("HTTP/1.1 200"), std::string::npos);
  ::close(fd);
}

TEST_F(PortDoorTest, WhatIsRefusedByItsHeadIsNotRead) {
  int fd = connect_raw("POST /stock/secret HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_NE(read_until(fd, "\r\n\r\n").find("HTTP/1.1 401"), std::string::npos);
  ::close(fd);
  EXPECT_EQ(ask("POST", "/stock/secret", std::make_shared<Body>(std::string(8 << 20, 'x'))).status, 401);
  EXPECT_EQ(stock.handled, 0);
  EXPECT_EQ(stock.checked, 2) << "each head came once";
}

TEST_F(PortDoorTest, ABodyWaitsForADatabaseThatIsBusy) {
  constexpr std::size_t size = 100 << 20;
  int fd = connect_raw("POST /stock/e HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
  run_until([&] { return stock.checked > 0; });
  std::string piece(1 << 20, 'x');
  std::size_t sent = 0;
  auto send_some = [&] {
    ssize_t got = ::send(fd, piece.data(), std::min(piece.size(), size - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (got > 0) sent += static_cast<std::size_t>(got);
    return got > 0;
  };
  // The other one does not run. Until the client can send nothing more and the door has nothing more to do.
  auto moves = [&] {
    pollfd ends[] = {{fd, POLLOUT, 0}, {sales.loop.descriptor(), POLLIN, 0}};
    return ::poll(ends, 2, 200) > 0;
  };
  do {
    send_some();
    sales.loop.run();
  } while (sent < size && moves());
  EXPECT_LT(sent, size / 2) << "what is beyond the buffers of the sockets waits with the client";
  run_until([&] {
    send_some();
    return stock.handled > 0;
  });
  EXPECT_EQ(stock.last.body->size(), size);
  ::close(fd);
}

TEST_F(PortDoorTest, NobodyButTheDoorSaysWhoAsks) {
  ask("GET", "/stock/x", nullptr, {{"x-rowmesh-client", "10.9.8.7 tls "}});
  EXPECT_EQ(stock.last.peer_address, "127.0.0.1");
  EXPECT_FALSE(stock.last.secure);
  HttpResponse forged =
      ask("GET", "/x", nullptr, {{"x-rowmesh-client", "10.9.8.7 tls "}, {"x-rowmesh-client-seal", "00"}},
          "http://" + stock.loop.inside());
  EXPECT_EQ(forged.status, 403);
  EXPECT_EQ(stock.handled, 1);
  HttpRequest request;
  introduce({"10.9.8.7", true, "ca"}, "a key", request);
  HttpRequest copy = request;
  EXPECT_THROW(introduced("another key", copy), Error);
  EXPECT_EQ(introduced("a key", request)->address, "10.9.8.7");
  EXPECT_TRUE(request.headers.empty());
}

TEST_F(PortDoorTest, AnotherTakesThePortOver) {
  EXPECT_TRUE(stock.loop.unsettled());
  sales.loop.listen({});
  stock.loop.listen(at("/stock"));
  EXPECT_EQ(stock.loop.inside(), "");
  EXPECT_FALSE(stock.loop.unsettled());
  EXPECT_EQ(text(ask("GET", "/stock/x")), "stock /x");
  sales.loop.listen(at("/sales"));
  EXPECT_NE(sales.loop.inside(), "");
  EXPECT_EQ(text(ask("GET", "/sales/x")), "sales /x");
  EXPECT_EQ(text(ask("GET", "/health")), "stock /health");
}

TEST_F(PortDoorTest, OneThatIsGoneIsSaidToBe) {
  EXPECT_EQ(ask("GET", "/stock/x").status, 200);
  stock.loop.listen({});
  EXPECT_GE(ask("POST", "/stock/x", std::make_shared<Body>(std::string(1 << 20, 'x'))).status, 502);
  EXPECT_EQ(text(ask("GET", "/sales/x")), "sales /x");
}

TEST_F(PortDoorTest, AClientThatGoesAwayLeavesNothing) {
  for (int i = 0; i < 5; i++) {
    int fd = connect_raw("POST /stock/e HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nand no more");
    run_until([&] { return stock.checked > i; });
    ::close(fd);
  }
  EXPECT_EQ(text(ask("GET", "/stock/x")), "stock /x");
  EXPECT_EQ(stock.handled, 1);
  int fd = connect_raw("POST /stock/e HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nand the door goes");
  run_until([&] { return stock.checked > 6; });
  sales.loop.listen({});
  ::close(fd);
}

TEST_F(PortDoorTest, OnePathIsOneDatabases) {
  for (const char* path : {"/sales", "/stock"}) {
    try {
      other.loop.listen(at(path));
      FAIL() << path;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("choose another path"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(other.loop.listen(at("")), Error);
  other.loop.listen(at("/third"));
  EXPECT_NE(other.loop.inside(), "");
}

TEST(ListenPath, IsParsed) {
  EXPECT_EQ(parse_listen_address("0.0.0.0:8080/sales"), (ListenAddress{"0.0.0.0", 8080, "/sales"}));
  EXPECT_EQ(to_string(parse_listen_address("[::1]:80/a.b-c")), "[::1]:80/a.b-c");
  for (const char* bad : {"host:80/", "host:80/a/b", "host:80/a b", "host:80/rowmesh", "host:80/api", "host:80/..",
                          "host/a", "host:/a", "host:80//a", "host:80/a?b", "host:80/%41"})
    EXPECT_THROW(parse_listen_address(bad), Error) << bad;
}

}  // namespace
}  // namespace rowmesh
