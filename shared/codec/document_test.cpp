#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "shared/codec/base64.hpp"
#include "shared/codec/byte_stream.hpp"
#include "shared/codec/checksum.hpp"
#include "shared/codec/document.hpp"
#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

constexpr Version first{100 << 16, 0xabc}, second{200 << 16, 0xdef}, third{300 << 16, 0xffffffffffffffff};

Table two_columns() {
  Table table;
  table.wire_name = "items";
  table.columns = {{"id", ColumnType::integer, "bigint", true, false},
                   {"name", ColumnType::text, "text", false, false}};
  table.key = {0};
  table.integer_key = true;
  return table;
}

DocumentHeader a_header() {
  DocumentHeader header;
  header.sender = 0xabc;
  header.node = "11111111-2222-3333-4444-555555555555";
  header.hlc = (1ULL << 60) + 1;
  header.prune_horizon = 5;
  header.horizon = 7;
  header.from = {{0xabc, {1, 0xfffffffffffffffe}}};
  header.to = {{0xabc, {2, 3}}, {0xdef, {9, 8}}};
  header.metas[0xabc] = {2, 100, 50, {{0xdef, 77}}};
  header.members[0xabc] = {"11111111-2222-3333-4444-555555555555", "Büro \"1\"", false};
  header.members[0xdef] = {"x", "y", true};
  header.truncates["items"] = third;
  return header;
}

ColumnVersions all_of(Version version) {
  ColumnVersions versions;
  versions.base = version;
  return versions;
}

std::string bytes_of(const Body& body) { return body.text(1ULL << 32); }

void check_text(const std::string& document, bool compressed = false) {
  check_document(std::make_shared<Body>(document), compressed);
}

// A document with right count and sum around these lines.
std::string document_of(const std::string& lines, std::uint64_t rows) {
  DocumentWriter writer(a_header(), false);
  std::string whole = bytes_of(*writer.finish());
  std::string text = whole.substr(0, whole.find('\n') + 1) + lines;
  Checksum sum;
  sum.update(text);
  return text + "{\"end\":" + std::to_string(rows) + ",\"sum\":\"" + to_hex(sum.value()) + "\"}\n";
}

const std::string table_text =
    R"({"table":0,"name":"items","columns":[["id","integer"],["name","text"]],"key":[0],"integer_key":true})"
    "\n";
const std::string version_text = "[\"v\",6553600,\"abc\"]\n";

std::string refusal(const std::string& document, bool compressed = false) {
  try {
    check_text(document, compressed);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::protocol) << error.what();
    return error.what();
  }
  return "";
}

std::string refusal_of_rows(const std::string& lines, std::uint64_t rows = 1) {
  return refusal(document_of(table_text + version_text + lines, rows));
}

std::shared_ptr<Body> some_document(bool compress) {
  DocumentWriter writer(a_header(), compress);
  std::uint32_t table = writer.add_table(two_columns());
  ColumnVersions mixed = all_of(first);
  mixed.set(1, second);
  for (int i = 0; i < 5; i++) {
    std::string name = "name " + std::to_string(i);
    writer.add_row(table, first, i % 2 ? mixed : all_of(second), Row{Value::of_integer(i), Value::of_text(name)});
  }
  Row key{Value::of_integer(77)};
  writer.add_removed(table, encode_key(key), first, third);
  return writer.finish();
}

TEST(DocumentTest, HeaderComesBack) {
  DocumentHeader header = a_header();
  header.meant = {{"items", std::string("\x01\xff\0k", 4), "\"parent\"", first, -7, second, 99}, {}};
  DocumentWriter writer(header, false);
  DocumentReader reader(writer.finish(), false);
  EXPECT_EQ(reader.header().meant, header.meant);
  EXPECT_EQ(reader.header().node, header.node);
  EXPECT_EQ(reader.header().hlc, header.hlc);
  EXPECT_EQ(reader.header().prune_horizon, 5u);
  EXPECT_EQ(reader.header().horizon, 7u);
  EXPECT_EQ(reader.header().from, header.from);
  EXPECT_EQ(reader.header().to, header.to);
  EXPECT_EQ(reader.header().metas, header.metas);
  EXPECT_EQ(reader.header().members, header.members);
  EXPECT_EQ(reader.header().truncates, header.truncates);
  EXPECT_EQ(reader.next(), nullptr);
  EXPECT_EQ(reader.next(), nullptr);
}

