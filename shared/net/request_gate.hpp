// What a request must look like before anything else looks at it. libmicrohttpd 0.9.75 takes two Content-Length
// headers, and Content-Length beside Transfer-Encoding: ways to smuggle a request past a proxy.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/http/message.hpp"
#include "shared/http/refusals.hpp"

namespace rowmesh {

struct RequestFault {
  int status = 0;  // 0: none
  std::string text;
  RefusedFor why = RefusedFor::framing;
};

class RequestGate {
 public:
  RequestGate(std::string_view method, std::string_view version, std::uint64_t header_bytes = 32 << 10)
      : method_(method), version_(version), most_header_bytes_(header_bytes) {}
  void header(std::string_view name, std::string_view value);
  // Fills in method, path, query and headers. HEAD becomes GET: the answer's body is left out on the way.
  RequestFault judge(std::string_view uri, HttpRequest& request);
  bool has_body() const { return content_length_ > 0 || chunked_; }
  std::uint64_t content_length() const { return content_length_; }  // 0: none, or not known

 private:
  RequestFault judge_framing();

  std::string method_, version_;
  Headers headers_;
  std::uint64_t most_header_bytes_;
  std::size_t bytes_ = 0;
  std::string repeated_;  // a header that must not come twice and did
  std::uint64_t content_length_ = 0;
  bool chunked_ = false;
};

}  // namespace rowmesh
