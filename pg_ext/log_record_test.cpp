#include "pg_ext/log_record.hpp"

#include <gtest/gtest.h>

#include <random>

namespace rowmesh {
namespace {

struct Seen {
  TableId table;
  LogOp op;
  Key key;
  bool all;
  std::string mask;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> decode(std::string_view record) {
  std::vector<Seen> seen;
  decode_log_record(record, [&](const RecordedChange& change) {
    seen.push_back({change.table, change.op, Key(change.key), change.columns.all, std::string(change.columns.bytes)});
  });
  return seen;
}

class LogRecord : public ::testing::Test {
 protected:
  LogRecord() : bytes_(log_record_bytes) { start_record(writer_, bytes_.data(), bytes_.size()); }

  // As capture does: integers by their own way, masks for updates only.
  bool put(TableId table, LogOp op, RowView key, std::string mask = "") {
    Key encoded = op == LogOp::truncate ? Key() : encode_key(key);
    const auto* bits =
        op == LogOp::update && !mask.empty() ? reinterpret_cast<const unsigned char*>(mask.data()) : nullptr;
    auto bits_size = static_cast<std::uint16_t>(bits ? mask.size() : 0);
    bool room = key.size() == 1 && key[0].kind == ValueKind::integer
                    ? put_integer_key(writer_, table, op, key[0].integer, bits, bits_size)
                    : put_key(writer_, table, op, encoded.data(), encoded.size(), bits, bits_size);
    if (room) expected_.push_back({table, op, encoded, op == LogOp::update && !bits, bits ? mask : ""});
    return room;
  }
  std::string_view record() const { return {reinterpret_cast<const char*>(writer_.bytes), writer_.size}; }

  std::vector<unsigned char> bytes_;
  RunWriter writer_;
  std::vector<Seen> expected_;
};

TEST_F(LogRecord, GivesBackWhatWasPut) {
  Row extremes = {Value::of_integer(INT64_MIN), Value::of_integer(INT64_MAX), Value::of_integer(0),
                  Value::of_integer(-1)};
  for (const Value& value : extremes) ASSERT_TRUE(put(7, LogOp::insert, {&value, 1}));
  Row composite = {Value::of_text("it's"), Value::of_integer(3)};
  ASSERT_TRUE(put(7, LogOp::remove, composite));
  ASSERT_TRUE(put(7, LogOp::update, composite, std::string("\x05\x80", 2)));
  ASSERT_TRUE(put(8, LogOp::update, composite));
  ASSERT_TRUE(put(8, LogOp::truncate, {}));
  ASSERT_TRUE(put(8, LogOp::truncate, {}));
  EXPECT_EQ(expected_, decode(record()));
}

TEST_F(LogRecord, ARunOfCloseIntegersTakesAboutAByteEach) {
  for (std::int64_t id = 1000000; put(1, LogOp::insert, Row{Value::of_integer(id)}); id++) {}
  EXPECT_GT(expected_.size(), log_record_bytes - 40);
  EXPECT_EQ(expected_, decode(record()));
}

TEST_F(LogRecord, RandomChangesSurvive) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; round++) {
    start_record(writer_, bytes_.data(), bytes_.size());
    expected_.clear();
    for (bool room = true; room && expected_.size() < 500;) {
      auto op = static_cast<LogOp>(random() % 20 == 0 ? 3 : random() % 3);
      std::string text(random() % 40, 'x');
      Row key;
      if (op != LogOp::truncate) {
        if (random() % 2)
          key.push_back(Value::of_integer(static_cast<std::int64_t>(random() >> random() % 64)));
        else
          key = {Value::of_text(text), Value::of_real(1.5)};
      }
      std::string mask(random() % 3, static_cast<char>(random() % 255 + 1));
      room = put(static_cast<TableId>(random() % 3), op, key, mask);
    }
    ASSERT_EQ(expected_, decode(record()));
  }
}

TEST_F(LogRecord, SaysNoWhenThereIsNoRoomAndStaysWhole) {
  std::string large(log_record_bytes, 'k');
  ASSERT_TRUE(put(1, LogOp::insert, Row{Value::of_integer(1)}));
  EXPECT_FALSE(put(1, LogOp::insert, Row{Value::of_text(large)}));
  EXPECT_EQ(expected_, decode(record()));
}

TEST_F(LogRecord, DamagedBytesAreRefusedOrDecodeToSomethingElseButNeverReadOutside) {
  for (std::int64_t id = 0; id < 50; id++) put(1, LogOp::update, Row{Value::of_integer(id * 1000)}, "\x03");
  put(2, LogOp::insert, Row{Value::of_text("abc"), Value::of_text("d")});
  std::string whole(record());
  std::mt19937_64 random(2);
  int refused = 0;
  for (int round = 0; round < 5000; round++) {
    std::string damaged = whole.substr(0, 1 + random() % whole.size());
    damaged[random() % damaged.size()] = static_cast<char>(random());
    auto exact = std::make_unique<char[]>(damaged.size());  // so that a sanitizer sees every step outside
    std::copy(damaged.begin(), damaged.end(), exact.get());
    try {
      (void)decode({exact.get(), damaged.size()});
    } catch (const Error& error) {
      EXPECT_EQ(ErrorKind::corrupt, error.kind());
      refused++;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace rowmesh
