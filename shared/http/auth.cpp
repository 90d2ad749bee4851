#include "shared/http/auth.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <vector>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"
#include "shared/model/version.hpp"

namespace rowmesh {
namespace {

constexpr const char* node_header = "x-rowmesh-node";
constexpr const char* time_header = "x-rowmesh-time";
constexpr const char* nonce_header = "x-rowmesh-nonce";
constexpr const char* digest_header = "x-rowmesh-digest";
constexpr const char* signature_header = "x-rowmesh-signature";

using Digest = std::array<unsigned char, 32>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

std::string hex(const Digest& digest) {
  std::string text;
  text.reserve(2 * digest.size());
  for (unsigned char byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

[[noreturn]] void fail() { throw Error(ErrorKind::transient, "crypto", "OpenSSL could not compute a SHA-256 digest"); }

const std::string* find(const Headers& headers, const char* name) {
  auto at = headers.find(name);
  return at == headers.end() || at->second.empty() ? nullptr : &at->second;
}

// One line each; nullopt: one of them holds a line break (percent-encoded in the path), so that it could pass for two.
std::optional<std::string> text_to_sign(const HttpRequest& request) {
  std::string text = "rowmesh-1";
  bool whole_lines = true;
  auto line = [&](const std::string& part) {
    whole_lines = whole_lines && part.find_first_of("\r\n") == std::string::npos;
    text += '\n';
    text += part;
  };
  line(request.method);
  line(request.path);
  line(request.query);
  for (const char* name : {node_header, time_header, nonce_header, digest_header}) {
    const std::string* value = find(request.headers, name);
    line(value ? *value : std::string());
  }
  if (!whole_lines) return std::nullopt;
  return text;
}

bool parse_number(const std::string& text, std::uint64_t& number) {
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  Digest digest;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) fail();
  return hex(digest);
}

std::string sha256_hex(const Body& body) {
  if (body.in_memory().size() == body.size()) return sha256_hex(body.in_memory());
  DigestContext context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) fail();
  std::vector<char> piece(256 << 10);
  std::uint64_t offset = 0;
  while (std::size_t got = body.read(offset, piece.data(), piece.size())) {
    if (EVP_DigestUpdate(context.get(), piece.data(), got) != 1) fail();
    offset += got;
  }
  Digest digest;
  if (EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) fail();
  return hex(digest);
}

std::string hmac_sha256_hex(std::string_view secret, std::string_view text) {
  Digest digest;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (!HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes, text.size(), digest.data(), nullptr))
    fail();
  return hex(digest);
}

bool equal_constant_time(std::string_view left, std::string_view right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

void sign_request(HttpRequest& request, const std::string& node, const std::string& secret, std::uint64_t now_ms,
                  std::uint64_t nonce) {
  request.headers[node_header] = node;
  request.headers[time_header] = std::to_string(now_ms);
  request.headers[nonce_header] = to_hex(nonce);
  request.headers[digest_header] = request.body ? sha256_hex(*request.body) : sha256_hex(std::string_view());
  std::optional<std::string> text = text_to_sign(request);
  if (!text) throw Error(ErrorKind::bug, "bad_header", "a line break in a request that is to be signed");
  request.headers[signature_header] = hmac_sha256_hex(secret, *text);
}

const char* to_string(AuthResult result) {
  switch (result) {
    case AuthResult::ok: return "ok";
    case AuthResult::missing: return "the request is not signed";
    case AuthResult::bad_signature: return "the signature is wrong: do both servers have the same secret?";
    case AuthResult::too_old: return "the request was signed too long ago or in the future: are both clocks right?";
    case AuthResult::replayed: return "the request was already received once";
  }
  return "bug";
}

bool ReplayGuard::first_time(const std::string& nonce, std::uint64_t now_ms) {
  while (!order_.empty() && (order_.front().first <= now_ms || order_.size() >= limits::nonces)) {
    seen_.erase(order_.front().second);
    order_.pop_front();
  }
  // The signer's clock may be one window ahead, so what it signs is good for up to two.
  std::uint64_t forget_at_ms = now_ms + 2 * limits::signature_window_ms;
  if (!seen_.emplace(nonce, forget_at_ms).second) return false;
  order_.emplace_back(forget_at_ms, nonce);
  return true;
}

std::uint64_t signed_at_ms(const HttpRequest& head) {
  const std::string* time = find(head.headers, time_header);
  std::uint64_t ms = 0;
  return time && parse_number(*time, ms) ? ms : 0;
}

bool signed_with(const HttpRequest& head, const std::string& secret) {
  const std::string* signature = find(head.headers, signature_header);
  if (!signature || secret.empty()) return false;
  std::optional<std::string> text = text_to_sign(head);
  return text && equal_constant_time(hmac_sha256_hex(secret, *text), *signature);
}

AuthResult check_signature(const HttpRequest& head, const std::string& secret, std::uint64_t now_ms,
                           ReplayGuard& guard) {
  const std::string* time = find(head.headers, time_header);
  const std::string* nonce = find(head.headers, nonce_header);
  if (!time || !nonce || !find(head.headers, signature_header) || !find(head.headers, node_header) ||
      !find(head.headers, digest_header))
    return AuthResult::missing;
  if (!signed_with(head, secret)) return AuthResult::bad_signature;
  std::uint64_t signed_at_ms = 0;
  if (!parse_number(*time, signed_at_ms)) return AuthResult::bad_signature;
  std::uint64_t apart_ms = signed_at_ms > now_ms ? signed_at_ms - now_ms : now_ms - signed_at_ms;
  if (apart_ms > limits::signature_window_ms) return AuthResult::too_old;
  return guard.first_time(*nonce, now_ms) ? AuthResult::ok : AuthResult::replayed;
}

bool digest_matches(const HttpRequest& request) {
  const std::string* wanted = find(request.headers, digest_header);
  if (!wanted) return false;
  return equal_constant_time(request.body ? sha256_hex(*request.body) : sha256_hex(std::string_view()), *wanted);
}

}  // namespace rowmesh
