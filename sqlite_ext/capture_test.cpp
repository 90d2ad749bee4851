// The traps of trigger capture. The numbers are those of README.md's list.
#include "sqlite_ext/test_file.hpp"

namespace rowmesh::sqlite {
namespace {

class Capture : public ::testing::Test {
 protected:
  void table(const std::string& sql, const std::string& name = "t") {
    file.run(sql);
    add_table(file.db(), name);
  }
  // What the log says of the statements.
  std::string after(const std::string& sql) {
    file.read();
    file.run(sql);
    return file.read();
  }
  TestFile file;
};

TEST_F(Capture, NotesRowsDisplacedByReplace) {  // C1, C2
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE, v)");
  file.run("INSERT INTO t VALUES(1,'a',1),(2,'b',2),(3,'c',3)");
  EXPECT_EQ(after("INSERT OR REPLACE INTO t VALUES(9,'a',0)"), "R 1, I 9");
  EXPECT_EQ(after("UPDATE OR REPLACE t SET u='b' WHERE id=3"), "R 2, U 3(u)");
  EXPECT_EQ(after("INSERT OR REPLACE INTO t VALUES(9,'b',0)"), "R 3, R 9, I 9");
}

// Symptom: INSERT OR REPLACE of a key that was there was not shown on other servers; under an integer key it waited
// there behind the old row for ever. Mechanism: no delete trigger fires, so the insert looked like a second row of that
// key. Fix: that the key was taken is noted before.
TEST_F(Capture, NotesThatReplaceRemovedTheSameKey) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  file.run("INSERT INTO t VALUES(1,'a'),(2,'b')");
  EXPECT_EQ(after("INSERT OR REPLACE INTO t VALUES(1,'c')"), "R 1, I 1");
  EXPECT_EQ(after("REPLACE INTO t VALUES(1,'d'),(3,'e'),(2,'f')"), "R 1, I 1, I 3, R 2, I 2");
  EXPECT_EQ(after("UPDATE OR REPLACE t SET id=2 WHERE id=3"), "R 3, R 2, I 2");
  EXPECT_EQ(after("INSERT OR IGNORE INTO t VALUES(1,'g')"), "");
  EXPECT_EQ(after("INSERT INTO t VALUES(1,'h') ON CONFLICT(id) DO UPDATE SET v=excluded.v"), "U 1(v)");
  EXPECT_EQ(after("INSERT OR IGNORE INTO t VALUES(1,'i'); DELETE FROM t WHERE id=1; INSERT INTO t VALUES(1,'j')"),
            "R 1, I 1");
  EXPECT_EQ(after("INSERT INTO t(v) VALUES('k')"), "I 3");
  EXPECT_EQ(file.rows("SELECT count(*) FROM rowmesh_log"), "0");
}

TEST_F(Capture, DeletesNothingThatIgnoreOrUpsertLeft) {  // C3
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE, v)");
  file.run("INSERT INTO t VALUES(1,'a',1)");
  EXPECT_EQ(after("INSERT OR IGNORE INTO t VALUES(2,'a',1)"), "");
  EXPECT_EQ(after("INSERT INTO t(u,v) VALUES('a',7) ON CONFLICT(u) DO UPDATE SET v=excluded.v"), "U 1(v)");
  EXPECT_EQ(file.rows("SELECT count(*) FROM rowmesh_log"), "0");
}

TEST_F(Capture, UsesTheIndexCollation) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT); CREATE UNIQUE INDEX i ON t(u COLLATE NOCASE)");
  file.run("INSERT INTO t VALUES(1,'abc')");
  EXPECT_EQ(after("INSERT OR REPLACE INTO t VALUES(2,'ABC')"), "R 1, I 2");
}

