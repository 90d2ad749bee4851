// What a log record holds: which rows a transaction changed, in runs of equal table, operation and columns.
//
//   record  = format byte (1), runs until its end
//   run     = table id varint · head byte (bits 0-1 LogOp, bit 2 integer keys, bit 3 all columns) · [columns] · count
//   uint16 LE · keys columns = only for updates without bit 3: size varint, that many bytes; bit (attribute number -
//   1), lowest first keys    = integer: zigzag varint of the difference to the run's previous key, beginning at 0
//             other: size varint, the bytes of encode_key. A truncate has no keys and count 0
//
// The record lies in column `data`, or in `big` if one key is so long that it does not fit into a page (`data` is null
// then).
#pragma once
#include <cstdint>
#include <string_view>

#include "shared/sync/store.hpp"

namespace rowmesh {

constexpr std::size_t log_record_bytes = 8000;  // a heap page has room for one such tuple
constexpr std::uint16_t log_run_keys = 65535;

// The columns of an update by attribute number, as captured.
struct AttributeMask {
  bool all = false;
  std::string_view bytes;
  bool has(int attribute) const {  // 1 is the first
    auto bit = static_cast<std::size_t>(attribute - 1);
    return all || (bit / 8 < bytes.size() && (static_cast<unsigned char>(bytes[bit / 8]) >> (bit % 8) & 1));
  }
};

struct RecordedChange {
  TableId table = 0;
  LogOp op = LogOp::insert;
  KeyView key;  // empty for truncate; valid during the call
  AttributeMask columns;
};

using RecordVisitor = std::function<void(const RecordedChange&)>;
// Throws Error(corrupt) on bytes that no writer made.
void decode_log_record(std::string_view record, const RecordVisitor& visit);

// ---- writing. Plain memory that the caller owns; nothing here allocates, raises or throws.

struct RunWriter {
  unsigned char* bytes;
  std::size_t size, capacity;
  // The open run.
  TableId table;
  std::uint8_t head;
  const unsigned char* mask;  // in `bytes`, or of the open run's columns
  std::uint16_t mask_size;
  std::uint16_t count;
  std::size_t count_at;
  std::int64_t last_key;
};

void start_record(RunWriter& writer, unsigned char* bytes, std::size_t capacity);
// The buffer was moved to a larger one.
void move_record(RunWriter& writer, unsigned char* bytes, std::size_t capacity);
// False: no room, nothing written. mask: nullptr for all columns, and for anything but updates.
bool put_integer_key(RunWriter& writer, TableId table, LogOp op, std::int64_t key, const unsigned char* mask,
                     std::uint16_t mask_size);
bool put_key(RunWriter& writer, TableId table, LogOp op, const char* key, std::size_t key_size,
             const unsigned char* mask, std::uint16_t mask_size);
inline bool record_empty(const RunWriter& writer) { return writer.size <= 1; }

// In the log's column hlc stands the transaction's version in its last record, and in the others their number.
inline bool is_record_number(std::uint64_t hlc) { return hlc < std::uint64_t{1} << 40; }

}  // namespace rowmesh
