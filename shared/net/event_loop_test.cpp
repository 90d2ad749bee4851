#include "shared/net/event_loop.hpp"
#include "shared/http/late_handler.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"
#include "shared/testing/raw_connection.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t answer_limit = 64 << 20;

class EchoHandler : public HttpHandler {
 public:
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    body_limit = 16 << 20;
    HttpResponse response;
    if (head.path == "/secret") response.status = 401;
    if (head.path == "/throw-early") throw std::runtime_error("the secret reason");
    return response;
  }
  HttpResponse handle(const HttpRequest& request) override {
    handled++;
    last = request;
    if (request.path == "/throw") throw std::runtime_error("the secret reason");
    HttpResponse response;
    if (request.path == "/not-yet") return response;
    response.status = 200;
    response.headers["x-answer"] = "yes";
    response.body = request.body ? request.body : std::make_shared<Body>("hello " + request.query);
    return response;
  }
  HttpResponse later(const HttpRequest& request) override {
    HttpResponse response;
    if (++asked_later < 3) return response;
    response.status = 200;
    response.body = std::make_shared<Body>("late " + request.query);
    return response;
  }
  int handled = 0, asked_later = 0;
  HttpRequest last;
};

std::uint16_t listen_somewhere(EventLoop& loop) {
  for (std::uint16_t port = 21100; port < 21200; port++) {
    try {
      loop.listen({"127.0.0.1", port});
      return port;
    } catch (const Error&) {}
  }
  throw std::runtime_error("no port is free");
}

class EventLoopTest : public ::testing::Test {
 protected:
  EventLoopTest() : loop(late), port(listen_somewhere(loop)) { late.set(&handler); }

  std::string base() const { return "http://127.0.0.1:" + std::to_string(port); }

  template <typename Condition>
  void run_until(Condition condition) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::int64_t wait_ms = loop.timeout_ms();
      pollfd one{loop.descriptor(), POLLIN, 0};
      ::poll(&one, 1, static_cast<int>(wait_ms < 0 || wait_ms > 100 ? 100 : wait_ms));
      loop.run();
    }
  }

  HttpResponse exchange(const std::string& url, const std::string& method, const std::string& path,
                        std::shared_ptr<Body> body = nullptr, std::uint64_t timeout_ms = 10000,
                        std::uint64_t limit = answer_limit) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.body = std::move(body);
    request.headers["x-test"] = "Value";
    std::optional<HttpResponse> answer;
    loop.send(url, request, timeout_ms, limit, [&](HttpResponse response) { answer = std::move(response); });
    EXPECT_FALSE(answer);
    run_until([&] { return answer.has_value(); });
    return answer.value_or(HttpResponse());
  }

  int connect_raw(const std::string& bytes) { return testing::connect_raw(port, bytes); }

  // What the listener answers to these bytes, until it closes.
  std::string raw(const std::string& bytes) {
    int fd = connect_raw(bytes);
    std::string answer;
    run_until([&] {
      char piece[4096];
      ssize_t got = ::recv(fd, piece, sizeof piece, MSG_DONTWAIT);
      if (got > 0) answer.append(piece, static_cast<std::size_t>(got));
      return got == 0 || (got < 0 && errno != EAGAIN);
    });
    ::close(fd);
    return answer;
  }

  EchoHandler handler;
  LateHandler late;  // as the engines' workers have it
  EventLoop loop;
  std::uint16_t port;
};

TEST_F(EventLoopTest, GetsAnAnswerWithHeaders) {
  HttpRequest request;
  HttpResponse answer = exchange(base(), "GET", "/some%20path");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers["x-answer"], "yes");
  EXPECT_EQ(answer.body->text(100), "hello ");
  EXPECT_EQ(handler.last.path, "/some%20path");
  EXPECT_EQ(handler.last.headers["x-test"], "Value");
  EXPECT_EQ(handler.last.peer_address, "127.0.0.1");
  EXPECT_EQ(loop.listening(), "127.0.0.1:" + std::to_string(port));
}

// Servers that nobody can reach never got a change: the engines' own handlers passed check() and handle() on to the
// node, but not later(), whose default was to handle the kept request once more. Now it has none, and LateHandler
// passes on all three.
TEST_F(EventLoopTest, KeepsARequestUntilThereIsAnAnswer) {
  HttpResponse answer = exchange(base(), "GET", "/not-yet");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body->text(100), "late ");
  EXPECT_EQ(handler.handled, 1);
  EXPECT_EQ(handler.asked_later, 3);
}

