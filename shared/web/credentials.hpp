// The password of the dashboard and the tokens of the API, as they are stored: never the text, always something from
// which it cannot be had back.
#pragma once
#include <string>
#include <string_view>

#include "shared/model/clock.hpp"

namespace rowmesh {

// PBKDF2-HMAC-SHA-256, since people choose passwords: "pbkdf2$rounds$salt$hash". `salt`: some random bytes.
std::string hash_password(std::string_view password, std::string_view salt);
bool password_fits(std::string_view password, const std::string& hash);
// Why a password will not do, as a sentence; empty: it will.
std::string password_trouble(std::string_view password);

// Tokens are made here and are random: one SHA-256 is enough, and cheap enough for every request. "sha256$hash".
std::string hash_token(std::string_view token);
bool token_fits(std::string_view token, const std::string& hash);

// Hex digits, 16 for each word.
std::string random_text(Random& random, int words);

}  // namespace rowmesh
