// Outgoing requests by libcurl's multi interface on an epoll descriptor of its own. Callbacks given to libcurl only record; `done`s are
// called from run().
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "shared/http/message.hpp"

namespace rowmesh {

class CurlClient {
 public:
  CurlClient();
  ~CurlClient();
  void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit, HttpClient::Done done);
  int descriptor() const;
  std::int64_t timeout_ms() const;
  void run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rowmesh
