#include <simdjson.h>

#include <limits>
#include <set>

#include "shared/codec/base64.hpp"
#include "shared/codec/byte_stream.hpp"
#include "shared/codec/checksum.hpp"
#include "shared/codec/document.hpp"
#include "shared/codec/document_text.hpp"
#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;

constexpr std::size_t first_parser_bytes = 2 << 10;  // grows with the lines
constexpr std::size_t most_tables = 65536;
constexpr std::size_t most_versions = 32u << 20;  // 512 MB of them; a document of that many transactions is cut smaller

// Walks one array; every element is asked for by somebody, and at the end none may be left.
class Fields {
 public:
  explicit Fields(const array& elements) : at_(elements.begin()), end_(elements.end()) {}
  bool more() const { return at_ != end_; }
  element next() {
    if (!more()) throw "a row line has too few fields";
    element value = *at_;
    ++at_;
    return value;
  }
  void end() const {
    if (more()) throw "a row line has too many fields";
  }

 private:
  array::iterator at_, end_;
};

array as_array(element value) {
  array elements;
  if (value.get(elements)) throw "a field that should be an array is none";
  return elements;
}

std::uint64_t as_number(element value) {
  std::uint64_t number;
  if (value.type() == element_type::DOUBLE || value.get(number))
    throw "a field that should be a natural number is none";
  return number;
}

std::string_view as_text(element value) {
  std::string_view text;
  if (value.get(text)) throw "a field that should be a string is none";
  return text;
}

}  // namespace

// Inside, what is wrong is thrown as a plain text; next() adds where, and makes an Error of it.
struct DocumentReader::State {
  State(std::shared_ptr<const Body> body, bool compressed) : lines(std::move(body), compressed) {
    lines.on_move([](void* sum, std::string_view bytes) { static_cast<Checksum*>(sum)->update(bytes); }, &checksum);
    if (parser.allocate(first_parser_bytes, limits::json_depth)) throw std::bad_alloc();
  }

  LineSource lines;
  Checksum checksum;
  DocumentHeader header;
  std::vector<WireTable> tables;
  std::set<std::string> table_names;
  std::vector<Version> versions = {Version{}};
  simdjson::dom::parser parser;
  std::unique_ptr<char[]> decoded;  // base64 values of this row: never more than the line
  std::size_t decoded_room = 0, decoded_used = 0;
  WireRow row;
  std::uint64_t rows = 0;
  bool at_end = false;

  void read_header() {
    std::string_view line;
    if (!lines.next(line)) throw "the document is empty";
    header = parse_header_line(line);
  }

  // True: a row is there. False: the trailer was right and nothing follows it.
  bool read_row() {
    for (std::string_view line; lines.next(line);) {
      if (line.starts_with('{')) {
        if (read_object(line)) return false;
      } else if (read_array(line)) {
        rows++;
        return true;
      }
    }
    throw "the document ends without its last line";
  }

  bool read_object(std::string_view line) {
    ObjectLine object = parse_object_line(line);
    if (object.is_trailer) {
      lines.take_before_last([this](std::string_view bytes) { checksum.update(bytes); });
      if (object.trailer.rows != rows) throw "the number of rows is not what the last line says";
      if (object.trailer.sum != checksum.value()) throw "the checksum is wrong: the document was damaged on its way";
      if (line != trailer_line(rows, checksum.value())) throw "the document's last line is not written as it should be";
      if (std::string_view more; lines.next(more)) throw "bytes follow the document's last line";
      return true;
    }
    if (object.table_number != tables.size() || tables.size() == most_tables)
      throw "a table's number is not the next one";
    if (!table_names.insert(object.table.name).second) throw "a table is described twice";
    tables.push_back(std::move(object.table));
    return false;
  }

