-- Every kind of statement that changes rows.
\set VERBOSITY terse
CREATE TABLE person (id int PRIMARY KEY, name text, points numeric, doubled int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE visit (id bigint PRIMARY KEY, person int REFERENCES person ON UPDATE CASCADE ON DELETE CASCADE);
SELECT rowmesh.add_table('person'), rowmesh.add_table('visit');
CREATE FUNCTION mark() RETURNS void LANGUAGE sql AS
  $$ SELECT set_config('test.mark', (SELECT coalesce(max(xid::text::bigint), 0) FROM rowmesh.log_entries())::text, false) $$;
CREATE VIEW captured AS SELECT t.wire_name AS name, e.op, e.key, e.columns
  FROM rowmesh.log_entries() WITH ORDINALITY e LEFT JOIN rowmesh.replicated_table t ON t.id = e.table_id
  WHERE e.xid::text::bigint > current_setting('test.mark')::bigint ORDER BY e.ordinality;

SELECT FROM mark();
INSERT INTO person VALUES (1, 'Ada', 1), (2, 'Bo', 2);
INSERT INTO visit VALUES (10, 1), (11, 2), (9000000000, 2), (-5, NULL);
TABLE captured;

SELECT FROM mark();
UPDATE person SET name = name;                 -- changes nothing
UPDATE person SET name = 'Ada' WHERE id = 1;   -- the same value again
UPDATE person SET points = 1.0 WHERE id = 1;   -- equal, and yet other bytes
UPDATE person SET name = NULL, points = 3 WHERE id = 2;
TABLE captured;

SELECT FROM mark();
UPDATE person SET id = 3 WHERE id = 1;         -- key change, with a cascade
DELETE FROM person WHERE id = 2;
TABLE captured;

SELECT FROM mark();
INSERT INTO person VALUES (3, 'again', 0), (4, 'new', 0) ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO person VALUES (3, 'never', 0) ON CONFLICT DO NOTHING;
MERGE INTO person p USING (VALUES (3, 'x'), (4, 'y'), (5, 'z')) AS n (id, name) ON p.id = n.id
  WHEN MATCHED AND p.id = 3 THEN DELETE WHEN MATCHED THEN UPDATE SET name = n.name WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.name, 0);
TABLE captured;

SELECT FROM mark();
COPY person (id, name) FROM stdin;
20	copied
21	copied
\.
WITH gone AS (DELETE FROM person WHERE id = 20 RETURNING *) INSERT INTO person SELECT 22, name FROM gone;
TABLE captured;

SELECT FROM mark();
TRUNCATE person CASCADE;
TABLE captured;

-- A BEFORE trigger changes a column that the statement does not name.
INSERT INTO person VALUES (1, 'Ada', 1);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.points := 77; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION touch();
SELECT FROM mark();
UPDATE person SET name = 'Eve';
TABLE captured;
DROP TRIGGER touch ON person;

-- Replicated changes are silent, and so is what was rolled back.
SELECT FROM mark();
SET session_replication_role = replica;
UPDATE person SET name = 'silent';
RESET session_replication_role;
BEGIN;
DELETE FROM person;
ROLLBACK;
TABLE captured;

-- The table changes under our feet.
SELECT FROM mark();
ALTER TABLE person ADD COLUMN born date, DROP COLUMN points;
UPDATE person SET born = '2000-02-29';
ALTER TABLE person RENAME COLUMN id TO number;
UPDATE person SET name = 'renamed';
ALTER TABLE person DROP COLUMN doubled, ALTER COLUMN number TYPE bigint;
UPDATE person SET name = 'wider';
TABLE captured;

-- Many rows: several records, one version.
SELECT FROM mark();
INSERT INTO visit SELECT g FROM generate_series(100000, 120000) g;
SELECT op, count(*), count(DISTINCT e.key) AS keys, count(DISTINCT xid) AS transactions FROM rowmesh.log_entries() e
  WHERE e.xid::text::bigint > current_setting('test.mark')::bigint GROUP BY op;
SELECT count(DISTINCT hlc) AS versions FROM rowmesh.log_entries() e
  WHERE e.xid::text::bigint > current_setting('test.mark')::bigint AND hlc > 0;
TRUNCATE visit;

-- Keys of other types: one form for each row, whatever the session's settings are.
CREATE TABLE keyed (a text, b uuid, c timestamptz, d numeric, e date, f boolean, g interval, h bytea, PRIMARY KEY (a, b, c, d, e, f, g, h));
SELECT rowmesh.add_table('keyed');
SELECT FROM mark();
INSERT INTO keyed VALUES ('it''s', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '2026-01-31 12:00:00.5+02', 1.500, '2026-01-31', true, '1 day 2 hours', '\x00ff');
SET DateStyle = 'German';
SET IntervalStyle = 'iso_8601';
SET TimeZone = 'Asia/Tokyo';
SET extra_float_digits = -5;
DELETE FROM keyed;
RESET ALL;
SELECT set_config('test.mark', (min(xid::text::bigint) - 1)::text, false) IS NOT NULL AS again FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table);
TABLE captured;

-- A key that is longer than a page.
CREATE TABLE long_key (k text PRIMARY KEY);
SELECT rowmesh.add_table('long_key');
INSERT INTO long_key VALUES (repeat('a', 100000)), ('b');
SELECT op, length(key) FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table);
SELECT rowmesh.remove_table('*');
DROP TABLE long_key, keyed, visit, person;
DROP VIEW captured;
DROP FUNCTION mark(), touch();
