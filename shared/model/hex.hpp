// Bytes as hex digits, for keys and small documents in the query of a request.
#pragma once
#include <string>
#include <string_view>

namespace rowmesh {

std::string bytes_to_hex(std::string_view bytes);
// Two digits a byte; what is no digit counts as 0, an odd one at the end is left out.
std::string bytes_from_hex(std::string_view hex);

}  // namespace rowmesh
