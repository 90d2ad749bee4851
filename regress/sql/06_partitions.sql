-- Partitions speak of the partitioned table, whatever the order of their own columns is.
\set VERBOSITY terse
CREATE TABLE event (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE event_eu (note text, junk int, region text NOT NULL, id int NOT NULL);
ALTER TABLE event_eu DROP COLUMN junk;
ALTER TABLE event ATTACH PARTITION event_eu FOR VALUES IN ('eu');
SELECT rowmesh.add_table('event');
CREATE TABLE event_us PARTITION OF event FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE event_us_1 PARTITION OF event_us FOR VALUES FROM (0) TO (100);
INSERT INTO event VALUES (1, 'eu', 'a'), (2, 'us', 'b');
INSERT INTO event_eu (id, region, note) VALUES (3, 'eu', 'c');
UPDATE event SET note = 'd' WHERE id IN (1, 2);
UPDATE event SET region = 'us' WHERE id = 1;
DELETE FROM event_us_1 WHERE id = 2;
SELECT op, key, columns FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table);
-- A partition alone: its rows, one by one. The whole table: one entry.
TRUNCATE event_eu;
SELECT op, key FROM rowmesh.log_entries() WHERE xid = (SELECT max(xid::text::bigint)::text::xid8 FROM rowmesh.log_entries());
TRUNCATE event;
SELECT op, key FROM rowmesh.log_entries() WHERE xid = (SELECT max(xid::text::bigint)::text::xid8 FROM rowmesh.log_entries());
ALTER TABLE event DETACH PARTITION event_eu;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'event_eu'::regclass;
DROP TABLE event_eu;
SELECT op FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table) AND op = 'truncate';
SELECT "table", key FROM rowmesh.tables;
SELECT rowmesh.remove_table('event');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rowmesh%';
DROP TABLE event;
