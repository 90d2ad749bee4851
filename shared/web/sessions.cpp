#include "shared/web/sessions.hpp"

#include <algorithm>

#include "shared/http/auth.hpp"
#include "shared/web/credentials.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t minute_ms = 60 * 1000, hour_ms = 60 * minute_ms;
constexpr std::uint64_t session_ms = 24 * hour_ms;
constexpr std::uint64_t unused_ms = hour_ms;  // an open page asks every second, so this is: the page was closed
constexpr std::size_t most_sessions = 100, most_addresses = 1000;
constexpr std::uint32_t free_attempts = 4;          // then 1 s, 2 s, ... a minute between two
constexpr std::size_t most_failures_a_minute = 30;  // of all addresses together

}  // namespace

bool Sessions::over(const Session& session) const {
  std::uint64_t now_ms = wall_.now_ms();
  return now_ms >= session.opened_ms + session_ms || now_ms >= session.used_ms + unused_ms;
}

std::string Sessions::open() {
  std::erase_if(sessions_, [this](const auto& one) { return over(one.second); });
  if (sessions_.size() >= most_sessions)
    sessions_.erase(std::min_element(sessions_.begin(), sessions_.end(),
                                     [](const auto& a, const auto& b) { return a.second.used_ms < b.second.used_ms; }));
  std::string id = random_text(random_, 4);
  sessions_[id] = {wall_.now_ms(), wall_.now_ms()};
  return id;
}

// A plain lookup: an id is 256 random bits, so how long a comparison takes tells nobody anything useful.
bool Sessions::known(const std::string& id) {
  auto at = sessions_.find(id);
  if (at == sessions_.end()) return false;
  if (over(at->second)) {
    sessions_.erase(at);
    return false;
  }
  at->second.used_ms = wall_.now_ms();
  return true;
}

void Sessions::close(const std::string& id) { sessions_.erase(id); }

std::string Sessions::csrf_of(const std::string& id) { return hmac_sha256_hex(id, "csrf"); }

std::uint64_t Sessions::ends_ms(const std::string& id) const {
  auto at = sessions_.find(id);
  return at == sessions_.end() ? 0 : at->second.opened_ms + session_ms;
}

std::uint64_t Attempts::wait_ms(const std::string& address) {
  std::uint64_t now_ms = wall_.now_ms();
  while (!recent_ms_.empty() && recent_ms_.front() + minute_ms <= now_ms) recent_ms_.pop_front();
  if (recent_ms_.size() >= most_failures_a_minute) return recent_ms_.front() + minute_ms - now_ms;
  auto at = by_address_.find(address);
  if (at == by_address_.end() || at->second.count <= free_attempts) return 0;
  std::uint64_t pause_ms =
      std::min<std::uint64_t>(minute_ms, 1000ull << std::min<std::uint32_t>(at->second.count - free_attempts - 1, 6));
  std::uint64_t until_ms = at->second.last_ms + pause_ms;
  return until_ms > now_ms ? until_ms - now_ms : 0;
}

void Attempts::failed(const std::string& address) {
  std::uint64_t now_ms = wall_.now_ms();
  std::erase_if(by_address_, [now_ms](const auto& one) { return one.second.last_ms + hour_ms <= now_ms; });
  if (by_address_.size() >= most_addresses && !by_address_.contains(address)) by_address_.erase(by_address_.begin());
  Failures& failures = by_address_[address];
  failures.count++;
  failures.last_ms = now_ms;
  recent_ms_.push_back(now_ms);
}

}  // namespace rowmesh
