-- What can be replicated, and what is said about the rest.
\set VERBOSITY terse
CREATE TABLE plain (id int PRIMARY KEY, v text);
CREATE TABLE loose (a int, b text);
CREATE TABLE by_index (a int NOT NULL, b text);
CREATE UNIQUE INDEX by_index_a ON by_index (a);
CREATE TEMP TABLE passing (id int PRIMARY KEY);
CREATE UNLOGGED TABLE light (id int PRIMARY KEY);
CREATE VIEW seen AS SELECT * FROM plain;
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);

SELECT rowmesh.add_table('nowhere');
SELECT rowmesh.add_table('loose');
SELECT rowmesh.add_table('by_index');
SELECT rowmesh.add_table('passing');
SELECT rowmesh.add_table('light');
SELECT rowmesh.add_table('seen');
SELECT rowmesh.add_table('parted_1');
SELECT rowmesh.add_table('pg_class');
SELECT rowmesh.add_table('rowmesh.state');
SELECT rowmesh.add_table('plain', merge => 'whatever');
SELECT rowmesh.add_table('*', name => 'x');

SELECT rowmesh.add_table('plain');
SELECT rowmesh.add_table('plain', merge => 'row');
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a;
SELECT rowmesh.add_table('by_index', name => 'plain');
SELECT rowmesh.add_table('by_index', name => 'indexed');
SELECT rowmesh.add_table('parted');
SELECT * FROM rowmesh.tables;

-- All tables, also those that come later. What has no key is named.
SELECT rowmesh.add_table('*');
CREATE TABLE later (id int PRIMARY KEY);
CREATE TABLE later_without_key (id int);
SELECT "table", name, merge, key FROM rowmesh.tables;
DROP TABLE later;
ALTER TABLE later_without_key ADD PRIMARY KEY (id);
SELECT "table" FROM rowmesh.tables;

SELECT rowmesh.remove_table('*');
SELECT count(*) FROM rowmesh.tables;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rowmesh%';
SELECT rowmesh.remove_table('plain');
DROP TABLE loose, by_index, light, later_without_key, parted;
DROP VIEW seen;
DROP TABLE plain;
