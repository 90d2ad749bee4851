-- Servers, and what is said about wrong use.
\set VERBOSITY terse
SELECT rowmesh.add_server('mars', 'not a url', 'secret');
SELECT rowmesh.add_server('mars', 'ftp://127.0.0.1:99', 'secret');
SELECT rowmesh.add_server('mars', '127.0.0.1:21299', 'secret');
SELECT rowmesh.add_server('mars', 'http://', 'secret');
SELECT rowmesh.add_server('mars', 'http://127.0.0.1:21299', '');
SELECT rowmesh.add_server('mars', 'http://127.0.0.1:21299', 'secret', direction => 'sideways');
SELECT rowmesh.add_server('mars', 'http://127.0.0.1:21299', 'secret', copy => 'all');
SELECT rowmesh.add_server('', 'http://127.0.0.1:21299', 'secret');
SELECT rowmesh.enable_server('mars');
SELECT rowmesh.remove_server('mars');
SELECT rowmesh.copy('mars');
SELECT rowmesh.wait('mars');
SELECT * FROM rowmesh.test_server('mars');
SELECT rowmesh.discard(77);
SELECT rowmesh.retry(77);
SELECT rowmesh.restore(77);
SELECT rowmesh.restore(NULL);
INSERT INTO rowmesh.conflict (table_name, key_text, type, resolution) VALUES ('t', '1', 'multiple_unique', 'hidden') RETURNING id AS hidden \gset
SELECT rowmesh.restore(:hidden);
UPDATE rowmesh.conflict SET resolution = 'keep_local' WHERE id = :hidden;
SELECT rowmesh.restore(:hidden);
DELETE FROM rowmesh.conflict;

SELECT rowmesh.add_server('mars', 'http://127.0.0.1:21299/', 'secret', direction => 'push', enabled => false);
SELECT rowmesh.add_server('visitor', NULL, 'secret', enabled => false);
SELECT rowmesh.add_server('mars', 'https://[::1]:21299', 'secret', enabled => false);  -- again, with another address
SELECT rowmesh.add_server('visitor', NULL, 'secret', enabled => false, copy => 'none');
SELECT name, options FROM rowmesh.server;
SELECT server, url, direction, enabled, state, progress FROM rowmesh.status;
SELECT rowmesh.alter_server('mars', direction => 'pull', url => 'http://mars:21299');
SELECT rowmesh.alter_server('mars', url => 'mars');
SELECT rowmesh.copy('mars', direction => 'round');
SELECT rowmesh.copy('mars', on_existing => 'pray');
SELECT rowmesh.copy('mars', 'pg_class');
SELECT server, url, direction, enabled FROM rowmesh.status;
SELECT rowmesh.remove_server('mars'), rowmesh.remove_server('visitor');
SELECT rowmesh.disable();
SELECT enabled FROM rowmesh.node();
SELECT rowmesh.enable();
-- Nobody to wait for.
SELECT rowmesh.wait();