TEST_F(Capture, KnowsPartialAndExpressionIndexes) {
  table(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, \"e mail\" TEXT, gone INT, note TEXT);"
      "CREATE UNIQUE INDEX i1 ON t(lower(\"e mail\")) WHERE gone = 0 AND note <> ') WHERE';"
      "CREATE UNIQUE INDEX i2 ON t ( /* , */ note COLLATE NOCASE DESC, (gone + 1) )");
  file.run("INSERT INTO t VALUES(1,'A@x',0,'n1'),(2,'A@x',1,'n2')");
  EXPECT_EQ(after("INSERT OR REPLACE INTO t VALUES(3,'a@X',0,'n3')"), "R 1, I 3");
  EXPECT_EQ(after("INSERT OR REPLACE INTO t VALUES(4,'zz',1,'N2')"), "R 2, I 4");
  EXPECT_EQ(after("UPDATE OR REPLACE t SET \"e mail\"='A@X', gone=0 WHERE id=4"), "R 3, U 4(e mail gone)");
}

TEST_F(Capture, SeesEveryRealChange) {  // C8, C9, C37
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, n TEXT COLLATE NOCASE, x, b BLOB)");
  file.run("INSERT INTO t VALUES(1,'abc',1,x'61')");
  EXPECT_EQ(after("UPDATE t SET n='ABC'"), "U 1(n)");
  EXPECT_EQ(after("UPDATE t SET x=1.0"), "U 1(x)");
  EXPECT_EQ(after("UPDATE t SET b='a'"), "U 1(b)");
  EXPECT_EQ(after("UPDATE t SET x=NULL"), "U 1(x)");
  EXPECT_EQ(after("UPDATE t SET n=n, x=x, b=b"), "");
}

TEST_F(Capture, SplitsKeyChanges) {  // C10, C11
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  file.run("INSERT INTO t VALUES(1,'a'),(2,'b')");
  EXPECT_EQ(after("UPDATE t SET rowid=5 WHERE id=1"), "R 1, I 5");
  EXPECT_EQ(after("UPDATE t SET id=6, v='c' WHERE id=5"), "R 5, I 6, U 6(v)");
  EXPECT_EQ(after("UPDATE OR REPLACE t SET id=2 WHERE id=6"), "R 6, R 2, I 2");
}

TEST_F(Capture, GoesWithItsTransaction) {  // C17, C18, C32
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  EXPECT_EQ(after("BEGIN; INSERT INTO t VALUES(1,1); SAVEPOINT s; INSERT INTO t VALUES(2,2); ROLLBACK TO s; COMMIT"),
            "I 1");
  EXPECT_EQ(after("BEGIN; INSERT INTO t VALUES(3,3); ROLLBACK"), "");
  EXPECT_EQ(after("DELETE FROM t"), "R 1");
  file.run("CREATE TRIGGER refuse BEFORE INSERT ON t WHEN NEW.v='no' BEGIN SELECT RAISE(IGNORE); END");
  EXPECT_EQ(after("INSERT INTO t VALUES(4,'no'),(5,'yes')"), "I 5");
}

TEST_F(Capture, SeesCascades) {  // C19, C20
  file.run(
      "PRAGMA foreign_keys=ON; CREATE TABLE p(id INTEGER PRIMARY KEY, u UNIQUE);"
      "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE)");
  add_table(file.db(), "*");
  file.run("INSERT INTO p VALUES(1,'a'); INSERT INTO c VALUES(7,1)");
  EXPECT_EQ(after("DELETE FROM p"), "R 7, R 1");
  file.run("INSERT INTO p VALUES(2,'a'); INSERT INTO c VALUES(8,2)");
  EXPECT_EQ(after("REPLACE INTO p VALUES(3,'a')"), "R 2, R 8, I 3");
}

TEST_F(Capture, TakesAnyValue) {  // C5, C6, C7
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  EXPECT_EQ(after("INSERT INTO t VALUES(1,x'00ff'),(2,9e999),(3,0.1+0.2),(4,'a'||char(0)||'b')"), "I 1, I 2, I 3, I 4");
  Table t = file.table("t");
  file.store().begin(TransactionKind::read);
  file.store().scan_rows(t, {}, [&](std::size_t index, KeyView, RowView row) {
    if (index == 0) {
      EXPECT_TRUE(same_value(row[1], Value::of_bytes({"\0\xff", 2})));
    }
    if (index == 2) {
      EXPECT_TRUE(same_value(row[1], Value::of_real(0.1 + 0.2)));
    }
    if (index == 3) {
      EXPECT_TRUE(same_value(row[1], Value::of_text({"a\0b", 3})));
    }
    return true;
  });
  file.store().commit();
}

