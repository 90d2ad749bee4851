-- Names that need quotes.
\set VERBOSITY terse
CREATE SCHEMA "Odd ""schema""";
CREATE TABLE "Odd ""schema"""."the 'table' %s" ("the key" int PRIMARY KEY, "sélect" text);
SELECT rowmesh.add_table('"Odd ""schema"""."the ''table'' %s"');
INSERT INTO "Odd ""schema"""."the 'table' %s" VALUES (1, 'x');
UPDATE "Odd ""schema"""."the 'table' %s" SET "sélect" = 'y';
SELECT op, key, columns FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table);
SELECT "table", name, key FROM rowmesh.tables;
SELECT rowmesh.remove_table('"Odd ""schema"""."the ''table'' %s"');
DROP SCHEMA "Odd ""schema""" CASCADE;