  // True: a row; false: a version.
  bool read_array(std::string_view line) {
    if (line.size() > parser.capacity() && parser.allocate(line.size() + line.size() / 2, limits::json_depth))
      throw Error(ErrorKind::transient, "out_of_memory",
                  "no memory for a row of " + std::to_string(line.size() >> 20) + " MB");
    array elements;
    if (auto failed = parser.parse(line.data(), line.size(), false).get(elements))
      throw simdjson::error_message(failed);
    Fields fields(elements);
    element kind = fields.next();
    if (kind.type() == element_type::STRING) {
      read_version(as_text(kind), fields);
      return false;
    }
    if (decoded_room < line.size()) {
      decoded_room = 2 * line.size();
      decoded.reset(new char[decoded_room]);
    }
    decoded_used = 0;
    std::uint64_t number = as_number(kind), table = as_number(fields.next());
    if (table >= tables.size()) throw "a row of a table that was not described";
    row.table = static_cast<std::uint32_t>(table);
    switch (number) {
      case 0: read_living(tables[table], fields); break;
      case 1: read_dead(tables[table], fields); break;
      case 2: read_lives(tables[table], fields); break;
      default: throw "a line of an unknown kind";
    }
    fields.end();
    return true;
  }

  void read_version(std::string_view kind, Fields& fields) {
    if (kind != "v") throw "a line of an unknown kind";
    Version version;
    version.hlc = as_number(fields.next());
    version.origin = from_hex(std::string(as_text(fields.next())));
    fields.end();
    if (version.settled()) throw "a version without a time";
    if (versions.size() > most_versions) throw "too many versions in one document";
    versions.push_back(version);
  }

  Version version(element field) const {
    std::uint64_t number = as_number(field);
    if (number >= versions.size()) throw "a version that was not given";
    return versions[number];
  }

  WireLife& life(std::size_t index) {
    if (row.lives.size() <= index) row.lives.resize(index + 1);
    WireLife& life = row.lives[index];
    life.birth = life.removed = life.base = life.move_version = life.move_birth = Version{};
    life.has_move = life.has_values = false;
    life.versions.clear();
    life.move_key.clear();
    life.move_seen.clear();
    life.values.clear();
    row.count = index + 1;
    return life;
  }

  void read_living(const WireTable& table, Fields& fields) {
    WireLife& only = life(0);
    only.birth = version(fields.next());
    read_columns(table, fields.next(), only);
    read_values(fields.next(), table.columns.size(), only.values);
    only.has_values = true;
    row.key.clear();
    for (std::uint32_t column : table.key) row.key.push_back(only.values[column]);
    check_key(row.key);
  }

  void read_dead(const WireTable& table, Fields& fields) {
    read_values(fields.next(), table.key.size(), row.key);
    check_key(row.key);
    WireLife& only = life(0);
    only.birth = only.base = version(fields.next());
    only.removed = version(fields.next());
  }

  void read_lives(const WireTable& table, Fields& fields) {
    read_values(fields.next(), table.key.size(), row.key);
    check_key(row.key);
    array lives = as_array(fields.next());
    std::size_t index = 0;
    for (element one : lives) read_life(table, as_array(one), life(index++));
    if (index == 0) throw "a row without a life";
  }

  void read_life(const WireTable& table, const array& elements, WireLife& to) {
    Fields fields(elements);
    to.birth = version(fields.next());
    to.removed = version(fields.next());
    element move = fields.next();
    if (!move.is_null()) read_move(table, as_array(move), to);
    read_columns(table, fields.next(), to);
    element values = fields.next();
    to.has_values = !values.is_null();
    if (to.has_values) read_values(values, table.columns.size(), to.values);
    fields.end();
  }

  void read_move(const WireTable& table, const array& elements, WireLife& to) {
    Fields fields(elements);
    to.has_move = true;
    to.move_version = version(fields.next());
    read_values(fields.next(), table.key.size(), to.move_key);
    check_key(to.move_key);
    to.move_birth = version(fields.next());
    element seen = fields.next();
    if (seen.type() == element_type::ARRAY) {
      read_each_version(table, seen, to.move_seen);
    } else {
      to.move_seen.assign(table.columns.size(), version(seen));
    }
    fields.end();
  }

  void read_columns(const WireTable& table, element field, WireLife& to) const {
    if (field.type() == element_type::ARRAY) {
      read_each_version(table, field, to.versions);
    } else {
      to.base = version(field);
    }
  }

