#include "pg_ext/log_record.hpp"

#include <cstring>

namespace rowmesh {
namespace {

constexpr unsigned char format = 1;
constexpr std::uint8_t integer_bit = 4, all_bit = 8;
constexpr char integer_tag = 1;  // key.cpp
constexpr std::uint64_t sign_bit = 1ULL << 63;
constexpr std::size_t varint_most = 10;

std::uint64_t zigzag(std::uint64_t number) { return number << 1 ^ (0 - (number >> 63)); }
std::uint64_t unzigzag(std::uint64_t number) { return number >> 1 ^ (0 - (number & 1)); }

unsigned char* put_varint(unsigned char* at, std::uint64_t number) {
  while (number >= 128) {
    *at++ = static_cast<unsigned char>(number | 128);
    number >>= 7;
  }
  *at++ = static_cast<unsigned char>(number);
  return at;
}

void count_key(RunWriter& writer) {
  writer.count++;
  writer.bytes[writer.count_at] = static_cast<unsigned char>(writer.count);
  writer.bytes[writer.count_at + 1] = static_cast<unsigned char>(writer.count >> 8);
}

// Goes on with the open run, or begins one. False: no room for a key of `key_bytes` behind it.
bool open_run(RunWriter& writer, TableId table, std::uint8_t head, const unsigned char* mask, std::uint16_t mask_size,
              std::size_t key_bytes) {
  bool same = writer.count_at != 0 && writer.table == table && writer.head == head && writer.mask_size == mask_size &&
              writer.count < log_run_keys && (mask_size == 0 || std::memcmp(writer.mask, mask, mask_size) == 0);
  if (same) return writer.size + key_bytes <= writer.capacity;
  if (writer.size + 2 * varint_most + 3 + mask_size + key_bytes > writer.capacity) return false;
  unsigned char* at = put_varint(writer.bytes + writer.size, table);
  *at++ = head;
  if ((head & 3) == static_cast<std::uint8_t>(LogOp::update) && !(head & all_bit)) {
    at = put_varint(at, mask_size);
    std::memcpy(at, mask, mask_size);
    writer.mask = at;
    at += mask_size;
  }
  writer.table = table;
  writer.head = head;
  writer.mask_size = mask_size;
  writer.count = 0;
  writer.last_key = 0;
  writer.count_at = static_cast<std::size_t>(at - writer.bytes);
  at[0] = at[1] = 0;
  writer.size = writer.count_at + 2;
  return true;
}

std::uint8_t head_of(LogOp op, bool integer, const unsigned char* mask) {
  auto head = static_cast<std::uint8_t>(op);
  if (integer) head |= integer_bit;
  if (op == LogOp::update && !mask) head |= all_bit;
  return head;
}

// ---- reading

[[noreturn]] void corrupt() {
  throw Error(ErrorKind::corrupt, "bad_log_record",
              "a log record of rowmesh does not decode: was it written by a newer version?");
}

std::string_view take(std::string_view& from, std::uint64_t size) {
  if (size > from.size()) corrupt();
  std::string_view taken = from.substr(0, size);
  from.remove_prefix(size);
  return taken;
}

std::uint64_t take_varint(std::string_view& from) {
  std::uint64_t number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    auto byte = static_cast<unsigned char>(take(from, 1)[0]);
    number |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return number;
  }
  corrupt();
}

void decode_run(std::string_view& record, const RecordVisitor& visit) {
  RecordedChange change;
  std::uint64_t table = take_varint(record);
  if (table > UINT32_MAX) corrupt();
  change.table = static_cast<TableId>(table);
  auto head = static_cast<std::uint8_t>(take(record, 1)[0]);
  if (head > 15) corrupt();
  change.op = static_cast<LogOp>(head & 3);
  change.columns.all = (head & all_bit) != 0;
  if (change.op == LogOp::update && !change.columns.all) change.columns.bytes = take(record, take_varint(record));
  std::string_view low_high = take(record, 2);
  unsigned count =
      static_cast<unsigned char>(low_high[0]) | static_cast<unsigned>(static_cast<unsigned char>(low_high[1])) << 8;
  if (change.op == LogOp::truncate) {
    if (count != 0) corrupt();
    visit(change);
    return;
  }
  std::uint64_t number = 0;
  char integer_key[9] = {integer_tag};
  for (unsigned i = 0; i < count; i++) {
    if (head & integer_bit) {
      number += unzigzag(take_varint(record));
      for (unsigned byte = 0; byte < 8; byte++)
        integer_key[1 + byte] = static_cast<char>((number ^ sign_bit) >> (56 - 8 * byte));
      change.key = {integer_key, sizeof integer_key};
    } else {
      change.key = take(record, take_varint(record));
    }
    visit(change);
  }
}

}  // namespace

void decode_log_record(std::string_view record, const RecordVisitor& visit) {
  if (record.empty() || static_cast<unsigned char>(record[0]) != format) corrupt();
  record.remove_prefix(1);
  while (!record.empty()) decode_run(record, visit);
}

void start_record(RunWriter& writer, unsigned char* bytes, std::size_t capacity) {
  writer = {};
  writer.bytes = bytes;
  writer.capacity = capacity;
  bytes[0] = format;
  writer.size = 1;
}

void move_record(RunWriter& writer, unsigned char* bytes, std::size_t capacity) {
  if (writer.mask) writer.mask = bytes + (writer.mask - writer.bytes);
  writer.bytes = bytes;
  writer.capacity = capacity;
}

bool put_integer_key(RunWriter& writer, TableId table, LogOp op, std::int64_t key, const unsigned char* mask,
                     std::uint16_t mask_size) {
  if (!open_run(writer, table, head_of(op, true, mask), mask, mask_size, varint_most)) return false;
  std::uint64_t difference = static_cast<std::uint64_t>(key) - static_cast<std::uint64_t>(writer.last_key);
  unsigned char* end = put_varint(writer.bytes + writer.size, zigzag(difference));
  writer.size = static_cast<std::size_t>(end - writer.bytes);
  writer.last_key = key;
  count_key(writer);
  return true;
}

bool put_key(RunWriter& writer, TableId table, LogOp op, const char* key, std::size_t key_size,
             const unsigned char* mask, std::uint16_t mask_size) {
  if (op == LogOp::truncate) {
    writer.count_at = 0;  // each one is a run of its own
    return open_run(writer, table, head_of(op, false, mask), nullptr, 0, 0);
  }
  if (key_size == 9 && key[0] == integer_tag) {
    std::uint64_t number = 0;
    for (int i = 1; i < 9; i++) number = number << 8 | static_cast<unsigned char>(key[i]);
    return put_integer_key(writer, table, op, static_cast<std::int64_t>(number ^ sign_bit), mask, mask_size);
  }
  if (!open_run(writer, table, head_of(op, false, mask), mask, mask_size, varint_most + key_size)) return false;
  unsigned char* at = put_varint(writer.bytes + writer.size, key_size);
  std::memcpy(at, key, key_size);
  writer.size = static_cast<std::size_t>(at + key_size - writer.bytes);
  count_key(writer);
  return true;
}

}  // namespace rowmesh
