#include <array>
#include <unordered_map>

#include "shared/codec/byte_stream.hpp"
#include "shared/codec/checksum.hpp"
#include "shared/codec/document.hpp"
#include "shared/codec/document_text.hpp"
#include "shared/codec/json_text.hpp"
#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t flush_bytes = 256 << 10;
constexpr std::size_t first_bytes = 4 << 10;  // most documents are of a row or two: a big buffer costs them page faults
constexpr std::size_t surely_fits_bytes = limits::line_bytes / 8;  // six times that, as escapes, is still a line

std::size_t hash(const Version& version) {
  std::uint64_t mixed = (version.hlc ^ version.origin) * 0x9E3779B185EBCA87;
  return mixed ^ mixed >> 32;
}
struct VersionHash {
  std::size_t operator()(const Version& version) const { return hash(version); }
};

}  // namespace

struct DocumentWriter::State {
  explicit State(bool compress) : sink(compress) { out.reserve(first_bytes); }

  ByteSink sink;
  Checksum checksum;
  std::string out;
  std::uint64_t flushed = 0, rows = 0;
  std::vector<std::string> tables;
  std::vector<std::size_t> widths;  // columns of each table
  std::unordered_map<Version, std::uint32_t, VersionHash> numbers;
  struct Known {
    Version version;
    std::uint32_t number = 0;
  };
  std::array<Known, 64> recent;  // most rows repeat a version of the row before
  std::vector<std::uint32_t> column_numbers;
  Drain drain = [this](std::string&) { flush_if_full(); };

  void flush() {
    checksum.update(out);
    sink.write(out);
    flushed += out.size();
    out.clear();
  }
  void flush_if_full() {
    if (out.size() >= flush_bytes) flush();
  }

  // Writes the version's line when it is new: so before the line of the row that needs it.
  std::uint32_t number_of(const Version& version) {
    if (version.settled()) return 0;
    Known& known = recent[hash(version) % recent.size()];
    if (known.number != 0 && known.version == version) return known.number;
    auto [at, is_new] = numbers.try_emplace(version, static_cast<std::uint32_t>(numbers.size() + 1));
    if (is_new) {
      out += "[\"v\",";
      append_number(out, version.hlc);
      out += ",\"";
      out += to_hex(version.origin);
      out += "\"]\n";
    }
    known = {version, at->second};
    return at->second;
  }

  // Column versions of one life, as numbers: one, or one per column. Kept in column_numbers, appended.
  void number_columns(const ColumnVersions& versions, std::size_t width) {
    std::uint32_t base = number_of(versions.base);
    if (versions.changed.empty()) {
      column_numbers.push_back(base);
      return;
    }
    std::size_t first = column_numbers.size();
    column_numbers.resize(first + width, base);
    for (const auto& [column, version] : versions.changed)
      if (column < width) column_numbers[first + column] = number_of(version);
  }

  // Writes what number_columns kept; returns where the next one begins.
  std::size_t put_columns(std::size_t first, const ColumnVersions& versions, std::size_t width) {
    if (versions.changed.empty()) {
      append_number(out, column_numbers[first]);
      return first + 1;
    }
    for (std::size_t column = 0; column < width; column++) {
      out += column == 0 ? '[' : ',';
      append_number(out, column_numbers[first + column]);
    }
    out += ']';
    return first + width;
  }

  void put_values(RowView row) {
    out += '[';
    for (std::size_t column = 0; column < row.size(); column++) {
      if (column > 0) out += ',';
      append_json_value(out, row[column], &drain);
    }
    out += ']';
  }

  void start_line(char kind, std::uint32_t table) {
    out += '[';
    out += kind;
    out += ',';
    append_number(out, table);
    out += ',';
  }
  void end_line() {
    out += "]\n";
    rows++;
    flush_if_full();
  }

  // Before anything of the row is written, so that the document stays whole if it is refused.
  void check_row(std::uint32_t table, RowView row) const {
    if (row.size() != widths.at(table))
      throw Error(ErrorKind::bug, "bad_row", "a row has not as many values as its table has columns");
    std::size_t bytes = 0;
    for (const Value& value : row) bytes += value.text.size();
    if (bytes < surely_fits_bytes) return;
    std::size_t written = 32 * row.size() + 4096;
    for (const Value& value : row)
      if (!value.text.empty()) written += json_text_size(value);
    if (written > limits::line_bytes)
      throw Error(ErrorKind::permanent, "row_too_long",
                  "a row of table " + tables[table] + " needs " + std::to_string(written >> 20) +
                      " MB on the wire, more than the " + std::to_string(limits::line_bytes >> 20) +
                      " MB that travel: make its values shorter");
  }
};

