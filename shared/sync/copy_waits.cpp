#include "shared/sync/copy_waits.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "shared/model/hex.hpp"
#include "shared/model/limits.hpp"
#include "shared/model/version.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;
constexpr int rank_shift = 62;

// Whom `from` waits for, over others too, with `from`. Empty: of one of them it is not known that it waits.
std::set<std::uint64_t> reached(const CopyWaits& waits, std::uint64_t from) {
  std::set<std::uint64_t> found = {from}, next = {from};
  while (!next.empty()) {
    auto said = waits.all.find(next.extract(next.begin()).value());
    if (said == waits.all.end() || !said->second.all) return {};
    for (std::uint64_t one : said->second.whose)
      if (found.insert(one).second) next.insert(one);
  }
  return found;
}

}  // namespace

std::uint64_t copy_number(GivesInRing when, std::uint64_t random) {
  return static_cast<std::uint64_t>(when) << rank_shift | (random << 2 >> 2) | 1;  // never 0
}

GivesInRing gives_in_ring(std::uint64_t number) { return static_cast<GivesInRing>(number >> rank_shift); }

void CopyWaits::take(const CopyWaits& from) {
  for (auto& [number, said] : from.all) {
    auto [ours, added] = all.try_emplace(number, said);
    if (!added && ours->second.count < said.count) ours->second = said;
  }
}

bool CopyWaits::gives_to(std::uint64_t asker) const {
  std::set<std::uint64_t> ring = reached(*this, self);
  return ring.contains(asker) && *ring.begin() == self && gives_in_ring(self) < GivesInRing::never &&
         std::all_of(ring.begin(), ring.end(), [&](std::uint64_t one) { return reached(*this, one).contains(self); });
}

void CopyWaits::keep_to_own() {
  std::set<std::uint64_t> kept = {self}, next = {self};
  while (!next.empty()) {
    auto said = all.find(next.extract(next.begin()).value());
    if (said == all.end()) continue;
    for (std::uint64_t one : said->second.whose)
      if (kept.insert(one).second) next.insert(one);
  }
  std::erase_if(all, [&](auto& one) { return !kept.contains(one.first); });
  std::size_t numbers = 0;
  for (auto& [number, said] : all) numbers += 1 + said.whose.size();
  if (numbers > limits::copy_waits) all.clear();
}

json copy_waits_to_json(const CopyWaits& waits) {
  json all = json::array();
  for (auto& [number, said] : waits.all) {
    json one = {to_hex(number), said.count, said.all};
    for (std::uint64_t other : said.whose) one.push_back(to_hex(other));
    all.push_back(std::move(one));
  }
  return {{"as", to_hex(waits.self)}, {"all", std::move(all)}};
}

CopyWaits copy_waits_of(const json& from) {
  CopyWaits waits;
  waits.self = from_hex(from.at("as").get<std::string>());
  std::size_t numbers = 0;
  for (auto& one : from.at("all")) {
    if ((numbers += one.size()) > 2 * limits::copy_waits) return {};
    CopyWaits::Said& said = waits.all[from_hex(one.at(0).get<std::string>())];
    said.count = one.at(1).get<std::uint64_t>();
    said.all = one.at(2).get<bool>();
    for (std::size_t i = 3; i < one.size(); i++) said.whose.insert(from_hex(one[i].get<std::string>()));
  }
  return waits;
}

}  // namespace rowmesh
