#include "shared/net/relay.hpp"

#include <array>
#include <utility>

#include "shared/model/limits.hpp"
#include "shared/net/http_requests.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t waiting_bytes = 128 << 10;  // from here on the client waits; libmicrohttpd gives 256 KB at once
constexpr std::uint64_t silence_ms = 120000;      // more than any answer takes that is still waited for

// They are about one connection, not about the request.
constexpr std::array<const char*, 11> of_the_connection = {
    "connection", "content-length",    "date",   "expect", "keep-alive", "proxy-authenticate", "proxy-connection", "te",
    "trailer",    "transfer-encoding", "upgrade"};

void leave_out(Headers& headers) {
  for (const char* name : of_the_connection) headers.erase(name);
}

}  // namespace

Relay::Relay(CurlClient& client, const std::string& url, HttpRequest head, Size size) : client_(client) {
  leave_out(head.headers);
  if (size.body) {
    body_ = std::make_shared<ComingBody>();
    if (size.bytes > 0) body_->size = size.bytes;
  }
  number_ = client_.relay(
      url, std::move(head), body_, silence_ms, limits::body_bytes, [outcome = outcome_](HttpResponse response) {
        if (response.status == 0)
          response = plain_answer(502, "the database at this path does not answer: " + response.error, "no_answer");
        leave_out(response.headers);
        outcome->answer = std::move(response);
      });
}

Relay::~Relay() {
  if (!outcome_->answer) client_.cancel(number_);
}

bool Relay::wants_body() const { return body_ && body_->wanted; }

bool Relay::full() const { return body_ && !outcome_->answer && body_->left() >= waiting_bytes; }

void Relay::give(std::string_view bytes) {
  if (!body_ || outcome_->answer) return;
  if (body_->taken > 0) body_->bytes.erase(0, std::exchange(body_->taken, 0));
  body_->bytes += bytes;
  client_.go_on(number_);
}

void Relay::end_body() {
  if (!body_ || std::exchange(body_->complete, true)) return;
  client_.go_on(number_);
}

void Relay::answer_with(HttpResponse response) {
  if (outcome_->answer) return;
  client_.cancel(number_);
  outcome_->answer = std::move(response);
}

const std::optional<HttpResponse>& Relay::answer() const { return outcome_->answer; }

}  // namespace rowmesh
