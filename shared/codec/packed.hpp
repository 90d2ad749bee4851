// Compact bytes for what a node keeps for itself: history records, its state, side rows. Not for the wire.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/merge/row_state.hpp"

namespace rowmesh {

class PackedWriter {
 public:
  void number(std::uint64_t number);  // 1 byte below 128, 7 bits a byte
  void fixed64(std::uint64_t number);
  void text(std::string_view text);
  void version(Version version);  // remembers recent ones: a repeat costs 1 byte
  void columns(const ColumnVersions& versions);
  void value(const Value& value);
  void life(const Life& life, bool with_side);
  void meant(const Meant& meant);
  void state(const RowState& state, bool with_side);
  // Lives that were applied at this time cost nothing more for saying so. The reader must be told the same.
  void applied_at(Hlc clock) { clock_ = clock; }

  const std::string& bytes() const { return bytes_; }
  std::string take();  // and begins anew
  std::size_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
  Hlc clock_ = 0;
  Version last_;  // most runs of entries bear one version
};

// Throws Error(corrupt) on anything that PackedWriter does not make.
class PackedReader {
 public:
  explicit PackedReader(std::string_view bytes) : rest_(bytes) {}
  std::uint64_t number();
  std::uint64_t fixed64();
  std::string_view text();
  Version version();
  ColumnVersions columns();
  Value value();  // texts are views into the bytes
  Life life(bool with_side);
  Meant meant();
  RowState state(bool with_side);
  void applied_at(Hlc clock) { clock_ = clock; }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  Hlc clock_ = 0;
  Version last_;
};

}  // namespace rowmesh
