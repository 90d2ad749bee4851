// Writing what others changed: triggers, constraints, values.
#include <cmath>

#include "sqlite_ext/test_file.hpp"

namespace rowmesh::sqlite {
namespace {

class Apply : public ::testing::Test {
 protected:
  void table(const std::string& sql, const std::string& name = "t") {
    file.run(sql);
    add_table(file.db(), name);
  }
  WriteResult insert(const Row& row, const std::vector<ColumnType>& types = {}, const std::string& name = "t") {
    return file.write(name, WriteKind::insert, row, nullptr, types);
  }
  // Stored value and its class after a write of one value of a wire type to a column declared so.
  std::string stored(const std::string& declared, const Value& value, ColumnType wire) {
    std::string name = "v" + std::to_string(++tables_);
    table("CREATE TABLE " + name + "(id INTEGER PRIMARY KEY, v " + declared + ")", name);
    Row row = {Value::of_integer(1), value};
    WriteResult result = insert(row, {ColumnType::integer, wire}, name);
    if (result.status == WriteResult::refused) return "refused";
    return file.rows("SELECT typeof(v) || ':' || v FROM " + name);
  }
  TestFile file;

 private:
  int tables_ = 0;
};

Value text(std::string_view text) { return Value::of_text(text); }
Value number(std::int64_t number) { return Value::of_integer(number); }

TEST_F(Apply, RunsLocalTriggersWithoutDoublesAndEchoes) {
  file.run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE other(id INTEGER PRIMARY KEY, v); CREATE TABLE "
      "seen(id, v);"
      "CREATE VIRTUAL TABLE f USING fts5(v)");
  add_table(file.db(), "t");
  add_table(file.db(), "other");
  file.run("INSERT INTO other VALUES(7,'keep')");
  file.run(
      "CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO f(rowid, v) VALUES(NEW.id, NEW.v); INSERT INTO seen "
      "VALUES(NEW.id, NEW.v);"
      "INSERT INTO other VALUES(NEW.id, 'by trigger'); UPDATE other SET v='changed' WHERE id=7; END;"
      "CREATE TRIGGER b AFTER UPDATE ON t BEGIN DELETE FROM other WHERE id=7; DELETE FROM seen; END");
  file.read();
  EXPECT_EQ(insert({number(1), text("hello")}).status, WriteResult::ok);
  EXPECT_EQ(file.rows("SELECT rowid FROM f WHERE f MATCH 'hello'"), "1");
  EXPECT_EQ(file.rows("SELECT * FROM seen"), "1|hello");
  EXPECT_EQ(file.rows("SELECT * FROM other"), "7|keep") << "the origin's own change brings what its trigger did";
  EXPECT_EQ(file.write("t", WriteKind::update, {number(1), text("again")}).status, WriteResult::ok);
  EXPECT_EQ(file.rows("SELECT * FROM seen"), "");
  EXPECT_EQ(file.rows("SELECT * FROM other"), "7|keep");
  EXPECT_EQ(file.rows("SELECT count(*) FROM rowmesh_log"), "0");
  EXPECT_EQ(file.read(), "");
  file.run("INSERT INTO t VALUES(2,'local')");
  EXPECT_EQ(file.rows("SELECT * FROM other"), "2|by trigger 7|changed");
}

TEST_F(Apply, SaysWhyARowIsRefused) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT CHECK(v<>'bad') NOT NULL)");
  file.run(
      "CREATE TRIGGER r BEFORE INSERT ON t WHEN NEW.v='raise' BEGIN SELECT RAISE(ABORT,'not like this'); END;"
      "CREATE TRIGGER i BEFORE INSERT ON t WHEN NEW.v='ignore' BEGIN SELECT RAISE(IGNORE); END;"
      "CREATE TRIGGER k BEFORE INSERT ON t WHEN NEW.v='rollback' BEGIN SELECT RAISE(ROLLBACK,'all of it'); END");
  auto refused = [&](const Value& value) {
    WriteResult result = insert({number(1), value});
    EXPECT_EQ(result.status, WriteResult::refused);
    return result.code + " " + result.reason;
  };
  EXPECT_NE(refused(text("bad")).find("SQLITE_CONSTRAINT_CHECK"), std::string::npos);
  EXPECT_NE(refused(Value::of_null()).find("SQLITE_CONSTRAINT_NOTNULL"), std::string::npos);
  EXPECT_NE(refused(text("raise")).find("not like this"), std::string::npos);
  EXPECT_NE(refused(text("ignore")).find("RAISE(IGNORE)"), std::string::npos);
  EXPECT_THROW(insert({number(1), text("rollback")}), Error);
  file.store().rollback();
  EXPECT_NE(refused(text("rollback")).find("RAISE(ROLLBACK)"), std::string::npos);
}

