-- An application's role without any right on rowmesh, with a hostile session.
\set VERBOSITY terse
CREATE ROLE rowmesh_test_app;
CREATE SCHEMA hostile AUTHORIZATION rowmesh_test_app;
CREATE TABLE ledger (id int PRIMARY KEY, v text);
CREATE TABLE grown (id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
ALTER TABLE grown OWNER TO rowmesh_test_app;
GRANT CREATE ON SCHEMA public TO rowmesh_test_app;
GRANT ALL ON ledger TO rowmesh_test_app;
SELECT rowmesh.add_table('ledger'), rowmesh.add_table('grown');
SET ROLE rowmesh_test_app;
CREATE FUNCTION hostile.max(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hostile function was called'; END $$;
CREATE TABLE hostile.log_0 (xid int);
SET search_path = hostile, public, pg_catalog;
SET DateStyle = 'SQL, DMY';
SET statement_timeout = '10s';
INSERT INTO ledger VALUES (1, 'a');
UPDATE ledger SET v = 'b';
SET default_transaction_isolation = 'serializable';
DELETE FROM ledger;
CREATE TABLE grown_1 PARTITION OF grown FOR VALUES FROM (0) TO (10);
INSERT INTO grown VALUES (1);
-- Nothing of rowmesh is open to it.
SELECT * FROM rowmesh.status;
SELECT rowmesh.add_table('ledger');
SELECT * FROM rowmesh.log_0;
RESET ALL;
RESET ROLE;
SELECT t.wire_name, op, key FROM rowmesh.log_entries() JOIN rowmesh.replicated_table t ON t.id = table_id;

-- The roles.
CREATE ROLE rowmesh_test_watcher IN ROLE rowmesh_monitor;
CREATE ROLE rowmesh_test_boss IN ROLE rowmesh_admin;
SELECT rowmesh.add_server('mars', 'http://127.0.0.1:21299', 'a secret', enabled => false);
SET ROLE rowmesh_test_watcher;
SELECT server, url, direction, enabled FROM rowmesh.status;
SELECT "table" FROM rowmesh.tables;
SELECT secret FROM rowmesh.server;
SELECT rowmesh.disable_server('mars');
SET ROLE rowmesh_test_boss;
SELECT rowmesh.remove_server('mars');
SELECT rowmesh.remove_table('*');
SELECT secret FROM rowmesh.server;
RESET ROLE;
DROP SCHEMA hostile CASCADE;
DROP TABLE ledger, grown;
REVOKE CREATE ON SCHEMA public FROM rowmesh_test_app;
DROP ROLE rowmesh_test_app, rowmesh_test_watcher, rowmesh_test_boss;
