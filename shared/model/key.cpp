#include "shared/model/key.hpp"

#include <bit>

#include "shared/model/error.hpp"

namespace rowmesh {
namespace {

enum Tag : char { integer_tag = 1, real_tag, boolean_tag, text_tag, bytes_tag };
constexpr std::uint64_t sign_bit = 1ULL << 63;

void put_big_endian(Key& key, std::uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift));
}

std::uint64_t take_big_endian(KeyView& key, std::size_t bytes) {
  if (key.size() < bytes) throw Error(ErrorKind::corrupt, "bad_key", "a stored key ends too early");
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < bytes; i++) number = number << 8 | static_cast<unsigned char>(key[i]);
  key.remove_prefix(bytes);
  return number;
}

}  // namespace

Key encode_key(RowView columns) {
  Key key;
  for (const Value& value : columns) {
    switch (value.kind) {
      case ValueKind::integer:
        key.push_back(integer_tag);
        put_big_endian(key, static_cast<std::uint64_t>(value.integer) ^ sign_bit, 8);
        break;
      case ValueKind::boolean:
        key.push_back(boolean_tag);
        key.push_back(value.integer != 0);
        break;
      case ValueKind::real:
        key.push_back(real_tag);
        put_big_endian(key, std::bit_cast<std::uint64_t>(value.real), 8);
        break;
      case ValueKind::text:
      case ValueKind::bytes:
        key.push_back(value.kind == ValueKind::text ? text_tag : bytes_tag);
        put_big_endian(key, value.text.size(), 4);
        key.append(value.text);
        break;
      case ValueKind::null:
      case ValueKind::omitted: throw Error(ErrorKind::bug, "null_key", "a key column is null");
    }
  }
  return key;
}

Row decode_key(KeyView key) {
  Row columns;
  while (!key.empty()) {
    char tag = key.front();
    key.remove_prefix(1);
    switch (tag) {
      case integer_tag:
        columns.push_back(Value::of_integer(static_cast<std::int64_t>(take_big_endian(key, 8) ^ sign_bit)));
        break;
      case boolean_tag: columns.push_back(Value::of_boolean(take_big_endian(key, 1) != 0)); break;
      case real_tag: columns.push_back(Value::of_real(std::bit_cast<double>(take_big_endian(key, 8)))); break;
      case text_tag:
      case bytes_tag: {
        std::size_t size = take_big_endian(key, 4);
        if (key.size() < size) throw Error(ErrorKind::corrupt, "bad_key", "a stored key ends too early");
        columns.push_back(tag == text_tag ? Value::of_text(key.substr(0, size)) : Value::of_bytes(key.substr(0, size)));
        key.remove_prefix(size);
        break;
      }
      default: throw Error(ErrorKind::corrupt, "bad_key", "a stored key has an unknown tag");
    }
  }
  return columns;
}

std::string key_to_text(KeyView key) {
  std::string text;
  for (const Value& value : decode_key(key)) {
    if (!text.empty()) text += ", ";
    switch (value.kind) {
      case ValueKind::integer: text += std::to_string(value.integer); break;
      case ValueKind::boolean: text += value.integer ? "true" : "false"; break;
      case ValueKind::real: text += std::to_string(value.real); break;
      case ValueKind::text: text += "'" + std::string(value.text) + "'"; break;
      default: text += "bytes of length " + std::to_string(value.text.size()); break;
    }
  }
  return text;
}

}  // namespace rowmesh