TEST(DocumentTest, CopyHeaderComesBack) {
  DocumentHeader header = a_header();
  header.kind = DocumentKind::copy;
  header.copy_table = "items";
  header.copy_more = true;
  header.copy_total = 1234567;
  DocumentWriter writer(header, true);
  DocumentReader reader(writer.finish(), true);
  EXPECT_EQ(reader.header().kind, DocumentKind::copy);
  EXPECT_EQ(reader.header().copy_table, "items");
  EXPECT_TRUE(reader.header().copy_more);
  EXPECT_EQ(reader.header().copy_total, 1234567u);
}

Row every_kind_of_value(const std::string& all_bytes) {
  using Int = std::numeric_limits<std::int64_t>;
  using Real = std::numeric_limits<double>;
  Row row = {Value::of_integer(0), Value::of_null(), Value::of_boolean(true), Value::of_boolean(false),
             Value::of_omitted()};
  for (std::int64_t number : {Int::min(), Int::max(), std::int64_t{-1}, std::int64_t{1} << 53})
    row.push_back(Value::of_integer(number));
  for (double number : {0.0, -0.0, 1.0, 0.1, -2.5e-300, 1e22, 1e300, Real::min(), Real::max(), Real::denorm_min(),
                        Real::infinity(), -Real::infinity(), Real::quiet_NaN(), 123456789.0, 1.0 / 3})
    row.push_back(Value::of_real(number));
  using namespace std::string_view_literals;
  for (std::string_view text :
       {""sv, "plain"sv, "\"\\/\b\f\n\r\t\x01\x1f\x7f"sv, "äöü€𝄞 日本"sv, "with\0nul"sv, "bad \xff\xc3"sv,
        "\xed\xa0\x80"sv, "12345678\"9"sv, "1234567\\"sv, "\\u0000"sv, "{\"b\":\"x\"}"sv})
    row.push_back(Value::of_text(text));
  for (std::size_t length : {0, 1, 2, 3, 4, 255})
    row.push_back(Value::of_bytes(std::string_view(all_bytes).substr(0, length)));
  row.push_back(Value::of_text(all_bytes));
  return row;
}

TEST(DocumentTest, EveryValueComesBack) {
  std::string all_bytes;
  for (int byte = 0; byte < 256; byte++) all_bytes += static_cast<char>(byte);
  Row row = every_kind_of_value(all_bytes);
  Table table;
  table.wire_name = "wide";
  table.key = {0};
  for (std::size_t i = 0; i < row.size(); i++)
    table.columns.push_back({"c" + std::to_string(i), ColumnType::any, "", false, false});
  for (bool compress : {false, true}) {
    DocumentWriter writer(a_header(), compress);
    writer.add_row(writer.add_table(table), first, all_of(first), row);
    DocumentReader reader(writer.finish(), compress);
    const WireRow* read = reader.next();
    ASSERT_TRUE(read);
    ASSERT_EQ(read->lives[0].values.size(), row.size());
    for (std::size_t i = 0; i < row.size(); i++) {
      const Value& value = read->lives[0].values[i];
      if (row[i].kind == ValueKind::real && std::isnan(row[i].real))
        EXPECT_TRUE(std::isnan(value.real));
      else
        EXPECT_TRUE(same_value(value, row[i])) << i;
    }
    EXPECT_EQ(reader.next(), nullptr);
  }
}

