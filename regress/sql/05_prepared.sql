-- Two-phase commit: captured with the preparation, seen with the commit.
\set VERBOSITY terse
CREATE TABLE twice (id int PRIMARY KEY);
SELECT rowmesh.add_table('twice');
BEGIN;
INSERT INTO twice VALUES (1);
PREPARE TRANSACTION 'rowmesh_one';
SELECT count(*) FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table);
INSERT INTO twice VALUES (2);
COMMIT PREPARED 'rowmesh_one';
SELECT key FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table) ORDER BY 1;
BEGIN;
INSERT INTO twice VALUES (3);
PREPARE TRANSACTION 'rowmesh_two';
ROLLBACK PREPARED 'rowmesh_two';
SELECT key FROM rowmesh.log_entries() WHERE table_id = (SELECT max(id) FROM rowmesh.replicated_table) ORDER BY 1;
SELECT rowmesh.remove_table('twice');
DROP TABLE twice;
