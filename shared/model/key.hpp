// A row's key as bytes: what the window hashes, compares and sorts by.
#pragma once
#include <string>
#include <string_view>

#include "shared/model/value.hpp"

namespace rowmesh {

// Canonical within one node: two keys are the same row exactly if the bytes are equal. A run of integer keys sorts by
// number. Each store gives the values in the form its engine compares by (a `numeric` without trailing zeros, a
// timestamp in one format, ...), so rows that the engine holds for equal never get two keys.
using Key = std::string;
using KeyView = std::string_view;

// Columns in key order; none may be null or omitted (throws Error(bug)).
Key encode_key(RowView columns);
// The inverse. The texts are views into `key`. Throws Error(corrupt) on bytes that encode_key does not make.
Row decode_key(KeyView key);
// For people: "7", "'abc', 3".
std::string key_to_text(KeyView key);

}  // namespace rowmesh
