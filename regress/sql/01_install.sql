-- The extension, its schema and who may touch it.
\set VERBOSITY terse
CREATE EXTENSION rowmesh;
SELECT rowmesh.version();
SELECT count(*) AS identities, bool_and(origin ~ '^[0-9a-f]{16}$') AS good_origin FROM rowmesh.state;
SELECT enabled, name = current_database() AS named FROM rowmesh.node();
SELECT has_schema_privilege('public', 'rowmesh', 'USAGE') AS public_may_use;
SELECT count(*) AS tables_open_to_public FROM pg_class c WHERE relnamespace = 'rowmesh'::regnamespace AND relkind IN ('r', 'v')
  AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE');
SELECT proname FROM pg_proc p WHERE pronamespace = 'rowmesh'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1;
SELECT has_table_privilege('rowmesh_monitor', 'rowmesh.status', 'SELECT') AS monitor_sees_status,
       has_table_privilege('rowmesh_monitor', 'rowmesh.server', 'SELECT') AS monitor_sees_secrets,
       has_function_privilege('rowmesh_monitor', 'rowmesh.add_table(text, text, text, text)', 'EXECUTE') AS monitor_changes,
       has_function_privilege('rowmesh_admin', 'rowmesh.add_table(text, text, text, text)', 'EXECUTE') AS admin_changes;
-- Every function that runs with its owner's rights has its own search_path.
SELECT proname FROM pg_proc WHERE pronamespace = 'rowmesh'::regnamespace AND prosecdef
  AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false);
-- A dump must not carry the identity or a secret.
SELECT c.relname FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig) AS x (oid) JOIN pg_class c ON c.oid = x.oid
  WHERE e.extname = 'rowmesh' ORDER BY 1;
SELECT count(DISTINCT rowmesh.id()) = 20000 AS all_different, bool_and(rowmesh.id() > 0) AS positive FROM generate_series(1, 20000);
SELECT server, state FROM rowmesh.status;
SELECT rowmesh.queue_size();
