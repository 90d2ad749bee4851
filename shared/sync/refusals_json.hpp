// Refusals as JSON: reason -> number, without those that never came.
#pragma once
#include <nlohmann/json.hpp>

#include "shared/http/refusals.hpp"

namespace rowmesh {

inline void to_json(nlohmann::json& out, const RefusalCounts& counts) {
  out = nlohmann::json::object();
  for (std::size_t i = 0; i < refusal_kinds; i++)
    if (counts.of[i] > 0) out[refusal_names[i]] = counts.of[i];
}

inline void from_json(const nlohmann::json& from, RefusalCounts& counts) {
  for (std::size_t i = 0; i < refusal_kinds; i++) counts.of[i] = from.value(refusal_names[i], std::uint64_t{0});
}

}  // namespace rowmesh