TEST_F(EventLoopTest, PostsEightMegabytesThereAndBack) {
  std::string bytes(8 << 20, 'x');
  for (std::size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<char>(i * 2654435761u >> 13);
  HttpResponse answer = exchange(base(), "POST", "/echo", std::make_shared<Body>(bytes));
  ASSERT_EQ(answer.status, 200) << answer.error;
  EXPECT_TRUE(answer.body->text(answer_limit) == bytes);
}

TEST_F(EventLoopTest, PostsABodyThatLiesInAFile) {
  struct Roomy : EchoHandler {
    HttpResponse check(const HttpRequest&, std::uint64_t& body_limit) override {
      body_limit = 100 << 20;
      return {};
    }
  } roomy;
  EventLoop other(roomy);
  std::uint16_t other_port = listen_somewhere(other);
  auto body = std::make_shared<Body>();
  for (int i = 0; i < 33; i++) body->append(std::string(1 << 20, static_cast<char>('a' + i % 26)));
  ASSERT_TRUE(body->in_memory().empty());
  HttpRequest request{"POST", "/", "", {}, body, ""};
  std::optional<HttpResponse> answer;
  loop.send("http://127.0.0.1:" + std::to_string(other_port), request, 20000, 100 << 20,
            [&](HttpResponse got) { answer = std::move(got); });
  run_until([&] {
    other.run();
    return answer.has_value();
  });
  ASSERT_EQ(answer->status, 200) << answer->error;
  EXPECT_TRUE(answer->body->text(100 << 20) == body->text(100 << 20));
}

TEST_F(EventLoopTest, ReusesItsConnections) {
  for (int i = 0; i < 50; i++) ASSERT_EQ(exchange(base(), "POST", "/", std::make_shared<Body>("body")).status, 200);
  EXPECT_EQ(handler.handled, 50);
}

TEST_F(EventLoopTest, SaysWhenNobodyListens) {
  HttpResponse answer = exchange("http://127.0.0.1:1", "GET", "/");
  EXPECT_EQ(answer.status, 0);
  EXPECT_NE(answer.error.find("Connection refused"), std::string::npos) << answer.error;
}

TEST_F(EventLoopTest, RefusesOtherProtocols) { EXPECT_EQ(exchange("file:///etc", "GET", "/hostname").status, 0); }

TEST_F(EventLoopTest, EndsAHangingServer) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  socklen_t size = sizeof at;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  HttpResponse answer = exchange("http://127.0.0.1:" + std::to_string(ntohs(at.sin_port)), "GET", "/", nullptr, 100);
  EXPECT_EQ(answer.status, 0);
  EXPECT_FALSE(answer.error.empty());
  ::close(fd);
}

TEST_F(EventLoopTest, BoundsTheAnswer) {
  HttpResponse answer = exchange(base(), "POST", "/", std::make_shared<Body>(std::string(5000, 'x')), 10000, 4999);
  EXPECT_EQ(answer.status, 0);
  EXPECT_NE(answer.error.find("longer than 4999"), std::string::npos) << answer.error;
}

TEST_F(EventLoopTest, AnswersBeforeTheBodyIsRead) {
  for (std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{8} << 20}) {
    HttpResponse answer = exchange(base(), "POST", "/secret", std::make_shared<Body>(std::string(size, 'x')));
    EXPECT_EQ(answer.status, 401) << answer.error;
  }
  EXPECT_EQ(exchange(base(), "GET", "/secret").status, 401);
  EXPECT_EQ(handler.handled, 0);
}

