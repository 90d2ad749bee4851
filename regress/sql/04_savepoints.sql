-- What a savepoint undoes was never captured.
\set VERBOSITY terse
CREATE TABLE spot (id int PRIMARY KEY, v int);
SELECT rowmesh.add_table('spot');
BEGIN;
INSERT INTO spot VALUES (1);
SAVEPOINT a;
INSERT INTO spot VALUES (2);
SAVEPOINT b;
INSERT INTO spot VALUES (3);
ROLLBACK TO b;
INSERT INTO spot VALUES (4);
RELEASE a;
INSERT INTO spot VALUES (5);
SAVEPOINT c;
INSERT INTO spot SELECT g FROM generate_series(1000, 20000) g;  -- does not fit into the buffer
ROLLBACK TO c;
INSERT INTO spot VALUES (6);
COMMIT;
DO $$
BEGIN
  FOR i IN 100..109 LOOP
    BEGIN
      INSERT INTO spot VALUES (i);
      IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
SELECT key FROM rowmesh.log_entries() WHERE op = 'insert' AND table_id = (SELECT max(id) FROM rowmesh.replicated_table) ORDER BY key::int;
SELECT (SELECT array_agg(id ORDER BY id) FROM spot) =
       (SELECT array_agg(key::int ORDER BY key::int) FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table)) AS all_and_no_more;

-- The order of a row's own changes stays.
BEGIN;
DELETE FROM spot WHERE id = 1;
SAVEPOINT d;
INSERT INTO spot VALUES (1, 2);
RELEASE d;
UPDATE spot SET v = 3 WHERE id = 1;
COMMIT;
SELECT op, columns FROM rowmesh.log_entries() WHERE key = '1' AND table_id = (SELECT max(id) FROM rowmesh.replicated_table);

-- COMMIT inside of a block: two transactions.
DO $$ BEGIN INSERT INTO spot VALUES (200); COMMIT; INSERT INTO spot VALUES (201); END $$;
SELECT count(DISTINCT xid) FROM rowmesh.log_entries() WHERE key IN ('200', '201');
-- A deferred trigger that writes at commit.
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE spot SET v = 9 WHERE id = 201; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON spot DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
INSERT INTO spot VALUES (300);
SELECT op, key FROM rowmesh.log_entries() WHERE xid = (SELECT max(xid::text::bigint)::text::xid8 FROM rowmesh.log_entries()) ORDER BY 2;
SELECT rowmesh.remove_table('spot');
DROP TABLE spot;
DROP FUNCTION late();
