// Base64 with padding (RFC 4648, section 4), into and out of buffers that the caller has made big enough.
#pragma once
#include <cstddef>
#include <string_view>

namespace rowmesh {

constexpr std::size_t base64_size(std::size_t bytes) { return (bytes + 2) / 3 * 4; }
// Writes base64_size(bytes.size()) characters; returns the end.
char* encode_base64(char* out, std::string_view bytes);
// Writes at most text.size() / 4 * 3 bytes; returns the end, or null if `text` is not what encode_base64 writes.
char* decode_base64(char* out, std::string_view text);

}  // namespace rowmesh