TEST_F(Capture, TakesAnyKindOfTable) {  // C29, C30, C31
  table(
      "CREATE TABLE \"order\"(\"group by\" TEXT, \"a\"\"b\" INT, v, g AS (v||'!') STORED, PRIMARY KEY(\"group "
      "by\",\"a\"\"b\")) WITHOUT ROWID",
      "order");
  EXPECT_EQ(after("INSERT INTO \"order\" VALUES('x',1,'v'); UPDATE \"order\" SET v='w'; DELETE FROM \"order\""),
            "I 'x', 1, U 'x', 1(v), R 'x', 1");
  table("CREATE TABLE \"caf\xc3\xa9 t\"(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v ANY) STRICT", "CAF\xc3\xa9 T");
  EXPECT_EQ(after("INSERT INTO \"caf\xc3\xa9 t\" VALUES('K',1)"), "I 'k'");
}

TEST_F(Capture, HoldsEqualKeysForOne) {
  table("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v); CREATE TABLE u(k PRIMARY KEY NOT NULL)");
  add_table(file.db(), "u");
  EXPECT_EQ(after("INSERT INTO t VALUES('Abc',1); REPLACE INTO t VALUES('ABC',2); UPDATE t SET k='abC'"),
            "I 'abc', R 'abc', I 'abc', U 'abc'(k)");
  EXPECT_EQ(after("INSERT INTO u VALUES(1.0),('1')"), "I 1, I '1'");
}

TEST_F(Capture, DoesNotMindTriggersOfTheApplication) {  // C4
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  file.run("CREATE TRIGGER stamp AFTER INSERT ON t BEGIN UPDATE t SET v='stamped' WHERE id=NEW.id; END");
  file.run("CREATE TRIGGER swallow AFTER INSERT ON t WHEN NEW.v='x' BEGIN SELECT RAISE(IGNORE); END");
  file.store().maintain();  // ours are the youngest again, and so fire first
  EXPECT_EQ(after("INSERT INTO t VALUES(1,'x')"), "I 1");
  EXPECT_EQ(after("INSERT INTO t VALUES(2,'y')"), "I 2, U 2(v)");
}

TEST_F(Capture, WorksUnderEveryOuterClause) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)");
  for (std::string clause : {"REPLACE", "IGNORE", "FAIL", "ABORT", "ROLLBACK"}) {
    file.run("DELETE FROM t");
    EXPECT_EQ(after("INSERT OR " + clause + " INTO t VALUES(1,'a',1)"), "I 1") << clause;
    EXPECT_EQ(after("UPDATE OR " + clause + " t SET v=2"), "U 1(v)") << clause;
  }
}

TEST_F(Capture, WorksWithoutTrustInTheSchema) {  // C21
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)");
  file.run("PRAGMA trusted_schema=OFF; PRAGMA recursive_triggers=ON");
  EXPECT_EQ(after("INSERT INTO t VALUES(1,'a',1); REPLACE INTO t VALUES(2,'a',1)"), "I 1, R 1, R 1, I 2");
}

TEST_F(Capture, NumbersManyColumns) {
  std::string sql = "CREATE TABLE t(id INTEGER PRIMARY KEY", all = "UPDATE t SET ";
  for (int i = 1; i < 150; i++)
    sql += ",c" + std::to_string(i), all += (i > 1 ? "," : "") + ("c" + std::to_string(i)) + "=2";
  table(sql + ")");
  file.run("INSERT INTO t(id) VALUES(1)");
  EXPECT_EQ(after("UPDATE t SET c59=1"), "U 1(c59)");
  EXPECT_EQ(after("UPDATE t SET c60=1"), "U 1(c60)");
  EXPECT_EQ(after("UPDATE t SET c1=1, c149=1"), "U 1(c1), U 1(c149)");
  EXPECT_EQ(file.try_run(all), SQLITE_OK);
}

