#include "shared/http/body.hpp"

#include <gtest/gtest.h>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<char>(i * 2654435761u >> 12);
  return bytes;
}

std::string read_in_pieces(const Body& body, std::size_t piece) {
  std::string all, buffer(piece, '\0');
  while (std::size_t got = body.read(all.size(), buffer.data(), piece)) all.append(buffer, 0, got);
  return all;
}

TEST(BodyTest, ShortOnesStayInMemory) {
  Body body("abc");
  body.append("def");
  EXPECT_EQ(body.size(), 6u);
  EXPECT_EQ(body.in_memory(), "abcdef");
  EXPECT_EQ(body.text(6), "abcdef");
  EXPECT_EQ(read_in_pieces(body, 4), "abcdef");
  char none;
  EXPECT_EQ(body.read(6, &none, 1), 0u);
  EXPECT_EQ(body.read(1000, &none, 1), 0u);
}

TEST(BodyTest, LongOnesGoToAFile) {
  std::string bytes = pattern(limits::body_memory_bytes + 1000);
  Body body;
  for (std::size_t at = 0; at < bytes.size(); at += 1 << 20) body.append(std::string_view(bytes).substr(at, 1 << 20));
  EXPECT_TRUE(body.in_memory().empty());
  EXPECT_EQ(body.size(), bytes.size());
  EXPECT_TRUE(read_in_pieces(body, 333333) == bytes);
  EXPECT_TRUE(body.text(bytes.size()) == bytes);
}

TEST(BodyTest, TextIsBounded) {
  Body body("abc");
  EXPECT_THROW(body.text(2), Error);
}

TEST(BodyTest, SaysWhenThereIsNoRoom) {
  Body::set_directory("/nowhere/at/all");
  Body body(std::string(limits::body_memory_bytes, 'x'));
  try {
    body.append("y");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::transient);
    EXPECT_EQ(error.code(), "disk_full");
  }
  EXPECT_EQ(body.size(), limits::body_memory_bytes);  // as it was
  Body::set_directory("");
  body.append("y");
  EXPECT_EQ(body.size(), limits::body_memory_bytes + 1);
}

}  // namespace
}  // namespace rowmesh
