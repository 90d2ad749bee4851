#include "shared/codec/packed.hpp"

#include <bit>
#include <cstring>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

[[noreturn]] void corrupt(const char* what) {
  throw Error(ErrorKind::corrupt, "bad_record", std::string("a stored record of rowmesh does not decode: ") + what);
}

enum LifeFlag : unsigned {
  has_birth = 1,
  has_removed = 2,
  has_columns = 4,
  has_moved = 8,
  has_side_values = 16,
  has_applied = 32,
  applied_now = 64,
  absent = 128,
  has_meant = 256,
  is_contested = 512,
  has_shown = 1024,
  has_told = 2048
};
enum VersionForm : unsigned { settled_version = 0, same_version = 1, new_version = 2 };

}  // namespace

void PackedWriter::number(std::uint64_t number) {
  for (; number >= 128; number >>= 7) bytes_.push_back(static_cast<char>(number | 128));
  bytes_.push_back(static_cast<char>(number));
}

void PackedWriter::fixed64(std::uint64_t number) {
  char bytes[8];
  std::memcpy(bytes, &number, sizeof bytes);
  bytes_.append(bytes, sizeof bytes);
}

void PackedWriter::text(std::string_view text) {
  number(text.size());
  bytes_.append(text);
}

void PackedWriter::version(Version version) {
  if (version.settled() || version == last_) {
    bytes_.push_back(version.settled() ? settled_version : same_version);
    return;
  }
  bytes_.push_back(new_version);
  fixed64(version.hlc);
  fixed64(version.origin);
  last_ = version;
}

void PackedWriter::columns(const ColumnVersions& versions) {
  version(versions.base);
  number(versions.changed.size());
  for (auto& [column, changed] : versions.changed) {
    number(column);
    version(changed);
  }
}

void PackedWriter::value(const Value& value) {
  bytes_.push_back(static_cast<char>(value.kind));
  switch (value.kind) {
    case ValueKind::null:
    case ValueKind::omitted: break;
    case ValueKind::integer:
    case ValueKind::boolean: fixed64(static_cast<std::uint64_t>(value.integer)); break;
    case ValueKind::real: fixed64(std::bit_cast<std::uint64_t>(value.real)); break;
    case ValueKind::text:
    case ValueKind::bytes: text(value.text); break;
  }
}

void PackedWriter::meant(const Meant& meant) {
  number(meant.column);
  fixed64(static_cast<std::uint64_t>(meant.number));
  version(meant.birth);
  fixed64(meant.since);
}

void PackedWriter::life(const Life& life, bool with_side) {
  unsigned flags = 0;
  if (!life.birth.settled()) flags |= has_birth;
  if (!life.removed.settled()) flags |= has_removed;
  if (!(life.columns == ColumnVersions{})) flags |= has_columns;
  if (life.moved) flags |= has_moved;
  if (with_side && life.side) flags |= has_side_values;
  if (life.applied_at != 0) flags |= life.applied_at == clock_ ? applied_now : has_applied;
  if (!life.in_table) flags |= absent;
  if (!life.meant.empty()) flags |= has_meant;
  if (life.contested) flags |= is_contested;
  if (life.shown_at > life.applied_at) flags |= has_shown;
  if (!life.told.empty()) flags |= has_told;
  number(flags);
  if (flags & has_birth) version(life.birth);
  if (flags & has_removed) version(life.removed);
  if (flags & has_columns) columns(life.columns);
  if (flags & has_moved) {
    version(life.moved->version);
    text(life.moved->to_key);
    version(life.moved->to_birth);
    columns(life.moved->seen);
  }
  if (flags & has_applied) fixed64(life.applied_at);
  if (flags & has_shown) fixed64(life.shown_at);
  if (flags & has_meant) {
    number(life.meant.size());
    for (const Meant& one : life.meant) meant(one);
  }
  if (flags & has_told) {
    number(life.told.size());
    for (const Told& told : life.told) meant(told), version(told.written);
  }
  if (flags & has_side_values) {
    const Side& side = *life.side;
    number(static_cast<unsigned>(side.kind));
    text(side.code);
    text(side.reason);
    number(side.since_ms);
    number(side.values.size());
    for (std::size_t i = 0; i < side.values.size(); i++) {
      bytes_.push_back(side.columns.has(static_cast<ColumnIndex>(i)));
      bytes_.push_back(static_cast<char>(i < side.types.size() ? side.types[i] : ColumnType::any));
      value(side.values[i]);
    }
    bytes_.push_back(side.columns.is_all());
    bytes_.push_back(!side.types.empty());
  }
}

void PackedWriter::state(const RowState& state, bool with_side) {
  number(state.lives.size());
  for (const Life& one : state.lives) life(one, with_side);
}

