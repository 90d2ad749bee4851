#include "shared/http/auth.hpp"

#include <gtest/gtest.h>

#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t now_ms = 1'800'000'000'000;
const std::string secret = "a secret of two servers";

HttpRequest signed_request() {
  HttpRequest request;
  request.method = "POST";
  request.path = "/rowmesh/v1/changes";
  request.query = "a=1";
  request.body = std::make_shared<Body>("the body");
  sign_request(request, "node-1", secret, now_ms, 77);
  return request;
}

AuthResult check(const HttpRequest& request, const std::string& with = secret, std::uint64_t at_ms = now_ms) {
  ReplayGuard guard;
  return check_signature(request, with, at_ms, guard);
}

TEST(AuthTest, KnownDigests) {
  EXPECT_EQ(sha256_hex(std::string_view("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(std::string_view()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  // RFC 4231, test case 2
  EXPECT_EQ(hmac_sha256_hex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(AuthTest, ALongBodyHasTheDigestOfItsBytes) {
  std::string bytes(limits::body_memory_bytes + 12345, 'q');
  Body body;
  body.append(bytes);
  EXPECT_TRUE(body.in_memory().empty());
  EXPECT_EQ(sha256_hex(body), sha256_hex(std::string_view(bytes)));
}

TEST(AuthTest, TheRightSignatureIsTaken) {
  EXPECT_EQ(check(signed_request()), AuthResult::ok);
  EXPECT_TRUE(digest_matches(signed_request()));
}

TEST(AuthTest, AWrongSecretIsRefused) {
  EXPECT_EQ(check(signed_request(), "another"), AuthResult::bad_signature);
  EXPECT_EQ(check(signed_request(), ""), AuthResult::bad_signature);
  HttpRequest by_nobody = signed_request();
  sign_request(by_nobody, "node-1", "", now_ms, 78);
  EXPECT_EQ(check(by_nobody, ""), AuthResult::bad_signature);
}

// A request whose path holds a line break (percent-encoded) threw an error where it was to be refused.
TEST(AuthTest, ALineBreakIsRefused) {
  for (std::string HttpRequest::*part : {&HttpRequest::path, &HttpRequest::query, &HttpRequest::method}) {
    HttpRequest request = signed_request();
    request.*part += "\nx";
    EXPECT_EQ(check(request), AuthResult::bad_signature);
  }
}

TEST(AuthTest, EverythingThatIsSignedCounts) {
  for (const char* name :
       {"x-rowmesh-node", "x-rowmesh-time", "x-rowmesh-nonce", "x-rowmesh-digest", "x-rowmesh-signature"}) {
    HttpRequest request = signed_request();
    request.headers[name].back() ^= 1;
    EXPECT_EQ(check(request), AuthResult::bad_signature) << name;
    request.headers.erase(name);
    EXPECT_EQ(check(request), AuthResult::missing) << name;
  }
  HttpRequest request = signed_request();
  request.method = "GET";
  EXPECT_EQ(check(request), AuthResult::bad_signature);
  request = signed_request();
  request.path += "x";
  EXPECT_EQ(check(request), AuthResult::bad_signature);
  request = signed_request();
  request.query = "a=2";
  EXPECT_EQ(check(request), AuthResult::bad_signature);
}

TEST(AuthTest, AChangedBodyIsFound) {
  HttpRequest request = signed_request();
  request.body = std::make_shared<Body>("The body");
  EXPECT_FALSE(digest_matches(request));
  request.body = nullptr;
  EXPECT_FALSE(digest_matches(request));
  sign_request(request, "node-1", secret, now_ms, 1);
  EXPECT_TRUE(digest_matches(request));
}

TEST(AuthTest, OldAndFutureRequestsAreRefused) {
  std::uint64_t window_ms = limits::signature_window_ms;
  EXPECT_EQ(check(signed_request(), secret, now_ms + window_ms), AuthResult::ok);
  EXPECT_EQ(check(signed_request(), secret, now_ms + window_ms + 1), AuthResult::too_old);
  EXPECT_EQ(check(signed_request(), secret, now_ms - window_ms), AuthResult::ok);
  EXPECT_EQ(check(signed_request(), secret, now_ms - window_ms - 1), AuthResult::too_old);
}

TEST(AuthTest, AReplayIsRefused) {
  ReplayGuard guard;
  HttpRequest request = signed_request(), forged = request;
  forged.headers["x-rowmesh-signature"] = std::string(64, '0');
  EXPECT_EQ(check_signature(forged, secret, now_ms, guard), AuthResult::bad_signature);  // does not use the nonce up
  EXPECT_EQ(check_signature(request, secret, now_ms, guard), AuthResult::ok);
  EXPECT_EQ(check_signature(request, secret, now_ms + 1, guard), AuthResult::replayed);
  EXPECT_EQ(check_signature(request, secret, now_ms + limits::signature_window_ms, guard), AuthResult::replayed);
}

TEST(AuthTest, TheGuardForgetsOnlyWhatIsTooOldAnyway) {
  ReplayGuard guard;
  EXPECT_TRUE(guard.first_time("a", now_ms));
  EXPECT_FALSE(guard.first_time("a", now_ms + 2 * limits::signature_window_ms - 1));
  EXPECT_TRUE(guard.first_time("a", now_ms + 2 * limits::signature_window_ms));
  for (std::size_t i = 0; i < limits::nonces; i++) EXPECT_TRUE(guard.first_time(std::to_string(i), now_ms));
  EXPECT_TRUE(guard.first_time("a", now_ms));  // pushed out: the memory is bounded
}

}  // namespace
}  // namespace rowmesh