TEST_F(Capture, SurvivesAnAttachedWriter) {  // C26
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  file.read();
  sqlite3* other = nullptr;
  sqlite3_open(":memory:", &other);
  execute(other, "CREATE TABLE t(id); CREATE TABLE rowmesh_log(seq, tbl, mask, ts, k1); ATTACH '" + file.path() +
                     "' AS aux; INSERT INTO aux.t VALUES(4,4)");
  sqlite3_close(other);
  EXPECT_EQ(file.read(), "I 4");
}

TEST_F(Capture, RefusesWithASentence) {  // C27, C28, C36
  file.run(
      "CREATE TABLE nokey(a); CREATE VIEW v AS SELECT 1; CREATE TABLE nulls(k TEXT PRIMARY KEY); INSERT INTO nulls "
      "VALUES(NULL);"
      "CREATE VIRTUAL TABLE f USING fts5(a); CREATE TEMP TABLE tmp(id INTEGER PRIMARY KEY)");
  for (std::string name : {"nokey", "v", "nulls", "f", "f_data", "tmp", "sqlite_master", "rowmesh_state", "missing"}) {
    try {
      add_table(file.db(), name);
      ADD_FAILURE() << name << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::config) << name;
      EXPECT_GT(std::string(error.what()).size(), 20u);
    }
  }
  EXPECT_FALSE(is_enabled(file.db())) << "a refused table left something behind";
}

TEST_F(Capture, FollowsTheSchema) {  // C13, C14, C15
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)");
  file.run("INSERT INTO t VALUES(1,1,1)");
  file.read();
  file.run("ALTER TABLE t ADD COLUMN c; UPDATE t SET c=5");
  EXPECT_EQ(file.read(), "U 1(all)");
  EXPECT_EQ(after("UPDATE t SET c=6"), "U 1(c)");
  EXPECT_EQ(after("ALTER TABLE t RENAME COLUMN a TO aa; UPDATE t SET aa=2"), "U 1(all)");
  EXPECT_EQ(after("UPDATE t SET aa=3"), "U 1(aa)");
  EXPECT_EQ(after("ALTER TABLE t RENAME TO s; UPDATE s SET b=2"), "U 1(b)");
  EXPECT_EQ(file.rows("SELECT name, wire_name FROM rowmesh_table"), "s|t");
  EXPECT_NE(file.try_run("ALTER TABLE s DROP COLUMN b"), SQLITE_OK);
  file.run("BEGIN; DROP TRIGGER rowmesh_1_update; ALTER TABLE s DROP COLUMN b; COMMIT");
  EXPECT_EQ(after("UPDATE s SET aa=4, c=7"), "U 1(aa c)") << "a renamed column keeps its place";
}

TEST_F(Capture, ComesBackAfterARebuild) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)");
  file.run("INSERT INTO t VALUES(1,1,1)");
  file.read();
  file.run(
      "BEGIN; CREATE TABLE new_t(id INTEGER PRIMARY KEY, b, c, a); INSERT INTO new_t SELECT id,b,NULL,a FROM t; DROP "
      "TABLE t;"
      "ALTER TABLE new_t RENAME TO t; COMMIT");
  EXPECT_EQ(file.read(), "");
  EXPECT_NE(file.notices.find("rebuilt"), std::string::npos);
  EXPECT_EQ(after("UPDATE t SET a=2, c=2"), "U 1(a c)");
  EXPECT_EQ(file.table("t").columns[1].name, "a") << "columns keep their places for the core";
}

TEST_F(Capture, TakesNewTablesWithStar) {
  add_table(file.db(), "*");
  file.run("CREATE TABLE later(id INTEGER PRIMARY KEY)");
  file.store().maintain();
  EXPECT_EQ(after("INSERT INTO later VALUES(3)"), "I 3");
  remove_table(file.db(), "*");
  EXPECT_EQ(after("INSERT INTO later VALUES(4)"), "");
}

TEST_F(Capture, StarLeavesOutWhatMigrationToolsNote) {
  file.run("CREATE TABLE django_migrations(id INTEGER PRIMARY KEY, app); CREATE TABLE t(id INTEGER PRIMARY KEY)");
  add_table(file.db(), "*");
  EXPECT_EQ(after("INSERT INTO django_migrations VALUES(1,'notes'); INSERT INTO t VALUES(2)"), "I 2");
  add_table(file.db(), "django_migrations");
  EXPECT_EQ(after("INSERT INTO django_migrations VALUES(3,'notes')"), "I 3") << "who names it wants it";
}