TEST(DocumentTest, LongValuesComeBack) {
  std::string text, bytes;
  for (std::size_t i = 0; i < (3u << 20) + 1; i++) {
    text += i % 97 == 0 ? "\n" : i % 89 == 0 ? "ü" : "x";
    bytes += static_cast<char>(i * 2654435761u >> 11);
  }
  for (bool compress : {false, true}) {
    DocumentWriter writer(a_header(), compress);
    Table table = two_columns();
    std::uint32_t number = writer.add_table(table);
    writer.add_row(number, first, all_of(first), Row{Value::of_integer(1), Value::of_text(text)});
    writer.add_row(number, first, all_of(first), Row{Value::of_integer(2), Value::of_bytes(bytes)});
    DocumentReader reader(writer.finish(), compress);
    EXPECT_TRUE(reader.next()->lives[0].values[1].text == text);
    EXPECT_TRUE(reader.next()->lives[0].values[1].text == bytes);
    EXPECT_EQ(reader.next(), nullptr);
  }
}

TEST(DocumentTest, VersionsComeBack) {
  std::shared_ptr<Body> body = some_document(true);
  DocumentReader reader(body, true);
  const WireRow* row = reader.next();
  EXPECT_EQ(row->count, 1u);
  EXPECT_EQ(row->lives[0].birth, first);
  EXPECT_EQ(row->lives[0].removed, Version{});
  EXPECT_EQ(row->lives[0].base, second);
  EXPECT_TRUE(row->lives[0].versions.empty());
  row = reader.next();
  EXPECT_EQ(row->lives[0].versions, (std::vector<Version>{first, second}));
  for (int i = 2; i < 5; i++) row = reader.next();
  EXPECT_EQ(row->key[0].integer, 4);
  EXPECT_EQ(row->lives[0].values[1].text, "name 4");
  row = reader.next();
  EXPECT_EQ(row->key[0].integer, 77);
  EXPECT_EQ(row->lives[0].removed, third);
  EXPECT_FALSE(row->lives[0].has_values);
  EXPECT_EQ(reader.next(), nullptr);
  EXPECT_EQ(reader.tables()[0].name, "items");
  EXPECT_EQ(reader.tables()[0].types[1], ColumnType::text);
  EXPECT_TRUE(reader.tables()[0].integer_key);
}

TEST(DocumentTest, ManyVersionsComeBack) {
  DocumentWriter writer(a_header(), true);
  std::uint32_t table = writer.add_table(two_columns());
  auto version = [](std::uint64_t i) { return Version{(i * 7919 % 3000 + 1) << 16, i % 3 + 1}; };
  for (std::uint64_t i = 0; i < 20000; i++)
    writer.add_row(table, version(i), all_of(version(i + 5)),
                   Row{Value::of_integer(static_cast<std::int64_t>(i)), Value::of_null()});
  DocumentReader reader(writer.finish(), true);
  for (std::uint64_t i = 0; i < 20000; i++) {
    const WireRow* row = reader.next();
    ASSERT_EQ(row->lives[0].birth, version(i));
    ASSERT_EQ(row->lives[0].base, version(i + 5));
  }
  EXPECT_EQ(reader.next(), nullptr);
}

TEST(DocumentTest, LivesAndMovesComeBack) {
  Life living(first), removed(second), moved(third);
  living.columns.set(1, third);
  removed.removed = third;
  moved.moved = std::make_unique<Move>();
  moved.moved->version = third;
  moved.moved->to_key = encode_key(Row{Value::of_integer(-5)});
  moved.moved->to_birth = second;
  moved.moved->seen = all_of(first);
  moved.moved->seen.set(0, second);
  Row values{Value::of_integer(7), Value::of_omitted()};
  DocumentWriter writer(a_header(), false);
  std::uint32_t table = writer.add_table(two_columns());
  writer.add_lives(table, encode_key(Row{Value::of_integer(7)}), {&living, &removed, &moved}, {values, {}, {}});
  writer.add_row(table, first, all_of(first), values);
  EXPECT_EQ(writer.rows(), 2u);
  DocumentReader reader(writer.finish(), false);
  const WireRow* row = reader.next();
  ASSERT_EQ(row->count, 3u);
  EXPECT_EQ(row->key[0].integer, 7);
  EXPECT_EQ(row->lives[0].versions, (std::vector<Version>{first, third}));
  EXPECT_TRUE(row->lives[0].has_values);
  EXPECT_EQ(row->lives[0].values[1].kind, ValueKind::omitted);
  EXPECT_EQ(row->lives[1].removed, third);
  EXPECT_FALSE(row->lives[1].has_values);
  EXPECT_TRUE(row->lives[2].has_move);
  EXPECT_EQ(row->lives[2].move_version, third);
  EXPECT_EQ(row->lives[2].move_key[0].integer, -5);
  EXPECT_EQ(row->lives[2].move_birth, second);
  EXPECT_EQ(row->lives[2].move_seen, (std::vector<Version>{second, first}));
  row = reader.next();
  EXPECT_EQ(row->count, 1u);
  EXPECT_FALSE(row->lives[0].has_move);
  EXPECT_EQ(reader.next(), nullptr);
}

