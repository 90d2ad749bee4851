// First byte: what is done with the rest. Bytes from outside are either refused or give something that is written and
// read again alike.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "shared/codec/base64.hpp"
#include "shared/codec/document.hpp"
#include "shared/codec/packed.hpp"
#include "shared/fuzz/target.hpp"
#include "shared/model/error.hpp"
#include "shared/model/key.hpp"

namespace rowmesh::fuzz {
namespace {

Row row_of(Input& in) {
  Row row;
  while (!in.done() && row.size() < 20) switch (in.byte() % 6) {
      case 0: row.push_back(Value::of_integer(static_cast<std::int64_t>(in.number(8)))); break;
      case 1: {
        std::uint64_t bits = in.number(8);
        double real;
        static_assert(sizeof real == sizeof bits);
        __builtin_memcpy(&real, &bits, sizeof real);
        row.push_back(Value::of_real(std::isnan(real) ? std::numeric_limits<double>::quiet_NaN()
                                                      : real));  // there is one NaN on the wire
        break;
      }
      case 2: row.push_back(Value::of_boolean(in.byte() & 1)); break;
      case 3: row.push_back(Value::of_text(in.part())); break;
      case 4: row.push_back(Value::of_bytes(in.part())); break;
      default: row.push_back(Value::of_null()); break;
    }
  return row;
}

// As a row of a document and back: the same to the bit, whatever bytes a text has.
void through_a_document(Input& in) {
  Row row = row_of(in);
  Table table;
  table.wire_name = "t";
  table.columns = {{"id", ColumnType::integer, "bigint", true, false}};
  Row whole = {Value::of_integer(1)};
  for (std::size_t i = 0; i < row.size(); i++) {
    table.columns.push_back({"c" + std::to_string(i), ColumnType::text, "text", false, false});
    whole.push_back(row[i]);
  }
  table.key = {0};
  table.integer_key = true;
  DocumentHeader header;
  header.sender = 7;
  header.from[7] = {1, 1};
  header.to[7] = {2, 2};
  bool compress = in.byte() & 1;
  DocumentWriter writer(header, compress);
  ColumnVersions versions;
  writer.add_row(writer.add_table(table), {}, versions, whole);
  DocumentReader reader(writer.finish(), compress);
  const WireRow* read = reader.next();
  promise(read && read->count == 1 && read->lives[0].values.size() == whole.size(), "a written row is read");
  for (std::size_t i = 0; i < whole.size(); i++)
    promise(same_value(read->lives[0].values[i], whole[i]), "a value survives the wire");
  promise(!reader.next(), "one row was written");
}

void key_of(Input& in) {
  Row row = row_of(in);
  std::erase_if(row, [](const Value& value) { return value.is_null(); });
  Key key = encode_key(row);
  Row again = decode_key(key);
  promise(again.size() == row.size(), "a key has its columns");
  promise(encode_key(again) == key, "a key is read as it was written");
  (void)key_to_text(key);
}

}  // namespace

void values(std::string_view input) {
  Input in(input);
  try {
    switch (in.byte() % 6) {
      case 0: through_a_document(in); break;
      case 1: key_of(in); break;
      case 2: (void)key_to_text(in.rest()); break;
      case 3: {
        std::string_view text = in.rest();
        std::string bytes(text.size() + 3, '\0');
        if (char* end = decode_base64(bytes.data(), text)) {
          bytes.resize(static_cast<std::size_t>(end - bytes.data()));
          std::string again(base64_size(bytes.size()), '\0');
          encode_base64(again.data(), bytes);
          promise(again == text, "base64 has one form");
        }
        break;
      }
      case 4: {
        PackedReader reader(in.rest());
        RowState state = reader.state(true);
        PackedWriter writer;
        writer.state(state, true);
        std::string once = writer.take();
        PackedReader second(once);
        RowState again = second.state(true);
        PackedWriter third;
        third.state(again, true);
        promise(third.bytes() == once, "a packed state is read as it was written");
        break;
      }
      case 5: {
        std::string out;
        for (const Value& value : row_of(in)) append_json_value(out, value);
        append_json_string(out, in.rest());
        break;
      }
    }
  } catch (const Error&) {
    // refused with a sentence
  }
}

}  // namespace rowmesh::fuzz