TEST_F(Capture, ATableThatWasRemovedStaysAway) {
  add_table(file.db(), "*");
  file.run("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  file.store().maintain();
  remove_table(file.db(), "t");
  file.run("CREATE INDEX something ON t(id)");
  file.store().maintain();
  EXPECT_EQ(after("INSERT INTO t VALUES(1)"), "");
}

// A migration tool that commits each step, looked at between any two of them.
TEST_F(Capture, ARebuildInStepsIsOneTable) {
  for (std::string between : {"_alembic_tmp_t", "new__t", "some_name"}) {
    SCOPED_TRACE(between);
    file.run("DROP TABLE IF EXISTS t; CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    add_table(file.db(), "*");
    file.store().maintain();
    file.run("DELETE FROM t");
    file.read();
    for (std::string step : {"CREATE TABLE " + between + "(id INTEGER PRIMARY KEY, a, b)",
                             "INSERT INTO " + between + "(id, a) SELECT id, a FROM t", std::string("DROP TABLE t"),
                             "ALTER TABLE " + between + " RENAME TO t"}) {
      file.run(step);
      file.store().maintain();
    }
    file.read();
    EXPECT_EQ(file.rows("SELECT name, wire_name FROM rowmesh_table"), "t|t");
    EXPECT_EQ(after("INSERT INTO t VALUES(1, 2, 3)"), "I 1");
  }
}

TEST_F(Capture, CanBeSuspendedAndRemoved) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b UNIQUE)");
  suspend_table(file.db(), "t");
  EXPECT_EQ(file.try_run("ALTER TABLE t DROP COLUMN a"), SQLITE_OK);
  EXPECT_EQ(after("INSERT INTO t VALUES(1,1)"), "");
  resume_table(file.db(), "t");
  EXPECT_EQ(after("INSERT INTO t VALUES(2,2)"), "I 2");
  file.close_store();
  remove_schema(file.db());
  EXPECT_EQ(file.rows("SELECT name FROM sqlite_master WHERE name LIKE 'rowmesh%'"), "");
  EXPECT_EQ(file.try_run("INSERT INTO t VALUES(3,3)"), SQLITE_OK);
}

TEST_F(Capture, GivesVersionsByTime) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  file.run("INSERT INTO t VALUES(1)");
  file.run("UPDATE rowmesh_log SET ts=julianday('2020-01-01')");
  file.read();
  EXPECT_EQ(hlc_to_ms(file.last_hlc), 1577836800000u);
  file.run("INSERT INTO t VALUES(2)");
  file.run("UPDATE rowmesh_log SET ts=julianday('2100-01-01')");
  TestWall wall;
  file.read();
  EXPECT_LE(hlc_to_ms(file.last_hlc), wall.now_ms() + 1) << "nobody writes in the future";
  file.run("INSERT INTO t VALUES(3)");
  file.run("UPDATE rowmesh_log SET ts='nonsense'");
  EXPECT_EQ(file.read(), "I 3");
}

// An edit of Monday that is read on Friday does not go back behind what was announced as complete meanwhile.
TEST_F(Capture, H16d_AnOldEditIsFoldedBehindWhatIsKnown) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  file.run("INSERT INTO t VALUES(1)");
  file.read();
  Hlc announced = file.last_read.watermark;
  file.run("INSERT INTO t VALUES(2)");
  file.run("UPDATE rowmesh_log SET ts=julianday('2020-01-01')");
  ASSERT_EQ(file.read(), "I 2");
  EXPECT_GT(file.last_hlc, announced);
}

TEST_F(Capture, IsGivenAgainAfterARollback) {
  table("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  file.run("INSERT INTO t VALUES(1)");
  file.store().begin(TransactionKind::read);
  int seen = 0;
  file.store().read_log([&](const LogEntry&) { seen++; });
  file.store().rollback();
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(file.read(), "I 1");
  EXPECT_EQ(file.read(), "");
}

}  // namespace
}  // namespace rowmesh::sqlite