TEST(DocumentTest, TruncatedAnywhereIsRefused) {
  for (bool compress : {false, true}) {
    std::string whole = bytes_of(*some_document(compress));
    check_text(whole, compress);
    for (std::size_t length = 0; length < whole.size(); length++)
      EXPECT_NE(refusal(whole.substr(0, length), compress), "") << length;
  }
}

TEST(DocumentTest, AnyAlteredByteIsRefused) {
  std::string whole = bytes_of(*some_document(false));
  for (std::size_t at = 0; at < whole.size(); at++)
    for (int bit : {0, 1, 5, 7}) {
      std::string altered = whole;
      altered[at] = static_cast<char>(altered[at] ^ 1 << bit);
      EXPECT_NE(refusal(altered), "") << at << " " << bit;
    }
}

// Some bits of a zstd frame carry nothing; what comes out then is the document as it was.
TEST(DocumentTest, AlteredCompressedBytesNeverChangeTheContent) {
  std::string whole = bytes_of(*some_document(true));
  for (std::size_t at = 0; at < whole.size(); at++)
    for (int bit = 0; bit < 8; bit++) {
      std::string altered = whole;
      altered[at] = static_cast<char>(altered[at] ^ 1 << bit);
      try {
        DocumentReader reader(std::make_shared<Body>(altered), true);
        int rows = 0;
        while (reader.next()) rows++;
        EXPECT_EQ(rows, 6);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::protocol) << error.what();
      }
    }
}

TEST(DocumentTest, BytesAfterTheEndAreRefused) {
  for (bool compress : {false, true}) {
    std::string whole = bytes_of(*some_document(compress));
    for (const std::string& more : {std::string("\n"), std::string("x"), whole})
      EXPECT_NE(refusal(whole + more, compress), "");
  }
}

TEST(DocumentTest, WrongCountOrSumIsRefused) {
  EXPECT_EQ(refusal_of_rows("[0,0,1,1,[5,\"a\"]]\n", 1), "");
  EXPECT_NE(refusal_of_rows("[0,0,1,1,[5,\"a\"]]\n", 0).find("number of rows"), std::string::npos);
  EXPECT_NE(refusal_of_rows("[0,0,1,1,[5,\"a\"]]\n", 2).find("number of rows"), std::string::npos);
  std::string document = document_of("", 0);
  document[document.find("\"sum\":\"") + 7] ^= 1;
  EXPECT_NE(refusal(document), "");
  EXPECT_NE(refusal("").find("empty"), std::string::npos);
}

