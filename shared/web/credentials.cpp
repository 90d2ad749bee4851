#include "shared/web/credentials.hpp"

#include <openssl/evp.h>

#include <charconv>

#include "shared/http/auth.hpp"
#include "shared/model/error.hpp"
#include "shared/model/hex.hpp"

namespace rowmesh {
namespace {

// About 40 ms of a core: an attempt must cost something, and the worker does nothing else meanwhile.
constexpr int rounds_now = 100000;
constexpr int most_rounds = 1000000;
constexpr std::size_t hash_bytes = 32;
constexpr std::size_t least_letters = 8, most_letters = 1000;

std::string derive(std::string_view password, std::string_view salt, int rounds) {
  unsigned char out[hash_bytes];
  const auto* salt_bytes = reinterpret_cast<const unsigned char*>(salt.data());
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), salt_bytes, static_cast<int>(salt.size()),
                        rounds, EVP_sha256(), sizeof out, out) != 1)
    throw Error(ErrorKind::transient, "crypto", "OpenSSL could not compute the hash of a password");
  return bytes_to_hex(std::string_view(reinterpret_cast<const char*>(out), sizeof out));
}

}  // namespace

std::string hash_password(std::string_view password, std::string_view salt) {
  return "pbkdf2$" + std::to_string(rounds_now) + "$" + bytes_to_hex(salt) + "$" + derive(password, salt, rounds_now);
}

bool password_fits(std::string_view password, const std::string& hash) {
  std::size_t rounds_at = hash.find('$'), salt_at = hash.find('$', rounds_at + 1),
              value_at = hash.find('$', salt_at + 1);
  if (rounds_at == hash.npos || salt_at == hash.npos || value_at == hash.npos || !hash.starts_with("pbkdf2$"))
    return false;
  int rounds = 0;
  std::from_chars(hash.data() + rounds_at + 1, hash.data() + salt_at, rounds);
  if (rounds < 1 || rounds > most_rounds || password.size() > most_letters) return false;
  std::string salt = bytes_from_hex(hash.substr(salt_at + 1, value_at - salt_at - 1));
  return equal_constant_time(derive(password, salt, rounds), hash.substr(value_at + 1));
}

std::string password_trouble(std::string_view password) {
  if (password.size() < least_letters)
    return "the password must have at least " + std::to_string(least_letters) + " letters";
  if (password.size() > most_letters) return "the password is longer than " + std::to_string(most_letters) + " letters";
  return "";
}

std::string hash_token(std::string_view token) { return "sha256$" + sha256_hex(token); }

bool token_fits(std::string_view token, const std::string& hash) {
  return equal_constant_time(hash_token(token), hash);
}

std::string random_text(Random& random, int words) {
  std::string text;
  while (words-- > 0) text += to_hex(random.next());
  return text;
}

}  // namespace rowmesh
