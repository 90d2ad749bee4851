// One request on its way through the door of a shared port to a database behind it. The head goes first; the body
// follows when that database has seen the head and wants it, a bounded piece at a time.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "shared/http/message.hpp"
#include "shared/net/curl_client.hpp"

namespace rowmesh {

class Relay {
 public:
  struct Size {
    bool body = false;
    std::uint64_t bytes = 0;  // 0 beside `body`: not known before the end
  };
  Relay(CurlClient& client, const std::string& url, HttpRequest head, Size size);
  ~Relay();  // whoever asked went away
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  bool wants_body() const;
  bool full() const;  // what was given is not yet taken: wait
  void give(std::string_view bytes);
  void end_body();
  // Instead of what would come: nothing more of it goes there.
  void answer_with(HttpResponse response);
  const std::optional<HttpResponse>& answer() const;

 private:
  struct Outcome {
    std::optional<HttpResponse> answer;
  };
  CurlClient& client_;
  std::shared_ptr<ComingBody> body_;
  std::shared_ptr<Outcome> outcome_ = std::make_shared<Outcome>();
  std::uint64_t number_ = 0;
};

}  // namespace rowmesh