std::string PackedWriter::take() {
  std::string bytes = std::move(bytes_);
  bytes_.clear();
  last_ = {};
  return bytes;
}

std::uint64_t PackedReader::number() {
  std::uint64_t number = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) corrupt("it ends too early");
    auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    number |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return number;
  }
  corrupt("a number is too long");
}

std::uint64_t PackedReader::fixed64() {
  if (rest_.size() < 8) corrupt("it ends too early");
  std::uint64_t number;
  std::memcpy(&number, rest_.data(), 8);
  rest_.remove_prefix(8);
  return number;
}

std::string_view PackedReader::text() {
  std::uint64_t size = number();
  if (size > rest_.size()) corrupt("a text ends too early");
  std::string_view text = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return text;
}

Version PackedReader::version() {
  switch (number()) {
    case settled_version: return {};
    case same_version: return last_;
    case new_version: {
      Hlc hlc = fixed64();
      if (hlc == 0) corrupt("a version without a time");  // it would be written as settled, and so not be read again
      last_ = {hlc, fixed64()};
      return last_;
    }
    default: corrupt("an unknown form of version");
  }
}

ColumnVersions PackedReader::columns() {
  ColumnVersions versions;
  versions.base = version();
  for (std::uint64_t left = number(); left > 0; left--) {
    std::uint64_t column = number();
    if (column >= limits::columns) corrupt("a column number is too high");
    Version changed = version();
    versions.set(static_cast<ColumnIndex>(column), changed);
  }
  return versions;
}

Value PackedReader::value() {
  switch (static_cast<ValueKind>(number())) {
    case ValueKind::null: return Value::of_null();
    case ValueKind::omitted: return Value::of_omitted();
    case ValueKind::integer: return Value::of_integer(static_cast<std::int64_t>(fixed64()));
    case ValueKind::boolean: return Value::of_boolean(fixed64() != 0);
    case ValueKind::real: return Value::of_real(std::bit_cast<double>(fixed64()));
    case ValueKind::text: return Value::of_text(text());
    case ValueKind::bytes: return Value::of_bytes(text());
  }
  corrupt("an unknown kind of value");
}

Meant PackedReader::meant() {
  Meant meant;
  meant.column = static_cast<ColumnIndex>(number());
  meant.number = static_cast<std::int64_t>(fixed64());
  meant.birth = version();
  meant.since = fixed64();
  return meant;
}

Life PackedReader::life(bool with_side) {
  Life life;
  std::uint64_t flags = number();
  life.in_table = !(flags & absent);
  life.contested = flags & is_contested;
  if (flags & has_birth) life.birth = version();
  if (flags & has_removed) life.removed = version();
  if (flags & has_columns) life.columns = columns();
  if (flags & has_moved) {
    life.moved = std::make_unique<Move>();
    life.moved->version = version();
    life.moved->to_key = text();
    life.moved->to_birth = version();
    life.moved->seen = columns();
  }
  if (flags & has_applied) life.applied_at = fixed64();
  if (flags & applied_now) life.applied_at = clock_;
  if (flags & has_shown) life.shown_at = fixed64();
  if (flags & has_meant)
    for (std::uint64_t left = number(); left > 0; left--) life.meant.push_back(meant());
  if (flags & has_told)
    for (std::uint64_t left = number(); left > 0; left--) {
      Meant one = meant();
      life.told.push_back({one, version()});
    }
  if (flags & has_side_values) {
    if (!with_side) corrupt("values where none belong");
    life.side = std::make_unique<Side>();
    std::uint64_t kind = number();
    if (kind > static_cast<std::uint64_t>(SideKind::quarantined)) corrupt("an unknown kind of side row");
    life.side->kind = static_cast<SideKind>(kind);
    life.side->code = text();
    life.side->reason = text();
    life.side->since_ms = number();
    std::uint64_t count = number();
    if (count > limits::columns) corrupt("too many columns");
    for (std::size_t i = 0; i < count; i++) {
      if (number()) life.side->columns.add(static_cast<ColumnIndex>(i));
      std::uint64_t type = number();
      if (type > static_cast<std::uint64_t>(ColumnType::other)) corrupt("an unknown type of column");
      life.side->types.push_back(static_cast<ColumnType>(type));
      life.side->values.set(i, value());
    }
    if (number()) life.side->columns = ColumnSet::all();
    if (!number()) life.side->types.clear();
  }
  return life;
}

RowState PackedReader::state(bool with_side) {
  RowState state;
  std::uint64_t count = number();
  if (count > rest_.size()) corrupt("too many lives");
  for (; count > 0; count--) state.lives.push_back(life(with_side));
  return state;
}

}  // namespace rowmesh
