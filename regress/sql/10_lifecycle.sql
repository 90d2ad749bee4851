-- Away and back, while the worker runs; and a database that is dropped under its worker.
\set VERBOSITY terse
CREATE TABLE kept (id int PRIMARY KEY);
SELECT rowmesh.add_table('kept');
INSERT INTO kept VALUES (1);
SELECT origin AS first_origin FROM rowmesh.node() \gset
SET client_min_messages = warning;
DROP EXTENSION rowmesh;
DROP EXTENSION rowmesh CASCADE;
INSERT INTO kept VALUES (2);
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rowmesh%';
BEGIN;
CREATE EXTENSION rowmesh;
ROLLBACK;
CREATE EXTENSION rowmesh;
SELECT origin <> :'first_origin' AS another_origin FROM rowmesh.node();
SELECT rowmesh.add_table('kept');
INSERT INTO kept VALUES (3);
SELECT key FROM rowmesh.log_entries();
-- Changes and the end of the extension in one transaction.
BEGIN;
INSERT INTO kept VALUES (4);
DROP EXTENSION rowmesh CASCADE;
COMMIT;
SELECT array_agg(id ORDER BY id) FROM kept;
CREATE EXTENSION rowmesh;

CREATE FUNCTION worker_runs(base text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..300 LOOP
    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = base AND backend_type = 'rowmesh worker') THEN RETURN true; END IF;
    PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
  END LOOP;
  RETURN false;
END $$;
SELECT worker_runs(current_database());
CREATE DATABASE rowmesh_regress_two;
\c rowmesh_regress_two
CREATE EXTENSION rowmesh;
\c rowmesh_regress
SELECT worker_runs('rowmesh_regress_two');
ALTER DATABASE rowmesh_regress_two RENAME TO rowmesh_regress_three;
SELECT worker_runs('rowmesh_regress_three');
DROP DATABASE rowmesh_regress_three;
SELECT count(*) FROM pg_database WHERE datname LIKE 'rowmesh_regress_t%';
DROP FUNCTION worker_runs(text);
DROP TABLE kept;
