// First byte: bit 0, whether the rest is taken for a zstd frame; bit 1, whether the rest is packed into one first, so
// that what is inside can be changed byte by byte. The checksum would stop everything at the end: the last line is
// mended where it has the form.
#include <memory>
#include <string>

#include "shared/codec/byte_stream.hpp"
#include "shared/codec/checksum.hpp"
#include "shared/codec/document.hpp"
#include "shared/fuzz/target.hpp"
#include "shared/model/error.hpp"
#include "shared/model/version.hpp"

namespace rowmesh::fuzz {
namespace {

std::string with_right_sum(std::string_view text) {
  std::size_t last = text.size() < 2 ? text.npos : text.rfind('\n', text.size() - 2);
  std::size_t sum = text.rfind("\"sum\":\"");
  if (last == text.npos || sum == text.npos || sum < last || sum + 23 > text.size()) return std::string(text);
  Checksum checksum;
  checksum.update(text.substr(0, last + 1));
  return std::string(text).replace(sum + 7, 16, to_hex(checksum.value()));
}

std::string packed(std::string_view text) {
  ByteSink sink(true);
  sink.write(text);
  return sink.finish()->text(1u << 30);
}

}  // namespace

void document(std::string_view input) {
  Input in(input);
  std::uint8_t how = in.byte();
  std::string body(in.rest());
  if (how & 4) body = with_right_sum(body);
  bool compressed = how & 3;
  if (how & 2) body = packed(body);
  try {
    DocumentReader reader(std::make_shared<Body>(std::move(body)), compressed);
    std::uint64_t rows = 0;
    while (const WireRow* row = reader.next()) {
      promise(row->table < reader.tables().size(), "a row's table was described before");
      const WireTable& table = reader.tables()[row->table];
      promise(row->count > 0 && row->count <= row->lives.size(), "a row has lives");
      for (std::size_t i = 0; i < row->count; i++)
        if (row->lives[i].has_values)
          promise(row->lives[i].values.size() == table.columns.size(), "a value for each column");
      promise(++rows < 10'000'000, "rows are bounded by the input");
    }
  } catch (const Error& error) {
    promise(error.kind() == ErrorKind::protocol || error.kind() == ErrorKind::transient,
            "what is wrong with a document is a protocol error");
  }
}

}  // namespace rowmesh::fuzz
