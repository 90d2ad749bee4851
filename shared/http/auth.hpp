// Signed requests between servers: HMAC-SHA-256 over method, path, query, node, time, nonce and body digest, with the
// secret that both servers were given. Pure: time and chance come in.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "shared/http/message.hpp"

namespace rowmesh {

std::string sha256_hex(std::string_view bytes);
std::string sha256_hex(const Body& body);
std::string hmac_sha256_hex(std::string_view secret, std::string_view text);
bool equal_constant_time(std::string_view left, std::string_view right);

// Sets x-rowmesh-node, -time (ms), -nonce, -digest and -signature.
void sign_request(HttpRequest& request, const std::string& node, const std::string& secret, std::uint64_t now_ms,
                  std::uint64_t nonce);

enum class AuthResult { ok, missing, bad_signature, too_old, replayed };
const char* to_string(AuthResult result);

// By its signer's clock. 0: it does not say.
std::uint64_t signed_at_ms(const HttpRequest& head);

// Remembers nonces for the signature window, at most limits::nonces of them.
class ReplayGuard {
 public:
  bool first_time(const std::string& nonce, std::uint64_t now_ms);
  std::size_t size() const { return seen_.size(); }

 private:
  std::unordered_map<std::string, std::uint64_t> seen_;
  std::deque<std::pair<std::uint64_t, std::string>> order_;
};

// Checks all but the body's digest: that is checked by digest_matches once the body is there. Does not touch the guard
// unless the signature is right.
AuthResult check_signature(const HttpRequest& head, const std::string& secret, std::uint64_t now_ms,
                           ReplayGuard& guard);
// Only whether the signature fits; looks at no clock and no guard.
bool signed_with(const HttpRequest& head, const std::string& secret);
bool digest_matches(const HttpRequest& request);

}  // namespace rowmesh