TEST_F(EventLoopTest, RefusesATooLongBody) {
  HttpResponse answer = exchange(base(), "POST", "/", std::make_shared<Body>(std::string((16 << 20) + 1, 'x')));
  EXPECT_EQ(answer.status, 413) << answer.error;
  std::string chunk = "100000\r\n" + std::string(0x100000, 'y') + "\r\n", all;
  for (int i = 0; i < 17; i++) all += chunk;
  all += "0\r\n\r\n";
  int fd = connect_raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string answer_text;
  std::atomic<bool> done = false;
  std::thread sender([&] {  // more than the socket's buffers hold, so it blocks while the loop runs here
    for (std::size_t at = 0; at < all.size();) {
      ssize_t sent = ::send(fd, all.data() + at, all.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += static_cast<std::size_t>(sent);
    }
    char piece[4096];
    for (ssize_t got; (got = ::recv(fd, piece, sizeof piece, 0)) > 0;)
      answer_text.append(piece, static_cast<std::size_t>(got));
    done = true;
  });
  run_until([&] { return done.load(); });
  sender.join();
  ::close(fd);
  EXPECT_EQ(answer_text.substr(0, 12), "HTTP/1.1 413");
  EXPECT_EQ(handler.handled, 0);
}

TEST_F(EventLoopTest, RefusesAmbiguousFraming) {
  auto status = [&](const std::string& head, const std::string& body = "") {
    return raw("POST / HTTP/1.1\r\nHost: x\r\n" + head + "\r\n" + body).substr(0, 12);
  };
  EXPECT_EQ(status("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd"), "HTTP/1.1 400");
  EXPECT_EQ(status("Content-Length: 4\r\nContent-Length: 2\r\n", "abcd"), "HTTP/1.1 400");
  EXPECT_EQ(status("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(status("Transfer-Encoding: gzip\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(status("X-Rowmesh-Node: a\r\nX-Rowmesh-Node: b\r\nContent-Length: 1\r\n", "a"), "HTTP/1.1 400");
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").substr(0, 12), "HTTP/1.1 400");
  EXPECT_EQ(handler.handled, 0);
}

TEST_F(EventLoopTest, SurvivesGarbage) {
  const std::string long_text(200000, 'a');
  for (const std::string& garbage :
       {std::string("\x16\x03\x01 nonsense\r\n\r\n"), std::string(1000, '\0') + "\r\n\r\n",
        "GET " + long_text + " HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n" + long_text + "\r\n\r\n",
        std::string("GET / HTTP/9.9\r\n\r\n"), std::string("GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n")}) {
    int fd = connect_raw(garbage);
    EXPECT_EQ(exchange(base(), "GET", "/").status, 200);
    ::close(fd);
  }
  EXPECT_EQ(handler.handled, 6);
}

TEST_F(EventLoopTest, HidesWhatAHandlerThrew) {
  for (const char* path : {"/throw", "/throw-early"}) {
    HttpResponse answer = exchange(base(), "GET", path);
    EXPECT_EQ(answer.status, 500);
    EXPECT_EQ(answer.body->text(1000).find("secret"), std::string::npos);
  }
}

TEST_F(EventLoopTest, SendsFromWithinADone) {
  int answers = 0;
  HttpClient::Done again = [&](const HttpResponse& response) {
    EXPECT_EQ(response.status, 200);
    if (++answers < 3) loop.send(base(), {"GET", "/", "", {}, nullptr, ""}, 5000, answer_limit, again);
    loop.run();  // as a long apply does
  };
  loop.send(base(), {"GET", "/", "", {}, nullptr, ""}, 5000, answer_limit, again);
  run_until([&] { return answers == 3; });
}

TEST_F(EventLoopTest, KeepsItsAddressWhenTheNewOneIsTaken) {
  EchoHandler other_handler;
  EventLoop other(other_handler);
  std::uint16_t taken = listen_somewhere(other);
  EXPECT_THROW(loop.listen({"127.0.0.1", taken}), Error);
  EXPECT_EQ(loop.listening(), "127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(exchange(base(), "GET", "/").status, 200);
  loop.listen({});
  EXPECT_EQ(loop.listening(), "");
  EXPECT_EQ(exchange(base(), "GET", "/").status, 0);
}

TEST_F(EventLoopTest, MovesToAnotherAddressOfTheSamePort) {
  std::string same_port = ":" + std::to_string(port);
  loop.listen({"*", port});
  EXPECT_EQ(loop.listening(), "*" + same_port);
  EXPECT_EQ(exchange(base(), "GET", "/").status, 200);
  EXPECT_THROW(loop.listen({"192.0.2.1", port}), Error);  // not an address of this machine
  EXPECT_EQ(loop.listening(), "*" + same_port);
  EXPECT_EQ(exchange(base(), "GET", "/").status, 200);
}

TEST_F(EventLoopTest, EndsWithRequestsUnderWay) {
  auto other = std::make_unique<EventLoop>(handler);
  other->send(base(), {"GET", "/", "", {}, nullptr, ""}, 5000, answer_limit, [](const HttpResponse&) { FAIL(); });
  other.reset();
  loop.run();
}

TEST(ListenAddressTest, IsParsed) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:8080").port, 8080);
  EXPECT_EQ(parse_listen_address("[::1]:80").host, "::1");
  EXPECT_EQ(parse_listen_address("").host, "");
  for (const char* bad : {"8080", ":8080", "host", "host:", "host:x", "host:99999", "::1:80", "host:80 "})
    EXPECT_THROW(parse_listen_address(bad), Error) << bad;
}

TEST(ListenAddressTest, KnowsLoopback) {
  for (const char* own : {"127.0.0.1", "127.3.2.1", "::1", "localhost", "::ffff:127.0.0.1"})
    EXPECT_TRUE(is_loopback({own, 1})) << own;
  for (const char* open : {"0.0.0.0", "*", "::", "192.168.0.1", "example.com", "127.0.0.1.example.com"})
    EXPECT_FALSE(is_loopback({open, 1})) << open;
}

}  // namespace
}  // namespace rowmesh
