"""Rights: an application's role needs none on rowmesh, and gets none by it; and names of all kinds."""
import psycopg2
from harness import ClusterTest
from nodes import link, wait_linked

HOSTILE_NAMES = ['plain', 'with space', 'quo"te', "apo'strophe", 'semi;colon', '"; DROP TABLE note; --', "'; DROP TABLE note; --", 'new\nline', 'tab\tand\\backslash', 'Ünïcödé 表 ☃',
                 'x' * 63, 'é' * 31, 'select', '%s %d', '$1', '{"json": 1}', '<b>html</b>', '-- comment', '/* comment', 'a.b.c', 'CamelCase']


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Rights(ClusterTest):
    def pair(self):
        office, shop = self.postgres("office"), self.sqlite("shop")
        return office, shop

    def test_the_owner_of_a_table_does_not_become_a_superuser(self):
        """Symptom: functions of a table's owner (CHECK, domain, generated column, index expression, trigger) ran as the superuser that the worker is,
        when a row came from another server. Mechanism: the worker wrote as itself. Mend: it writes as the owner of the table (pg_ext/as_owner.hpp)."""
        office, shop = self.pair()
        office.run("""
            CREATE ROLE mallory; CREATE SCHEMA lair AUTHORIZATION mallory; SET ROLE mallory; SET search_path = lair;
            CREATE TABLE seen (place text, who text, super text);
            CREATE FUNCTION spy(place text) RETURNS boolean LANGUAGE plpgsql AS $$
            BEGIN
              INSERT INTO lair.seen VALUES (place, current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user));
              BEGIN
                PERFORM set_config('session_replication_role', 'origin', false);
              EXCEPTION WHEN insufficient_privilege THEN
                NULL;
              END;
              RETURN true;
            END $$;
            CREATE FUNCTION spying(place text, v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM lair.spy(place); RETURN v; END $$;
            CREATE DOMAIN spied AS text CHECK (lair.spy('domain'));
            CREATE TABLE item (id text PRIMARY KEY, v text CHECK (lair.spy('check')), d spied, g text GENERATED ALWAYS AS (lair.spying('generated', v)) STORED);
            CREATE INDEX ON item (lair.spying('index', v));
            CREATE TABLE keyed (id spied PRIMARY KEY, v text);
            CREATE FUNCTION on_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.spy(TG_NAME); PERFORM set_config('DateStyle', 'German', false); RETURN NEW; END $$;
            CREATE TRIGGER row_trigger BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION on_write();
            CREATE CONSTRAINT TRIGGER deferred_trigger AFTER INSERT OR UPDATE ON item DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION on_write();
            ALTER TABLE item ENABLE ALWAYS TRIGGER row_trigger; ALTER TABLE item ENABLE REPLICA TRIGGER deferred_trigger;
            RESET ROLE; RESET search_path""")
        shop.run("CREATE TABLE item (id TEXT PRIMARY KEY, v TEXT, d TEXT); CREATE TABLE keyed (id TEXT PRIMARY KEY, v TEXT); CREATE TABLE day (id INTEGER PRIMARY KEY, d DATE)")
        office.run("CREATE TABLE day (id integer PRIMARY KEY, d date)")
        for table in ("item", "keyed"):
            office.call("add_table", f"lair.{table}", name=table)
        office.call("add_table", "day")
        shop.call("add_table", "*")
        link(office, shop)
        wait_linked([(office, shop)])
        shop.run("INSERT INTO item VALUES ('a', 'one', 'x')")
        shop.run("INSERT INTO keyed VALUES ('k', 'one')")
        self.wait_for(lambda: office.one("SELECT count(*) FROM lair.item") + office.one("SELECT count(*) FROM lair.keyed"), lambda rows: rows == 2, "both rows came")
        shop.run("UPDATE item SET v = 'two'")
        shop.run("UPDATE keyed SET v = 'two'")
        self.wait_for(lambda: office.run("SELECT v FROM lair.item UNION ALL SELECT v FROM lair.keyed"), lambda rows: rows == [("two",), ("two",)], "both changes came")
        places = {place for place, in office.run("SELECT DISTINCT place FROM lair.seen")}
        self.assertLessEqual({"check", "domain", "generated", "index", "row_trigger", "deferred_trigger"}, places)
        self.assertEqual([("mallory", "false")], office.run("SELECT DISTINCT who, super FROM lair.seen"))
        office.run("INSERT INTO day VALUES (1, '2026-03-04')")   # and the worker's own settings are its own again
        self.wait_for(lambda: shop.run("SELECT d FROM day"), lambda rows: rows == [("2026-03-04",)], "a date travels in the one form")
        self.assert_quiet([office, shop])

    def test_row_level_security_hides_nothing_from_replication(self):
        office, shop = self.pair()
        office.run("""CREATE ROLE clerk; CREATE TABLE note (id integer PRIMARY KEY, who text DEFAULT current_user, v text);
                      ALTER TABLE note ENABLE ROW LEVEL SECURITY; ALTER TABLE note FORCE ROW LEVEL SECURITY;
                      CREATE POLICY own ON note USING (who = current_user) WITH CHECK (who = current_user);
                      GRANT ALL ON note TO clerk""")
        shop.run("CREATE TABLE note (id INTEGER PRIMARY KEY, who TEXT, v TEXT)")
        self.join([office, shop], [(office, shop)])
        office.run("SET ROLE clerk; INSERT INTO note (id, v) VALUES (1, 'of the clerk'); RESET ROLE")
        shop.run("INSERT INTO note VALUES (2, 'nobody here', 'of the shop')")
        self.wait_equal([office, shop])
        office.run("SET ROLE clerk")
        self.assertEqual([(1,)], office.run("SELECT id FROM note"))
        with self.assertRaises(psycopg2.Error):
            office.run("SELECT * FROM rowmesh.status")
        office.run("RESET ROLE")

    def test_an_administrator_is_not_fooled_by_his_search_path(self):
        office = self.postgres("office", "CREATE TABLE note (id integer PRIMARY KEY, v text)")
        office.run("""
            CREATE ROLE mallory; CREATE ROLE boss IN ROLE rowmesh_admin; CREATE SCHEMA trap AUTHORIZATION mallory; GRANT USAGE ON SCHEMA trap TO PUBLIC; SET ROLE mallory;
            CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sprung as %', current_user; END $$;
            CREATE FUNCTION trap.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT trap.spring()';
            CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.same);
            CREATE FUNCTION trap.joined(text, text) RETURNS text LANGUAGE sql AS 'SELECT trap.spring()::text';
            CREATE OPERATOR trap.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.joined);
            CREATE FUNCTION trap.rtrim(text, text) RETURNS text LANGUAGE sql AS 'SELECT trap.spring()::text';
            CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT trap.spring()::text';
            CREATE FUNCTION trap.count() RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring()::int';
            CREATE TABLE trap.server (id int, name text); CREATE TABLE trap.state (x int); CREATE TABLE trap.pg_class (oid oid);
            RESET ROLE; SET ROLE boss; SET search_path = trap, pg_catalog, public""")
        office.call("add_table", "public.note")
        office.call("add_server", "mars", "http://127.0.0.1:1", "a secret", enabled=False)
        office.call("alter_server", "mars", url="http://127.0.0.1:2", secret="another", schedule="00:00-01:00", compression="on")
        for call in ("health", "queue_size", "node", "enable", "disable", "log_entries"):
            office.call(call)
        for view in ("status", "tables", "conflicts", "quarantine", "dangling"):
            office.view(view)
        office.call("enable_server", "mars")
        office.call("disable_server", "mars")
        office.call("remove_server", "mars")
        office.call("remove_table", "public.note")

    def test_every_function_has_its_own_search_path(self):
        """Those that look a name up as the caller would are not SECURITY DEFINER and do nothing else."""
        office = self.postgres("office")
        loose = office.run("""SELECT p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'rowmesh'::regnamespace
                              AND l.lanname <> 'c' AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c = 'search_path=pg_catalog, pg_temp') ORDER BY 1""")
        self.assertEqual([("add_table",), ("copy",), ("remove_table",)], [row for row in loose if row[0] not in ("add_reference", "repair", "verify", "stagger")])
        self.assertEqual([], office.run("""SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'rowmesh'::regnamespace AND p.prosecdef
                                           AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c = 'search_path=pg_catalog, pg_temp')"""))
        self.assertEqual([("capture",), ("capture_truncate",), ("id",)],
                         office.run("""SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'rowmesh'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1"""))

    def test_hostile_names_of_tables_columns_and_servers(self):
        office, shop = self.pair()
        for node in (office, shop):
            node.run("CREATE TABLE note (id INTEGER PRIMARY KEY, v TEXT)")
            for name in HOSTILE_NAMES:
                if name != "plain":
                    node.run(f"CREATE TABLE {quoted(name)} ({quoted('id ' + name[:28])} INTEGER PRIMARY KEY, {quoted(name)} TEXT)")
        self.join([office, shop], [(office, shop)])
        names = [name for name in HOSTILE_NAMES if name != "plain"]
        for node, id in ((office, 1), (shop, 2)):
            for name in names:
                node.run(f"INSERT INTO {quoted(name)} VALUES ({id}, ?)", name)
        self.wait_equal([office, shop])
        for name in names:
            office.run(f"UPDATE {quoted(name)} SET {quoted(name)} = 'changed' WHERE {quoted('id ' + name[:28])} = 2")
            shop.run(f"DELETE FROM {quoted(name)} WHERE {quoted('id ' + name[:28])} = 1")
        self.wait_equal([office, shop])
        self.assert_quiet([office, shop])
        for node in (office, shop):
            self.assertLessEqual(len(names), len(node.view("tables")))
            for name in HOSTILE_NAMES:
                node.call("add_server", name, None, "a secret of its own", enabled=False)
                self.assertIn(name, [row["server"] for row in node.view("status")])
                node.call("enable_server", name)
                node.call("alter_server", name, direction="push")
                node.call("health")
                node.call("remove_server", name)
        self.assertEqual(1, len(office.view("status")))
        self.assertEqual([], office.run("SELECT * FROM note"), "the table is still there")

    def test_the_functions_of_sqlite_are_for_direct_calls_only(self):
        """A file from somebody else must not make its reader configure or connect."""
        shop = self.sqlite("shop")
        shop.run("CREATE TABLE note (id INTEGER PRIMARY KEY, v TEXT)")
        for call in ("rowmesh_add_server('x', 'http://127.0.0.1:1', 's')", "rowmesh_config('listen', '127.0.0.1:1')", "rowmesh_start()", "rowmesh_add_table('note')", "rowmesh_disable()",
                     "rowmesh_test_server('x')", "rowmesh_copy('x')", "rowmesh_stop()", "rowmesh_retry()", "rowmesh_discard(1)", "rowmesh_remove_table('note')", "rowmesh_wait()", "rowmesh_run()"):
            shop.run(f"DROP VIEW IF EXISTS trap; CREATE VIEW trap AS SELECT {call} AS x")
            with self.assert_says("unsafe use of"):
                shop.ask("SELECT * FROM trap")