DocumentWriter::DocumentWriter(const DocumentHeader& header, bool compress)
    : state_(std::make_unique<State>(compress)) {
  state_->out += header_line(header);
  state_->out += '\n';
}

DocumentWriter::~DocumentWriter() = default;

std::uint32_t DocumentWriter::add_table(const Table& table) {
  State& s = *state_;
  for (std::size_t known = 0; known < s.tables.size(); known++)
    if (s.tables[known] == table.wire_name) return static_cast<std::uint32_t>(known);
  auto number = static_cast<std::uint32_t>(s.tables.size());
  s.out += table_line(number, table);
  s.out += '\n';
  s.tables.push_back(table.wire_name);
  s.widths.push_back(table.columns.size());
  return number;
}

void DocumentWriter::add_row(std::uint32_t table, Version birth, const ColumnVersions& versions, RowView row) {
  State& s = *state_;
  s.check_row(table, row);
  s.column_numbers.clear();
  std::uint32_t birth_number = s.number_of(birth);
  s.number_columns(versions, row.size());
  s.start_line('0', table);
  append_number(s.out, birth_number);
  s.out += ',';
  s.put_columns(0, versions, row.size());
  s.out += ',';
  s.put_values(row);
  s.end_line();
}

void DocumentWriter::add_removed(std::uint32_t table, KeyView key, Version birth, Version removed) {
  State& s = *state_;
  std::uint32_t birth_number = s.number_of(birth), removed_number = s.number_of(removed);
  s.start_line('1', table);
  s.put_values(decode_key(key));
  s.out += ',';
  append_number(s.out, birth_number);
  s.out += ',';
  append_number(s.out, removed_number);
  s.end_line();
}

void DocumentWriter::add_lives(std::uint32_t table, KeyView key, const std::vector<const Life*>& lives,
                               const std::vector<RowView>& rows) {
  State& s = *state_;
  std::size_t width = s.widths.at(table);
  for (RowView row : rows)
    if (!row.empty()) s.check_row(table, row);
  s.column_numbers.clear();
  for (const Life* life : lives) {  // the version lines come first, in the order in which the row uses them
    s.column_numbers.push_back(s.number_of(life->birth));
    s.column_numbers.push_back(s.number_of(life->removed));
    if (life->moved) {
      s.column_numbers.push_back(s.number_of(life->moved->version));
      s.column_numbers.push_back(s.number_of(life->moved->to_birth));
      s.number_columns(life->moved->seen, width);
    }
    s.number_columns(life->columns, width);
  }
  s.start_line('2', table);
  s.put_values(decode_key(key));
  std::size_t at = 0;
  for (std::size_t i = 0; i < lives.size(); i++) {
    s.out += i == 0 ? ",[[" : ",[";
    append_number(s.out, s.column_numbers[at++]);
    s.out += ',';
    append_number(s.out, s.column_numbers[at++]);
    s.out += ',';
    if (const Move* move = lives[i]->moved.get()) {
      s.out += '[';
      append_number(s.out, s.column_numbers[at++]);
      s.out += ',';
      s.put_values(decode_key(move->to_key));
      s.out += ',';
      append_number(s.out, s.column_numbers[at++]);
      s.out += ',';
      at = s.put_columns(at, move->seen, width);
      s.out += ']';
    } else {
      s.out += "null";
    }
    s.out += ',';
    at = s.put_columns(at, lives[i]->columns, width);
    s.out += ',';
    if (i < rows.size() && !rows[i].empty()) {
      s.put_values(rows[i]);
    } else {
      s.out += "null";
    }
    s.out += ']';
  }
  s.out += ']';
  s.end_line();
}

std::uint64_t DocumentWriter::rows() const { return state_->rows; }

std::uint64_t DocumentWriter::raw_bytes() const { return state_->flushed + state_->out.size(); }

std::shared_ptr<Body> DocumentWriter::finish() {
  state_->flush();
  state_->sink.write(trailer_line(state_->rows, state_->checksum.value()) + "\n");
  return state_->sink.finish();
}

}  // namespace rowmesh
