#include "shared/codec/json_text.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "shared/codec/base64.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t piece_bytes = 48 << 10;  // a multiple of 3, so that base64 can be written piece by piece

template <typename Number>
void append_digits(std::string& out, Number number) {
  char digits[24];
  auto [end, failure] = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, end);
}

// Always with '.' or 'e' in it: that is how a reader tells 1.0 from 1.
void append_real(std::string& out, double number) {
  if (std::isnan(number)) {
    out += R"({"f":"NaN"})";
  } else if (std::isinf(number)) {
    out += number > 0 ? R"({"f":"Infinity"})" : R"({"f":"-Infinity"})";
  } else {
    char digits[40];
    auto [end, failure] = std::to_chars(digits, digits + sizeof digits, number);
    std::string_view text(digits, end);
    out += text;
    if (text.find_first_of(".e") == text.npos) out += ".0";
  }
}

constexpr bool must_escape(unsigned char byte) { return byte < 0x20 || byte == '"' || byte == '\\'; }

constexpr std::array<bool, 256> make_escapes() {
  std::array<bool, 256> table{};
  for (std::size_t byte = 0; byte < 256; byte++) table[byte] = must_escape(static_cast<unsigned char>(byte));
  return table;
}
constexpr std::array<bool, 256> escapes = make_escapes();

// How many bytes from the start need no escape, eight at a time: in most texts all of them.
std::size_t plain_prefix(std::string_view text) {
  constexpr std::uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    auto zero_byte = [](std::uint64_t bytes) { return (bytes - ones) & ~bytes & highs; };
    std::uint64_t control = (word - ones * 0x20) & ~word & highs;
    std::uint64_t found = control | zero_byte(word ^ ones * '"') | zero_byte(word ^ ones * '\\');
    if (found) return at + static_cast<std::size_t>(std::countr_zero(found)) / 8;
  }
  while (at < text.size() && !escapes[static_cast<unsigned char>(text[at])]) at++;
  return at;
}

void append_escape(std::string& out, char byte) {
  switch (byte) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    default:
      out += "\\u00";
      out += "0123456789abcdef"[byte >> 4 & 15];
      out += "0123456789abcdef"[byte & 15];
  }
}

void append_escaped(std::string& out, std::string_view text) {
  for (;;) {
    std::size_t plain = plain_prefix(text);
    out.append(text.data(), plain);
    text.remove_prefix(plain);
    if (text.empty()) return;
    append_escape(out, text.front());
    text.remove_prefix(1);
  }
}

void append_base64(std::string& out, std::string_view bytes) {
  std::size_t before = out.size();
  out.resize(before + base64_size(bytes.size()));
  encode_base64(out.data() + before, bytes);
}

template <typename Append>
void in_pieces(std::string& out, std::string_view text, const Drain* drain, Append append) {
  while (text.size() > piece_bytes) {
    append(out, text.substr(0, piece_bytes));
    text.remove_prefix(piece_bytes);
    if (drain) (*drain)(out);
  }
  append(out, text);
}

void append_object(std::string& out, char name, std::string_view bytes, const Drain* drain) {
  out += "{\"";
  out += name;
  out += "\":\"";
  in_pieces(out, bytes, drain, append_base64);
  out += "\"}";
}

bool is_json_text(std::string_view text) {
  if (text.size() <= 16) {  // the call costs more than looking
    bool ascii = std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<signed char>(byte) > 0; });
    if (ascii) return true;
  }
  return std::memchr(text.data(), 0, text.size()) == nullptr && simdjson::validate_utf8(text.data(), text.size());
}

void append_text(std::string& out, std::string_view text, const Drain* drain) {
  if (!text.empty() && !is_json_text(text)) return append_object(out, 't', text, drain);
  out += '"';
  in_pieces(out, text, drain, append_escaped);
  out += '"';
}

}  // namespace

void append_number(std::string& out, std::uint64_t number) {
  if (number < 10) {
    out += static_cast<char>('0' + number);
  } else {
    append_digits(out, number);
  }
}

void append_integer(std::string& out, std::int64_t number) { append_digits(out, number); }

void append_json_value(std::string& out, const Value& value, const Drain* drain) {
  switch (value.kind) {
    case ValueKind::null: out += "null"; break;
    case ValueKind::integer: append_integer(out, value.integer); break;
    case ValueKind::real: append_real(out, value.real); break;
    case ValueKind::boolean: out += value.integer ? "true" : "false"; break;
    case ValueKind::text: append_text(out, value.text, drain); break;
    case ValueKind::bytes: append_object(out, 'b', value.text, drain); break;
    case ValueKind::omitted: out += R"({"x":1})"; break;
  }
}

std::size_t json_text_size(const Value& value) {
  constexpr std::size_t object_bytes = sizeof(R"({"b":""})") - 1;
  if (value.kind == ValueKind::bytes || !is_json_text(value.text)) return object_bytes + base64_size(value.text.size());
  std::size_t size = 2 + value.text.size();
  for (unsigned char byte : value.text)
    if (escapes[byte]) size += byte == '"' || byte == '\\' || byte == '\n' || byte == '\r' || byte == '\t' ? 1 : 5;
  return size;
}

void append_json_value(std::string& out, const Value& value) { append_json_value(out, value, nullptr); }

void append_json_string(std::string& out, std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) {
    out += '"';
    append_escaped(out, text);
    out += '"';
    return;
  }
  // A name that is no text: what a person can read of it. (Values do not come this way.)
  std::string readable(text);
  for (char& byte : readable)
    if (static_cast<signed char>(byte) < 0) byte = '?';
  append_json_string(out, readable);
}

std::string row_to_json(const Table& table, RowView row, const ColumnSet* only) {
  std::string out = "{";
  for (std::size_t column = 0; column < row.size() && column < table.columns.size(); column++) {
    if (table.columns[column].dropped() || (only && !only->has(static_cast<ColumnIndex>(column)))) continue;
    if (out.size() > 1) out += ',';
    append_json_string(out, table.columns[column].name);
    out += ':';
    append_json_value(out, row[column]);
  }
  out += '}';
  return out;
}

}  // namespace rowmesh