TEST_F(Apply, DisplacesNothingByConflictClauses) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE ON CONFLICT REPLACE)");
  file.run("INSERT INTO t VALUES(1,'a')");
  file.read();
  WriteResult result = insert({number(2), text("a")});
  EXPECT_EQ(result.status, WriteResult::unique);
  EXPECT_EQ(file.rows("SELECT * FROM t"), "1|a");
}

TEST_F(Apply, NamesTheIndexOfAPartialUpdate) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, UNIQUE(a,b))");
  file.run("INSERT INTO t VALUES(1,'x','y'),(2,'x','z')");
  file.read();
  ColumnSet only_b;
  only_b.add(2);
  EXPECT_EQ(file.write("t", WriteKind::update, {number(2), text("ignored"), text("y")}, &only_b).status,
            WriteResult::unique);
}

TEST_F(Apply, QuarantinesWhatAnUnknownFunctionBlocks) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  sqlite3_create_function_v2(
      file.db(), "app_only", 1, SQLITE_UTF8, nullptr,
      [](sqlite3_context* context, int, sqlite3_value**) { sqlite3_result_null(context); }, nullptr, nullptr, nullptr);
  file.run("CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT app_only(NEW.v); END");
  WriteResult result = insert({number(1), text("x")});
  EXPECT_EQ(result.status, WriteResult::refused);
  EXPECT_NE(result.reason.find("app_only"), std::string::npos);
}

TEST_F(Apply, KeepsTheKeySpelling) {
  table("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v)");
  file.run("INSERT INTO t VALUES('Abc',1)");
  file.read();
  EXPECT_EQ(insert({text("ABC"), number(2)}).status, WriteResult::raced) << "the engine holds them for one row";
  ColumnSet only_v;
  only_v.add(1);
  EXPECT_EQ(file.write("t", WriteKind::update, {text("ABC"), number(2)}, &only_v).status, WriteResult::ok);
  EXPECT_EQ(file.rows("SELECT * FROM t"), "Abc|2");
}

TEST_F(Apply, WritesTimestampsAsOrmsReadThem) {
  EXPECT_EQ(stored("DATETIME", text("2026-01-31T12:00:00"), ColumnType::timestamp), "text:2026-01-31 12:00:00.000000");
  EXPECT_EQ(stored("DATETIME", text("2026-01-31T12:00:00.5"), ColumnType::timestamp),
            "text:2026-01-31 12:00:00.500000");
  EXPECT_EQ(stored("TIMESTAMP", text("2026-01-31T12:00:00.123456Z"), ColumnType::timestamptz),
            "text:2026-01-31 12:00:00.123456");
  EXPECT_EQ(stored("DATETIME", text("2026-01-31 12:00:00"), ColumnType::timestamp), "text:2026-01-31 12:00:00");
  EXPECT_EQ(stored("DATETIME", text("infinity"), ColumnType::timestamp), "text:infinity");
  set_setting(file.db(), "datetime_fraction", "nonzero");
  file.store().config_generation();
  EXPECT_EQ(stored("DATETIME", text("2026-01-31T12:00:00"), ColumnType::timestamp), "text:2026-01-31 12:00:00");
}