TEST(DocumentTest, MalformedRowsAreRefused) {
  for (const char* line : {"[0,0,1,1,[5]]",
                           "[0,0,1,1,[5,1,1]]",
                           "[0,0,1,[1],[5,1]]",
                           "[0,0,1,[1,1,1],[5,1]]",
                           "[0,0,2,1,[5,1]]",
                           "[0,0,1,2,[5,1]]",
                           "[0,1,1,1,[5,1]]",
                           "[3,0,1,1,[5,1]]",
                           "[0,0,1,1]",
                           "[0,0,1,1,[5,1],0]",
                           "[0,0,-1,1,[5,1]]",
                           "[0,0,1.0,1,[5,1]]",
                           "[0,0,\"1\",1,[5,1]]",
                           "[0,0,1,1,[null,1]]",
                           "[0,0,1,1,[{\"x\":1},1]]",
                           "[0,0,1,1,{}]",
                           "[0,0,1,1,null]",
                           "[]",
                           "[null]",
                           "17",
                           "",
                           "[0,0,1,1,[5,[]]]",
                           "[0,0,1,1,[5,{}]]",
                           "[0,0,1,1,[5,{\"q\":1}]]",
                           "[0,0,1,1,[5,{\"b\":\"A\"}]]",
                           "[0,0,1,1,[5,{\"b\":\"A===\"}]]",
                           "[0,0,1,1,[5,{\"b\":\"AB==\"}]]",
                           "[0,0,1,1,[5,{\"b\":\"====\"}]]",
                           "[0,0,1,1,[5,{\"b\":1}]]",
                           "[0,0,1,1,[5,{\"x\":2}]]",
                           "[0,0,1,1,[5,{\"f\":\"nan\"}]]",
                           "[0,0,1,1,[5,{\"b\":\"\",\"b\":\"\"}]]",
                           "[0,0,1,1,[5,1e400]]",
                           "[0,0,1,1,[5,9223372036854775808]]",
                           "[0,0,1,1,[5,-9223372036854775809]]",
                           "[0,0,1,1,[5,123456789012345678901234567890]]",
                           "[0,0,1,1,[5,\"\xff\"]]",
                           "[0,0,1,1,[5,\"\\ud800\"]]",
                           "[0,0,1,1,[5,tru]]",
                           "[0,0,1,1,[5,1],]",
                           "[0,0,1,1,[5,1]] ]",
                           "[0,0,1,1,[05,1]]",
                           "[0,0,1,1,[5,.5]]",
                           "[1,0,[5],1]",
                           "[1,0,[],1,1]",
                           "[1,0,[5,5],1,1]",
                           "[1,0,[null],1,1]",
                           "[1,0,5,1,1]",
                           "[1,0,[5],1,9]",
                           "[2,0,[5],[]]",
                           "[2,0,[5],[[]]]",
                           "[2,0,[5],[[1,0,null,1]]]",
                           "[2,0,[5],[[1,0,[1,[],1,1],1,null]]]",
                           "[2,0,[5],[[1,0,[1,[5],1,[1]],1,null]]]",
                           "[2,0,[5],[[1,0,null,1,[5]]]]",
                           "[2,0,[5],[[1,0,null,1,null,0]]]",
                           "[\"v\",1]",
                           "[\"v\",0,\"1\"]",
                           "[\"v\",1,\"xyz\"]",
                           "[\"v\",1,1]",
                           "[\"w\",1,\"1\"]",
                           "[\"v\",1,\"1\",1]",
                           "[\"v\",-1,\"1\"]",
                           "[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]"})
    EXPECT_NE(refusal_of_rows(std::string(line) + "\n", std::string_view(line).starts_with("[\"") ? 0 : 1), "") << line;
  EXPECT_EQ(refusal_of_rows("[2,0,[5],[[1,0,[1,[5],1,[1,0]],[1,0],null],[1,1,null,0,[5,\"\\u0000\"]]]]\n"), "");
}

TEST(DocumentTest, MalformedTablesAreRefused) {
  auto refused = [](const std::string& line) { return !refusal(document_of(line + "\n", 0)).empty(); };
  EXPECT_FALSE(refused(
      R"({"table":0,"name":"t","columns":[["a","integer"],["b","no such type"]],"key":[1,0],"integer_key":false})"));
  for (const char* line :
       {R"({"table":1,"name":"t","columns":[["a","text"]],"key":[0],"integer_key":false})",
        R"({"table":0,"name":"","columns":[["a","text"]],"key":[0],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[],"key":[0],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a","text"]],"key":[],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a","text"]],"key":[1],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a","text"]],"key":[0,0],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a","text"],["a","text"]],"key":[0],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a"]],"key":[0],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a","text"]],"key":[-1],"integer_key":false})",
        R"({"table":0,"name":"t","columns":[["a","text"]],"key":[0]})", R"({})", R"({"table":0)"})
    EXPECT_TRUE(refused(line)) << line;
  std::string once = table_text;
  EXPECT_TRUE(refused(once + R"({"table":1,"name":"items","columns":[["a","text"]],"key":[0],"integer_key":false})"));
}

