// HTTP requests and answers as the core sees them. No library types: net/ and the simulator carry them.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "shared/http/body.hpp"

namespace rowmesh {

// Names in lower case.
using Headers = std::map<std::string, std::string>;

struct HttpRequest {
  std::string method;  // "GET", "POST"
  std::string path;    // begins with '/', without query
  std::string query;   // without '?'
  Headers headers;
  std::shared_ptr<Body> body;          // null: none
  std::string peer_address;            // incoming: numeric; outgoing: empty
  std::uint64_t bytes_per_second = 0;  // outgoing: body and answer no faster; 0: as fast as can be
  bool secure = false;                 // incoming: over TLS
};

struct HttpResponse {
  int status = 0;  // 0: no answer; `error` says why
  Headers headers;
  std::shared_ptr<Body> body;
  std::string error;        // a sentence for people, without the secret
  bool tls_failed = false;  // the other side was reached, but TLS with it could not be set up
};

// Outgoing requests. Implemented by net/ (libcurl) and by the simulator's network.
class HttpClient {
 public:
  using Done = std::function<void(HttpResponse)>;
  virtual ~HttpClient() = default;
  // `url_base` as in ServerConfig::url. `done` is called once, later, from the event loop, never from within send.
  // Total time limit in ms; body limit of the answer in bytes.
  virtual void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms,
                    std::uint64_t answer_limit, Done done) = 0;
};

// Incoming requests. Implemented by the node, called by net/ and by the simulator.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Before the body is read: headers only. A status of 0 means go on; otherwise this is the answer. `body_limit`: in
  // bytes.
  virtual HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) = 0;
  // A status of 0: not yet; the request is kept and later() asked again, at each turn of the event loop.
  virtual HttpResponse handle(const HttpRequest& request) = 0;
  virtual HttpResponse later(const HttpRequest& request) = 0;
};

}  // namespace rowmesh