TEST_F(Apply, BendsNoNumber) {
  EXPECT_EQ(stored("NUMERIC(10,2)", text("1.10"), ColumnType::numeric), "real:1.1");
  EXPECT_EQ(stored("NUMERIC", text("42"), ColumnType::numeric), "integer:42");
  EXPECT_EQ(stored("NUMERIC", text("123456789012345678901234.5"), ColumnType::numeric), "refused");
  EXPECT_EQ(stored("TEXT", text("123456789012345678901234.5"), ColumnType::numeric), "text:123456789012345678901234.5");
  EXPECT_EQ(stored("NUMERIC", text("1e400"), ColumnType::numeric), "refused");
  EXPECT_EQ(stored("INTEGER", text("007"), ColumnType::text), "refused");
  EXPECT_EQ(stored("TEXT", text("007"), ColumnType::text), "text:007");
  EXPECT_EQ(stored("", text("007"), ColumnType::any), "text:007");
  EXPECT_EQ(stored("REAL", number((1LL << 53) + 1), ColumnType::integer), "refused");
  EXPECT_EQ(stored("REAL", Value::of_real(std::nan("")), ColumnType::real), "refused");
  EXPECT_EQ(stored("BOOLEAN", Value::of_boolean(true), ColumnType::boolean), "integer:1");
  EXPECT_EQ(stored("VARCHAR", Value::of_boolean(false), ColumnType::boolean), "text:0");
  EXPECT_EQ(stored("TEXT", Value::of_real(0.1 + 0.2), ColumnType::real), "text:0.30000000000000004");
  EXPECT_EQ(stored("TEXT", Value::of_bytes("ab"), ColumnType::bytes), "blob:ab");
}

// Written as a double in another SQLite file, it is spelt by PostgreSQL with zeros at its end: it comes back as it was.
TEST_F(Apply, TakesALargeDoubleThatWasANumeric) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v NUMERIC)");
  WriteResult result = insert({number(1), text("12345678901234567000")}, {ColumnType::integer, ColumnType::numeric});
  EXPECT_NE(result.status, WriteResult::refused) << result.reason;
  EXPECT_EQ(file.rows("SELECT typeof(v), v = 1.2345678901234567e19 FROM t"), "real|1");
}

TEST_F(Apply, ParsesDoublesExactly) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v NUMERIC)");
  for (double wanted : {0.1, 1e23, 8.41e21, 5e-324, 1.7976931348623157e308, 9007199254740993.5, 0.3}) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.17g", wanted);
    file.run("DELETE FROM t");
    WriteResult result = insert({number(1), text(digits)}, {ColumnType::integer, ColumnType::real});
    if (result.status == WriteResult::refused) continue;  // more digits than its shortest form: exact numerics only
    Statement query(file.db(), "SELECT v FROM t");
    query.step();
    EXPECT_EQ(query.real(0), wanted) << digits;
  }
}

TEST_F(Apply, TakesDefaultsForColumnsOfOursAlone) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v, mine TEXT NOT NULL DEFAULT 'here', g AS (v+1))");
  EXPECT_EQ(insert({number(1), number(5), Value::of_omitted()}).status, WriteResult::ok);
  EXPECT_EQ(file.rows("SELECT * FROM t"), "1|5|here|6");
}

TEST_F(Apply, RefusesKeysThatItCannotHold) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  EXPECT_EQ(insert({text("12"), number(1)}).status, WriteResult::ok);
  EXPECT_EQ(file.rows("SELECT typeof(id), id FROM t"), "integer|12");
  WriteResult result = insert({text("abc"), number(1)});
  EXPECT_EQ(result.status, WriteResult::refused);
  EXPECT_NE(result.reason.find("id"), std::string::npos);
}

TEST_F(Apply, NoticesASchemaChange) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  Table before = file.table("t");
  std::uint64_t generation = file.store().config_generation();
  file.run("ALTER TABLE t ADD COLUMN w");
  EXPECT_GT(file.store().config_generation(), generation);
  file.store().begin(TransactionKind::read);
  EXPECT_THROW(file.store().scan_rows(before, {}, [](auto, auto, auto) { return true; }), Error);
  file.store().rollback();
}

TEST_F(Apply, PublishesItsStatus) {
  ensure_schema(file.db());
  NodeStatus status;
  status.blocked = "because";
  status.servers.push_back({});
  status.servers[0].name = "office";
  file.store().publish_status(status);
  EXPECT_EQ(file.store().latest_status().blocked, "because");
  EXPECT_EQ(file.rows("SELECT json_extract(status,'$.servers[0].name') FROM rowmesh_published"), "office");
  file.run("BEGIN IMMEDIATE");
  status.blocked = "";
  file.store().flush_status();
  file.run("COMMIT");
}

}  // namespace
}  // namespace rowmesh::sqlite