TEST(DocumentTest, MalformedHeadersAreRefused) {
  for (const char* header : {"{}", "[]", "null", "x", "{\"protocol\":1}", "{\"protocol\":2}"})
    EXPECT_NE(refusal(std::string(header) + "\n"), "") << header;
  std::string deep(100000, '[');
  EXPECT_NE(refusal(deep + "\n"), "");
  std::string long_line(limits::header_line_bytes + 1, ' ');
  EXPECT_NE(refusal("{" + long_line + "}\n"), "");
}

// Symptom: a request of some kilobytes took gigabytes of memory. Mechanism: a line was unpacked up to the length of the
// longest row before anybody looked what it is. Mend: only what begins as a row may be so long.
TEST(DocumentTest, PackedZerosAreRefusedAfterFourMegabytes) {
  std::string header = bytes_of(*some_document(false));
  header.resize(header.find('\n') + 1);
  for (const std::string& begin : {std::string(), header, header + "[\"v\",", header + "{"}) {
    ByteSink sink(true);
    sink.write(begin);
    std::string zeros(1 << 20, '\0');
    for (int i = 0; i < 64; i++) sink.write(zeros);
    EXPECT_NE(refusal(bytes_of(*sink.finish()), true).find("longer than 4 MB"), std::string::npos) << begin;
  }
}

TEST(DocumentTest, AnUncompressedDocumentIsNotTakenForACompressedOne) {
  EXPECT_NE(refusal(bytes_of(*some_document(false)), true), "");
  EXPECT_NE(refusal(bytes_of(*some_document(true)), false), "");
}

TEST(DocumentTest, LongDocumentsGoThroughAFile) {
  DocumentWriter writer(a_header(), false);
  std::uint32_t table = writer.add_table(two_columns());
  std::string text(1 << 20, 'x');
  for (int i = 0; i < 40; i++)
    writer.add_row(table, first, all_of(first), Row{Value::of_integer(i), Value::of_text(text)});
  std::shared_ptr<Body> body = writer.finish();
  EXPECT_TRUE(body->in_memory().empty());
  EXPECT_GT(body->size(), limits::body_memory_bytes);
  DocumentReader reader(body, false);
  int rows = 0;
  while (const WireRow* row = reader.next()) EXPECT_EQ(row->key[0].integer, rows++);
  EXPECT_EQ(rows, 40);
}

TEST(DocumentTest, RowsGoOutWithTheWidthOfTheirTable) {
  DocumentWriter writer(a_header(), false);
  std::uint32_t table = writer.add_table(two_columns());
  EXPECT_EQ(writer.add_table(two_columns()), table);
  EXPECT_THROW(writer.add_row(table, first, all_of(first), Row{Value::of_integer(1)}), Error);
  check_document(writer.finish(), false);
}

TEST(JsonTextTest, RowsForPeople) {
  Table table = two_columns();
  Row row{Value::of_integer(1), Value::of_text("a\"b")};
  EXPECT_EQ(row_to_json(table, row), R"({"id":1,"name":"a\"b"})");
  ColumnSet only;
  only.add(1);
  EXPECT_EQ(row_to_json(table, row, &only), R"({"name":"a\"b"})");
  EXPECT_EQ(row_to_json(table, {}), "{}");
}

TEST(ChecksumTest, IsXxh64WhateverThePieces) {
  EXPECT_EQ(Checksum().value(), 0xEF46DB3751D8E999u);
  Checksum abc;
  abc.update("abc");
  EXPECT_EQ(abc.value(), 0x44BC2CF5AD770999u);
  std::string text;
  for (int i = 0; i < 1000; i++) text += static_cast<char>(i * 31);
  Checksum whole;
  whole.update(text);
  for (std::size_t piece : {1, 7, 31, 32, 33, 100}) {
    Checksum pieces;
    for (std::size_t at = 0; at < text.size(); at += piece) pieces.update(std::string_view(text).substr(at, piece));
    EXPECT_EQ(pieces.value(), whole.value()) << piece;
  }
}

}  // namespace
}  // namespace rowmesh
