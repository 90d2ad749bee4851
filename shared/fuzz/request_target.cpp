// Parts divided by 0xff: flags, URI, headers (name: value), body. Several requests in one input go to one node, so that
// states between them are met too. Flags: 1 POST, 2 signed by a server of ours, 4 by one that was never met, 8 asked
// again (later), 16 a tick in between, 32 a right document of a server goes first, 64 the clock moves.
#include <memory>
#include <string>

#include "shared/codec/document.hpp"
#include "shared/fuzz/target.hpp"
#include "shared/http/auth.hpp"
#include "shared/net/request_gate.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::fuzz {
namespace {

constexpr const char* secret = "the secret of both";

// Answers nothing: what the node asks stays open.
class Silence : public HttpClient {
 public:
  void send(const std::string&, HttpRequest, std::uint64_t, std::uint64_t, Done) override {}
};

HttpRequest of(Input& in, std::uint8_t flags, bool& fits) {
  HttpRequest request;
  RequestGate gate(flags & 1 ? "POST" : "GET", "HTTP/1.1");
  std::string uri(in.part());
  for (int i = 0; i < 4; i++) {
    std::string_view line = in.part();
    std::size_t colon = line.find(':');
    if (colon != line.npos && line.find_first_of(std::string_view("\r\n\0", 3)) == line.npos)
      gate.header(line.substr(0, colon), line.substr(colon + 1));
  }
  std::string_view body = in.part();
  fits = gate.judge(uri, request).status == 0;
  if (!body.empty()) request.body = std::make_shared<Body>(std::string(body));
  return request;
}

}  // namespace

void request(std::string_view input) {
  testing::NodePair pair(3);
  pair.add_server(0, 1, secret);
  pair.add_server(0, 2, "another secret", true);
  Silence silence;
  Node node({*pair.stores[0], pair.wall, pair.random, silence, [](char, const std::string&) {}, [] {}});
  node.start();
  Input in(input);
  std::uint64_t answered = 0;
  for (int turn = 0; turn < 16 && !in.done(); turn++) {
    std::uint8_t flags = in.byte();
    if (flags & 16) node.tick();
    if (flags & 64) pair.now_ms += in.number(3);
    bool fits = false;
    HttpRequest request = of(in, flags, fits);
    if (!fits) continue;
    // Nobody can sign a request with a line break in it; the signature of another one is no good either.
    std::string path = request.path, query = request.query;
    auto breaks = [](const std::string& text) { return text.find_first_of("\r\n") != std::string::npos; };
    bool broken = breaks(path) || breaks(query);
    if (broken) request.path = "/rowmesh/v1/hello", request.query.clear();
    if (flags & 6)
      sign_request(request, pair.uuid(flags & 2 ? 1 : 2), flags & 2 ? secret : "another secret", pair.now_ms,
                   pair.random.next());
    if (broken) {
      request.path = path, request.query = query;
      flags &= static_cast<std::uint8_t>(~6);
    }
    std::uint64_t limit = 0;
    HttpResponse response = node.check(request, limit);
    if (response.status == 0 && request.body && request.body->size() > limit) continue;
    if (response.status == 0) response = node.handle(request);
    if (response.status == 0 && (flags & 8)) response = node.later(request);
    promise(response.status == 0 || (response.status >= 200 && response.status < 600), "an answer has a status");
    if (!(flags & 6) && response.status == 200)
      promise(request.path == "/rowmesh/v1/ping" || request.path == "/health", "only ping is answered unsigned");
    if (response.status >= 400) promise(response.body != nullptr, "a refusal says why");
    answered++;
  }
  node.tick();
  promise(pair.stores[0]->rows("items").empty() || answered > 0, "rows come by requests only");
}

}  // namespace rowmesh::fuzz
