// Values as JSON text, appended to a buffer that the caller reuses: the fast half of the document writer.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "shared/codec/document.hpp"

namespace rowmesh {

// Called between the pieces of a long text, so that a row with a value of a gigabyte does not need a buffer of several.
using Drain = std::function<void(std::string& out)>;

void append_number(std::string& out, std::uint64_t number);
void append_integer(std::string& out, std::int64_t number);
void append_json_value(std::string& out, const Value& value, const Drain* drain);
// How many bytes append_json_value writes for a text or bytes.
std::size_t json_text_size(const Value& value);

}  // namespace rowmesh