  void read_each_version(const WireTable& table, element field, std::vector<Version>& to) const {
    for (element one : as_array(field)) to.push_back(version(one));
    if (to.size() != table.columns.size()) throw "not as many versions as the table has columns";
  }

  void read_values(element field, std::size_t wanted, Row& to) {
    to.clear();
    for (element one : as_array(field)) {
      if (to.size() == wanted) throw "a row has more values than its table has columns";
      to.push_back(value(one));
    }
    if (to.size() != wanted) throw "a row has fewer values than its table has columns";
  }

  Value value(element field) {
    switch (field.type()) {
      case element_type::NULL_VALUE: return Value::of_null();
      case element_type::BOOL: return Value::of_boolean(field.get_bool().value_unsafe());
      case element_type::INT64: return Value::of_integer(field.get_int64().value_unsafe());
      case element_type::DOUBLE: return Value::of_real(field.get_double().value_unsafe());
      case element_type::STRING: return Value::of_text(field.get_string().value_unsafe());
      case element_type::OBJECT: return named_value(field.get_object().value_unsafe());
      case element_type::UINT64: throw "an integer that does not fit into 64 bits";
      case element_type::ARRAY: break;
    }
    throw "a value is an array";
  }

  Value named_value(const simdjson::dom::object& object) {
    auto field = object.begin();
    if (field == object.end()) throw "a value is an empty object";
    std::string_view name = field.key();
    element content = field.value();
    if (++field != object.end()) throw "a value is an object of several fields";
    if (name == "b") return Value::of_bytes(decode(as_text(content)));
    if (name == "t") return Value::of_text(decode(as_text(content)));
    if (name == "x" && as_number(content) == 1) return Value::of_omitted();
    if (name == "f") return Value::of_real(named_real(as_text(content)));
    throw "a value is an object of an unknown kind";
  }

  static double named_real(std::string_view name) {
    if (name == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (name == "Infinity") return std::numeric_limits<double>::infinity();
    if (name == "-Infinity") return -std::numeric_limits<double>::infinity();
    throw "a number of an unknown name";
  }

  std::string_view decode(std::string_view text) {
    char* begin = decoded.get() + decoded_used;
    char* end = decode_base64(begin, text);
    if (!end) throw "a value is not base64";
    decoded_used += static_cast<std::size_t>(end - begin);
    return {begin, end};
  }

  static void check_key(const Row& key) {
    for (const Value& value : key)
      if (value.kind == ValueKind::null || value.kind == ValueKind::omitted) throw "a key without a value";
  }

  [[noreturn]] void refuse(const char* what) const {
    throw Error(ErrorKind::protocol, "bad_document",
                "the received document is refused near byte " + std::to_string(lines.offset()) + ", after " +
                    std::to_string(rows) + " rows: " + what);
  }
};

void prepare_document_parser() {
  simdjson::dom::parser parser;
  simdjson::padded_string nothing("[\"\"]", 4);
  element parsed;
  if (parser.parse(nothing).get(parsed)) throw std::bad_alloc();
}

DocumentReader::DocumentReader(std::shared_ptr<const Body> body, bool compressed)
    : state_(std::make_unique<State>(std::move(body), compressed)) {
  try {
    state_->read_header();
  } catch (const char* what) {
    state_->refuse(what);
  }
}

DocumentReader::~DocumentReader() = default;

const DocumentHeader& DocumentReader::header() const { return state_->header; }

const WireRow* DocumentReader::next() {
  State& s = *state_;
  if (s.at_end) return nullptr;
  try {
    if (s.read_row()) return &s.row;
  } catch (const char* what) {
    s.refuse(what);
  }
  s.at_end = true;
  return nullptr;
}

const std::vector<WireTable>& DocumentReader::tables() const { return state_->tables; }

void check_document(std::shared_ptr<const Body> body, bool compressed) {
  DocumentReader reader(std::move(body), compressed);
  while (reader.next()) {}
}

}  // namespace rowmesh
