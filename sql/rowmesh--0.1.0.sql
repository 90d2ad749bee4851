\echo Use "CREATE EXTENSION rowmesh" to load this file. \quit

-- Roles are shared by all databases of a server: whoever installs rowmesh first makes them.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'rowmesh_monitor') THEN
    CREATE ROLE rowmesh_monitor;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'rowmesh_admin') THEN
    CREATE ROLE rowmesh_admin IN ROLE rowmesh_monitor;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL;  -- another database of this server was faster
END $$;

REVOKE ALL ON SCHEMA rowmesh FROM PUBLIC;
GRANT USAGE ON SCHEMA rowmesh TO rowmesh_monitor, rowmesh_admin;

-- ---- tables. Nobody but the worker and the functions below writes them.

-- Who this node is. Never part of a dump: a restored database is another node.
CREATE TABLE state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  node uuid NOT NULL,
  origin text NOT NULL,             -- this incarnation, 16 hex digits
  name text NOT NULL,
  created timestamptz NOT NULL DEFAULT pg_catalog.now(),
  system_identifier bigint NOT NULL,  -- of the server in which the identity was made
  database oid NOT NULL,
  all_tables boolean NOT NULL DEFAULT false,  -- add_table('*')
  all_tables_merge text NOT NULL DEFAULT 'column',
  enabled boolean NOT NULL DEFAULT true       -- enable(), disable()
);

-- regclass, so that a dump names the table and not its number.
CREATE TABLE replicated_table (
  id serial PRIMARY KEY,
  relid regclass NOT NULL UNIQUE,
  wire_name text NOT NULL UNIQUE,
  merge text NOT NULL DEFAULT 'column' CHECK (merge IN ('column', 'row')),
  on_key_collision text NOT NULL DEFAULT 'renumber' CHECK (on_key_collision IN ('renumber', 'merge', 'hold')),
  added timestamptz NOT NULL DEFAULT pg_catalog.now(),
  local_name text NOT NULL DEFAULT ''  -- as last seen, so that a table which is dropped and made anew is known again
);

-- Replicated tables that were dropped: taken in again when they are made anew.
CREATE TABLE dropped_table (
  local_name text PRIMARY KEY,
  wire_name text NOT NULL,
  merge text NOT NULL,
  on_key_collision text NOT NULL,
  since timestamptz NOT NULL DEFAULT pg_catalog.now()
);

-- References that the schema does not declare: add_reference().
CREATE TABLE reference (
  relid regclass NOT NULL,
  name name NOT NULL,
  to_relid regclass NOT NULL,
  PRIMARY KEY (relid, name)
);

CREATE TABLE server (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  url text NOT NULL DEFAULT '',
  secret text NOT NULL DEFAULT '',
  old_secret text NOT NULL DEFAULT '',  -- taken as well until the other side uses the new one
  direction text NOT NULL DEFAULT 'both' CHECK (direction IN ('both', 'push', 'pull')),
  tables text[],                    -- wire names; NULL: all
  enabled boolean NOT NULL DEFAULT true,
  options jsonb NOT NULL DEFAULT '{}',  -- batch_rows, ...: see alter_server
  start_state bytea NOT NULL DEFAULT '',
  added timestamptz NOT NULL DEFAULT pg_catalog.now()
);

CREATE TABLE request (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  argument text NOT NULL DEFAULT ''
);

CREATE TABLE history (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind "char" NOT NULL,             -- 'c' cut, 'a' applied; 'p', with number 0: what the log has up to this marker is settled
  marker text NOT NULL DEFAULT '',
  state bytea NOT NULL DEFAULT '',
  data bytea NOT NULL DEFAULT ''
);
ALTER TABLE history ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN state SET STORAGE EXTERNAL;

-- Written by capture before a transaction commits, in turns so that what is read can be truncated. pg_ext/log_record.hpp has the form.
CREATE TABLE log_0 (xid xid8 NOT NULL, hlc bigint NOT NULL, data bytea, big bytea);
CREATE TABLE log_1 (xid xid8 NOT NULL, hlc bigint NOT NULL, data bytea, big bytea);
ALTER TABLE log_0 ALTER COLUMN data SET STORAGE PLAIN, ALTER COLUMN big SET STORAGE EXTERNAL;
ALTER TABLE log_1 ALTER COLUMN data SET STORAGE PLAIN, ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE INDEX log_0_xid ON log_0 (xid);
CREATE INDEX log_1_xid ON log_1 (xid);

CREATE TABLE side (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  table_id integer NOT NULL,
  key bytea NOT NULL,
  packed bytea NOT NULL,
  kind text NOT NULL,
  reason text NOT NULL DEFAULT '',
  code text NOT NULL DEFAULT '',
  key_text text NOT NULL DEFAULT '',
  payload jsonb,
  origin text NOT NULL DEFAULT '',
  since timestamptz NOT NULL DEFAULT pg_catalog.now(),
  UNIQUE (table_id, key)
);

CREATE TABLE conflict (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  time timestamptz NOT NULL DEFAULT pg_catalog.now(),
  table_name text NOT NULL,
  key_text text NOT NULL,
  type text NOT NULL,
  resolution text NOT NULL,
  winner jsonb,
  loser jsonb,
  winner_version text NOT NULL DEFAULT '',
  loser_version text NOT NULL DEFAULT '',
  image bytea NOT NULL DEFAULT '',  -- what restore() needs; empty: nothing to restore
  restored text                     -- what came of restore(), as a sentence
);
CREATE INDEX conflict_time ON conflict (time);

SELECT pg_catalog.pg_extension_config_dump('replicated_table', '');
SELECT pg_catalog.pg_extension_config_dump('replicated_table_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('reference', '');

-- ---- C functions

CREATE FUNCTION capture() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_capture';
CREATE FUNCTION capture_truncate() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_capture_truncate';
CREATE FUNCTION config_changed() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_config_changed';
-- NULL for '*'. Found by the caller's search_path.
CREATE FUNCTION resolve_table("table" text) RETURNS regclass LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_resolve_table';
-- '' if it runs, else a sentence.
CREATE FUNCTION worker_trouble() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_worker_trouble';
CREATE FUNCTION preloaded() RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_preloaded';
CREATE FUNCTION health_text() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_health';
CREATE FUNCTION hash_password(password text) RETURNS text LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'rowmesh_hash_password';
-- What the worker last published, as JSON; NULL when there is nothing.
CREATE FUNCTION published_status() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_published_status';
-- Raises an error with a sentence if they cannot be used.
CREATE FUNCTION check_server_settings(options text) RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'rowmesh_check_server_settings';
CREATE FUNCTION random_origin() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_random_origin';
CREATE FUNCTION poke_launcher() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_poke_launcher';
CREATE FUNCTION note_config_change() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'rowmesh_note_config_change';
CREATE FUNCTION version() RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'rowmesh_version';
CREATE FUNCTION id() RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rowmesh_id';
CREATE FUNCTION wait(server text DEFAULT NULL, timeout_ms integer DEFAULT 10000) RETURNS boolean
  LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'rowmesh_wait';
CREATE FUNCTION test_server(name text, OUT "check" text, OUT ok boolean, OUT detail text, OUT ms bigint) RETURNS SETOF record
  LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'rowmesh_test_server';
-- What capture wrote and nobody has pruned yet, for people who look for a fault. `columns`: attribute numbers; NULL: all.
CREATE FUNCTION log_entries(OUT xid xid8, OUT hlc bigint, OUT table_id integer, OUT op text, OUT key text, OUT columns integer[]) RETURNS SETOF record
  LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'rowmesh_log_entries';

INSERT INTO state (node, origin, name, system_identifier, database)
  SELECT pg_catalog.gen_random_uuid(), random_origin(), pg_catalog.current_database(), c.system_identifier, d.oid
  FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database();

-- Whatever changes the configuration, the worker hears of it at commit.
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON state FOR EACH STATEMENT EXECUTE FUNCTION config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON replicated_table FOR EACH STATEMENT EXECUTE FUNCTION config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON server FOR EACH STATEMENT EXECUTE FUNCTION config_changed();
CREATE TRIGGER config_changed AFTER INSERT ON request FOR EACH STATEMENT EXECUTE FUNCTION config_changed();

-- ---- tables to replicate

-- Why a table cannot be replicated; NULL: it can.
CREATE FUNCTION table_trouble(relation regclass) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  about record;
BEGIN
  SELECT c.relkind, c.relpersistence, c.relispartition, n.nspname, c.relname INTO about
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
  IF NOT FOUND THEN
    RETURN format('table %s does not exist', relation);
  ELSIF about.nspname IN ('pg_catalog', 'information_schema', 'rowmesh', 'pg_toast') THEN
    RETURN format('%s belongs to the system and cannot be replicated', relation);
  ELSIF about.relkind IN ('v', 'm') THEN
    RETURN format('%s is a view; add the tables behind it instead', relation);
  ELSIF about.relkind = 'f' THEN
    RETURN format('%s is a foreign table; add the table on the server where it lives', relation);
  ELSIF about.relkind NOT IN ('r', 'p') THEN
    RETURN format('%s is not a table', relation);
  ELSIF about.relpersistence = 't' THEN
    RETURN format('%s is a temporary table; only ordinary tables can be replicated', relation);
  ELSIF about.relpersistence = 'u' THEN
    RETURN format('%s is unlogged and would be empty after a crash; run ALTER TABLE %s SET LOGGED first', relation, relation);
  ELSIF about.relispartition THEN
    RETURN format('%s is a partition; add the partitioned table %s instead', relation, pg_partition_root(relation));
  ELSIF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND (i.indisprimary OR i.indisreplident) AND i.indisvalid
                    AND i.indimmediate AND i.indexprs IS NULL AND i.indpred IS NULL) THEN
    RETURN format('table %s has no primary key; add one, or a unique index over NOT NULL columns used as REPLICA IDENTITY', relation);
  END IF;
  RETURN NULL;
END $$;

-- PostgreSQL copies row triggers to partitions, but not those of TRUNCATE, which may be aimed at a partition alone.
CREATE FUNCTION install_partition_triggers(relation regclass, table_id integer) RETURNS integer
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  installed integer := 0;
  one record;
BEGIN
  FOR one IN SELECT c.oid::regclass AS part FROM pg_class c JOIN pg_partition_tree(relation) p ON p.relid = c.oid
             WHERE c.relkind IN ('r', 'p') AND c.oid <> relation
               AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'rowmesh_partition_truncate') LOOP
    EXECUTE format('CREATE TRIGGER rowmesh_partition_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION rowmesh.capture_truncate(%L)',
                   one.part, table_id);
    installed := installed + 1;
  END LOOP;
  IF (SELECT relkind FROM pg_class WHERE oid = relation) = 'p'
     AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND tgname = 'rowmesh_truncating') THEN
    EXECUTE format('CREATE TRIGGER rowmesh_truncating BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION rowmesh.capture_truncate(%L)',
                   relation, table_id);
  END IF;
  RETURN installed;
END $$;

-- Waits for transactions that are writing the table now: from here on everything that commits is captured.
CREATE FUNCTION install_triggers(relation regclass, table_id integer) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', relation);
  PERFORM rowmesh.drop_triggers(relation);
  EXECUTE format('CREATE TRIGGER rowmesh_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION rowmesh.capture(%L)',
                 relation, table_id);
  EXECUTE format('CREATE TRIGGER rowmesh_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION rowmesh.capture_truncate(%L)',
                 relation, table_id);
  PERFORM rowmesh.install_partition_triggers(relation, table_id);
END $$;

CREATE FUNCTION drop_triggers(relation regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
BEGIN
  FOR one IN SELECT g.tgname, c.oid::regclass AS place FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
             WHERE (c.oid = relation OR c.oid IN (SELECT relid FROM pg_partition_tree(relation))) AND g.tgparentid = 0
               AND g.tgfoid IN ('rowmesh.capture'::regproc, 'rowmesh.capture_truncate'::regproc) LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, one.place);
  END LOOP;
END $$;

-- The table's name on the wire unless one is given: without the schema if that is public, as SQLite has none.
CREATE FUNCTION default_wire_name(relation regclass) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
$$;

CREATE FUNCTION full_name(relation regclass) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
$$;

-- One row a table, about to be replicated: has it the triggers that it needs?
CREATE FUNCTION add_one_table(relation regclass, given_name text, given_merge text, given_collision text DEFAULT 'renumber') RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  trouble text := rowmesh.table_trouble(relation);
  wire text := coalesce(given_name, (SELECT wire_name FROM rowmesh.replicated_table WHERE relid = relation), rowmesh.default_wire_name(relation));
  other regclass;
  new_id integer;
BEGIN
  IF trouble IS NOT NULL THEN
    RAISE EXCEPTION USING MESSAGE = trouble, ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  SELECT relid INTO other FROM rowmesh.replicated_table WHERE wire_name = wire AND relid <> relation;
  IF FOUND THEN
    RAISE EXCEPTION 'the name % is already taken by table %; choose another with name => ...', quote_literal(wire), other
      USING ERRCODE = 'duplicate_object';
  END IF;
  DELETE FROM rowmesh.dropped_table d WHERE d.local_name = rowmesh.full_name(relation) OR d.wire_name = wire;
  INSERT INTO rowmesh.replicated_table (relid, wire_name, merge, on_key_collision, local_name)
    VALUES (relation, wire, given_merge, given_collision, rowmesh.full_name(relation))
    ON CONFLICT (relid) DO UPDATE SET wire_name = excluded.wire_name, merge = excluded.merge, on_key_collision = excluded.on_key_collision
    RETURNING id INTO new_id;
  PERFORM rowmesh.install_triggers(relation, new_id);
END $$;

-- Makes the list and the triggers fit the tables that there are. -> number of tables added or taken off
-- `repair`: also where triggers are missing. Not after each DDL: a dump that is being restored brings them itself, later.
CREATE FUNCTION reconcile(repair boolean DEFAULT true) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changed integer := 0;
  one record;
  settings rowmesh.state;
BEGIN
  SELECT * INTO settings FROM rowmesh.state;
  DELETE FROM rowmesh.reference r WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.relid) OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.to_relid);
  IF EXISTS (SELECT FROM rowmesh.replicated_table t WHERE rowmesh.full_name(t.relid) <> t.local_name) THEN
    UPDATE rowmesh.replicated_table t SET local_name = rowmesh.full_name(t.relid) WHERE rowmesh.full_name(t.relid) <> t.local_name;
  END IF;
  WITH gone AS (
    DELETE FROM rowmesh.replicated_table t WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relid) RETURNING t.local_name, t.wire_name, t.merge, t.on_key_collision
  )
  INSERT INTO rowmesh.dropped_table (local_name, wire_name, merge, on_key_collision) SELECT g.local_name, g.wire_name, g.merge, g.on_key_collision FROM gone g WHERE g.local_name <> ''
    ON CONFLICT (local_name) DO UPDATE SET wire_name = excluded.wire_name, merge = excluded.merge, on_key_collision = excluded.on_key_collision;
  GET DIAGNOSTICS changed = ROW_COUNT;
  FOR one IN SELECT to_regclass(d.local_name) AS relation, d.local_name, d.wire_name, d.merge, d.on_key_collision FROM rowmesh.dropped_table d WHERE to_regclass(d.local_name) IS NOT NULL
             AND rowmesh.table_trouble(to_regclass(d.local_name)) IS NULL LOOP
    IF EXISTS (SELECT FROM rowmesh.replicated_table t WHERE t.relid = one.relation OR t.wire_name = one.wire_name) THEN
      DELETE FROM rowmesh.dropped_table d WHERE d.local_name = one.local_name;
    ELSE
      PERFORM rowmesh.add_one_table(one.relation, one.wire_name, one.merge, one.on_key_collision);
      changed := changed + 1;
    END IF;
  END LOOP;
  FOR one IN SELECT t.id, t.relid FROM rowmesh.replicated_table t
             WHERE repair AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relid AND g.tgname = 'rowmesh_capture') LOOP
    PERFORM rowmesh.install_triggers(one.relid, one.id);
    changed := changed + 1;
  END LOOP;
  FOR one IN SELECT t.id, t.relid FROM rowmesh.replicated_table t JOIN pg_class c ON c.oid = t.relid WHERE c.relkind = 'p'
             AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'rowmesh_capture') LOOP
    changed := changed + rowmesh.install_partition_triggers(one.relid, one.id);
  END LOOP;
  -- Detached partitions are tables of their own.
  FOR one IN SELECT g.tgname, c.oid::regclass AS place FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
             WHERE g.tgname = 'rowmesh_partition_truncate' AND NOT c.relispartition LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, one.place);
  END LOOP;
  IF settings.all_tables THEN
    FOR one IN SELECT c.oid::regclass AS relation FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
                 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rowmesh', 'pg_toast')
                 AND NOT EXISTS (SELECT FROM rowmesh.replicated_table t WHERE t.relid = c.oid)
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
                 AND rowmesh.table_trouble(c.oid) IS NULL
                 -- In which a migration tool notes what it has done to this database: on another one it is not done by that. By name they
                 -- can be added all the same. sqlite_ext/capture.cpp has the same list.
                 AND lower(c.relname) <> ALL (ARRAY['django_migrations', 'alembic_version', 'schema_migrations', 'ar_internal_metadata', 'flyway_schema_history',
                   'databasechangelog', 'databasechangeloglock', '_prisma_migrations', '__efmigrationshistory', 'knex_migrations', 'knex_migrations_lock',
                   'sequelizemeta', 'goose_db_version'])
                 AND NOT EXISTS (SELECT FROM rowmesh.replicated_table t WHERE t.wire_name = rowmesh.default_wire_name(c.oid))
               ORDER BY c.oid LOOP
      PERFORM rowmesh.add_one_table(one.relation, NULL, settings.all_tables_merge);
      changed := changed + 1;
    END LOOP;
  END IF;
  RETURN changed;
END $$;

CREATE FUNCTION add_resolved_table(relation regclass, given_name text, given_merge text, given_collision text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  left_out text;
BEGIN
  IF NOT rowmesh.preloaded() THEN
    RAISE EXCEPTION 'rowmesh has no worker on this server: put rowmesh into shared_preload_libraries in postgresql.conf and restart PostgreSQL'
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF given_merge IS NULL OR given_merge NOT IN ('column', 'row') THEN
    RAISE EXCEPTION 'merge is % but must be ''column'' or ''row''', coalesce(quote_literal(given_merge), 'NULL') USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF given_collision IS NULL OR given_collision NOT IN ('renumber', 'merge', 'hold') THEN
    RAISE EXCEPTION 'on_key_collision is % but must be ''renumber'' (the younger of two rows gets another number), ''merge'' (they are one row) or ''hold'' (the younger waits for you)',
      coalesce(quote_literal(given_collision), 'NULL') USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF relation IS NOT NULL THEN
    PERFORM rowmesh.add_one_table(relation, given_name, given_merge, given_collision);
    RETURN;
  END IF;
  IF given_name IS NOT NULL THEN
    RAISE EXCEPTION 'a name can be given to one table only; leave name out when adding all tables' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE rowmesh.state SET all_tables = true, all_tables_merge = given_merge;
  PERFORM rowmesh.reconcile();
  SELECT string_agg(rowmesh.table_trouble(c.oid), '; ') INTO left_out FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rowmesh', 'pg_toast')
      AND rowmesh.table_trouble(c.oid) IS NOT NULL;
  IF left_out IS NOT NULL THEN
    RAISE WARNING 'left out: %', left_out;
  END IF;
END $$;

-- Not SECURITY DEFINER and without a search_path of its own: the name is looked up as the caller would.
CREATE FUNCTION add_table("table" text, name text DEFAULT NULL, merge text DEFAULT 'column', on_key_collision text DEFAULT 'renumber')
  RETURNS void LANGUAGE sql AS
  'SELECT rowmesh.add_resolved_table(rowmesh.resolve_table($1), $2, $3, $4)';

CREATE FUNCTION add_resolved_reference(relation regclass, given_column text, to_relation regclass) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  missing regclass;
BEGIN
  SELECT one INTO missing FROM unnest(ARRAY[relation, to_relation]) one WHERE NOT EXISTS (SELECT FROM rowmesh.replicated_table WHERE relid = one);
  IF FOUND THEN
    RAISE EXCEPTION 'table % is not replicated: call rowmesh.add_table first', missing USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = given_column AND attnum > 0 AND NOT attisdropped) THEN
    RAISE EXCEPTION 'table % has no column %', relation, given_column USING ERRCODE = 'undefined_column';
  END IF;
  INSERT INTO rowmesh.reference (relid, name, to_relid) VALUES (relation, given_column, to_relation)
    ON CONFLICT (relid, name) DO UPDATE SET to_relid = excluded.to_relid;
  PERFORM rowmesh.note_config_change();
END $$;

-- A column that names rows of another table by their integer key, where the schema does not declare it as a foreign key.
CREATE FUNCTION add_reference("table" text, "column" text, to_table text) RETURNS void LANGUAGE sql AS
  'SELECT rowmesh.add_resolved_reference(rowmesh.resolve_table($1), $2, rowmesh.resolve_table($3))';

-- share n of m: this node hands out n, n + m, n + 2 m, ... so that m nodes with a share each never take the same number.
CREATE FUNCTION stagger_resolved(relation regclass, share bigint, shares bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place record;
  greatest_key bigint;
  next_key bigint;
BEGIN
  IF share IS NULL OR shares IS NULL OR shares < 1 OR share < 1 OR share > shares THEN
    RAISE EXCEPTION 'share % of % makes no sense: give the number of nodes that write the table, and for each of them another number from 1 to that', share, shares
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF NOT EXISTS (SELECT FROM rowmesh.replicated_table WHERE relid = relation) THEN
    RAISE EXCEPTION 'table % is not replicated: call rowmesh.add_table first', relation USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  SELECT d.objid::regclass AS sequence, a.attname AS name, s.seqmax INTO place
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
      JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum
        AND d.deptype IN ('a', 'i')
      JOIN pg_sequence s ON s.seqrelid = d.objid
    WHERE i.indrelid = relation AND i.indisprimary AND i.indnkeyatts = 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the key of table % takes its numbers from no sequence of its own: there is nothing to stagger', relation USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
  EXECUTE format('SELECT greatest(coalesce(max(%I), 0), coalesce(pg_sequence_last_value(%L::regclass), 0))::bigint FROM %s', place.name, place.sequence, relation) INTO greatest_key;
  next_key := greatest_key + 1 + ((share - greatest_key - 1) % shares + shares) % shares;
  EXECUTE format('ALTER SEQUENCE %s INCREMENT BY %s START WITH %s RESTART WITH %s', place.sequence, shares, next_key, next_key);
  PERFORM rowmesh.note_config_change();
END $$;

CREATE FUNCTION stagger("table" text, share bigint, shares bigint) RETURNS void LANGUAGE sql AS
  'SELECT rowmesh.stagger_resolved(rowmesh.resolve_table($1), $2, $3)';

CREATE FUNCTION remove_resolved_table(relation regclass) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
BEGIN
  IF relation IS NOT NULL AND NOT EXISTS (SELECT FROM rowmesh.replicated_table WHERE relid = relation) THEN
    RAISE NOTICE 'table % is not replicated', relation;
    RETURN;
  END IF;
  UPDATE rowmesh.state SET all_tables = false WHERE all_tables;
  IF FOUND AND relation IS NOT NULL THEN
    RAISE NOTICE 'tables made from now on are not replicated by themselves any more; add_table(''*'') brings that back, and this table too';
  END IF;
  DELETE FROM rowmesh.reference r WHERE relation IS NULL OR r.relid = relation OR r.to_relid = relation;
  DELETE FROM rowmesh.dropped_table WHERE relation IS NULL;
  FOR one IN DELETE FROM rowmesh.replicated_table WHERE relation IS NULL OR relid = relation RETURNING relid LOOP
    PERFORM rowmesh.drop_triggers(one.relid);
  END LOOP;
END $$;

-- True: it was a table that is not there any more.
CREATE FUNCTION forget_dropped_table(wanted text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM rowmesh.dropped_table d WHERE wanted IN (d.local_name, d.wire_name);
  RETURN FOUND;
END $$;

CREATE FUNCTION remove_table("table" text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT rowmesh.forget_dropped_table($1) THEN
    PERFORM rowmesh.remove_resolved_table(rowmesh.resolve_table($1));
  END IF;
END $$;

-- A created, altered or dropped table: new ones are taken in if all tables are replicated, and the worker looks at the columns again.
-- Never makes the application's own statement fail.
CREATE FUNCTION after_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tg_tag NOT LIKE 'DROP%' AND NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.schema_name IS DISTINCT FROM 'pg_temp') THEN
    RETURN;  -- some applications make a temporary table for every request
  END IF;
  PERFORM rowmesh.reconcile(repair => false);
  PERFORM rowmesh.note_config_change();
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'rowmesh could not look at the changed tables: %', SQLERRM;
END $$;
CREATE EVENT TRIGGER rowmesh_after_ddl ON ddl_command_end
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'DROP TABLE', 'CREATE INDEX', 'DROP INDEX', 'DROP SCHEMA', 'DROP OWNED')
  EXECUTE FUNCTION after_ddl();

-- ---- servers

CREATE FUNCTION check_server_options(url text, secret text, direction text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF url <> '' AND url !~ '^https?://([^/?#@[:space:]:]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[^?#[:space:]]*)?$' THEN
    RAISE EXCEPTION 'the URL % cannot be used; write it as http://host:port or https://host:port, or NULL if that server comes to us', quote_literal(url)
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF coalesce(secret, '') = '' THEN
    RAISE EXCEPTION 'a secret is needed: the same text on both sides, for example from "openssl rand -hex 32"' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF direction IS NULL OR direction NOT IN ('both', 'push', 'pull') THEN
    RAISE EXCEPTION 'direction is % but must be ''both'', ''push'' or ''pull''', coalesce(quote_literal(direction), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
END $$;

CREATE FUNCTION require_server(wanted text) RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_id bigint;
BEGIN
  SELECT s.id INTO found_id FROM rowmesh.server s WHERE s.name = wanted;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no server %; %', coalesce(quote_literal(wanted), 'NULL'),
      coalesce('known are: ' || (SELECT string_agg(quote_literal(s.name), ', ' ORDER BY s.name) FROM rowmesh.server s), 'add it with rowmesh.add_server(name, url, secret)')
      USING ERRCODE = 'undefined_object';
  END IF;
  RETURN found_id;
END $$;

CREATE FUNCTION queue_copy(server_name text, wire_name text, direction text, on_existing text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  new_id bigint;
BEGIN
  PERFORM rowmesh.require_server(server_name);
  IF direction IS NULL OR direction NOT IN ('push', 'pull') THEN
    RAISE EXCEPTION 'direction is % but must be ''push'' (our rows go there) or ''pull'' (its rows come here)', coalesce(quote_literal(direction), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF on_existing IS NULL OR on_existing NOT IN ('fail', 'source', 'newer') THEN
    RAISE EXCEPTION 'on_existing is % but must be ''fail'', ''source'' or ''newer''', coalesce(quote_literal(on_existing), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO rowmesh.request (kind, argument)
    VALUES ('copy', json_build_object('server', server_name, 'table', wire_name, 'direction', direction, 'on_existing', on_existing)::text)
    RETURNING id INTO new_id;
  RETURN new_id;
END $$;

-- The names on the wire of the tables that a server is to get; NULL: all, also said as '{*}'.
CREATE FUNCTION server_tables(wanted text[]) RETURNS text[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  result text[] := '{}';
  one text;
  wire text;
BEGIN
  IF wanted IS NULL OR wanted = ARRAY['*'] THEN
    RETURN NULL;
  END IF;
  FOREACH one IN ARRAY wanted LOOP
    SELECT t.wire_name INTO wire FROM rowmesh.replicated_table t
      WHERE one IN (t.wire_name, t.local_name, replace(t.local_name, '"', ''), t.relid::text) ORDER BY t.wire_name <> one LIMIT 1;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'table % is not replicated; add it with rowmesh.add_table(%) before a server is to get it', coalesce(quote_literal(one), 'NULL'), quote_nullable(one)
        USING ERRCODE = 'undefined_object';
    END IF;
    result := result || wire;
  END LOOP;
  RETURN result;
END $$;

CREATE FUNCTION add_server(name text, url text, secret text, direction text DEFAULT 'both', tables text[] DEFAULT NULL,
                           enabled boolean DEFAULT true, copy text DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  clean_url text := rtrim(coalesce(add_server.url, ''), '/');
  newest bytea;
BEGIN
  IF coalesce(add_server.name, '') = '' THEN
    RAISE EXCEPTION 'give the server a name' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM rowmesh.check_server_options(CASE WHEN add_server.url = '' THEN 'empty' ELSE clean_url END, add_server.secret, add_server.direction);
  IF NOT rowmesh.preloaded() THEN
    RAISE EXCEPTION 'rowmesh has no worker on this server: put rowmesh into shared_preload_libraries in postgresql.conf and restart PostgreSQL'
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF add_server.copy NOT IN ('pull', 'push', 'none') THEN
    RAISE EXCEPTION 'copy is % but must be ''pull'' (take what it has), ''push'' (give it what is here) or ''none'' (changes only)', quote_literal(add_server.copy)
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Everything after the newest position is for the new server.
  SELECT h.state INTO newest FROM rowmesh.history h WHERE h.state <> '' ORDER BY h.sequence DESC LIMIT 1;
  INSERT INTO rowmesh.server AS s (name, url, secret, direction, tables, enabled, options, start_state)
    VALUES (add_server.name, clean_url, add_server.secret, add_server.direction, rowmesh.server_tables(add_server.tables), coalesce(add_server.enabled, true),
            CASE add_server.copy WHEN 'none' THEN '{"first_copy": "none"}'::jsonb ELSE '{}' END, coalesce(newest, ''))
    ON CONFLICT ON CONSTRAINT server_name_key DO UPDATE SET url = excluded.url, secret = excluded.secret,
      old_secret = CASE WHEN s.secret = excluded.secret THEN s.old_secret ELSE s.secret END, direction = excluded.direction,
      tables = excluded.tables, enabled = excluded.enabled, options = (s.options - 'first_copy') || excluded.options;
  IF add_server.copy IN ('pull', 'push') THEN
    PERFORM rowmesh.queue_copy(add_server.name, NULL, add_server.copy, 'fail');
  END IF;
END $$;

-- What is not given stays as it is; 0, '' and 'auto' bring the default back. A secret that is replaced is taken until the other side uses
-- the new one, so the two sides need not be changed at the same moment.
CREATE FUNCTION alter_server(name text, url text DEFAULT NULL, secret text DEFAULT NULL, direction text DEFAULT NULL, tables text[] DEFAULT NULL,
                             enabled boolean DEFAULT NULL, batch_rows integer DEFAULT NULL, batch_bytes bigint DEFAULT NULL,
                             timeout_ms integer DEFAULT NULL, compression text DEFAULT NULL, rate_limit bigint DEFAULT NULL,
                             schedule text DEFAULT NULL, retention_hours integer DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_id bigint := rowmesh.require_server(alter_server.name);
  changed rowmesh.server;
BEGIN
  SELECT * INTO changed FROM rowmesh.server s WHERE s.id = found_id FOR UPDATE;
  changed.url := rtrim(coalesce(alter_server.url, changed.url), '/');
  IF alter_server.secret <> changed.secret THEN
    changed.old_secret := changed.secret;
    changed.secret := alter_server.secret;
  END IF;
  changed.options := changed.options || jsonb_strip_nulls(jsonb_build_object(
    'batch_rows', alter_server.batch_rows, 'batch_bytes', alter_server.batch_bytes, 'timeout_ms', alter_server.timeout_ms,
    'compression', alter_server.compression, 'rate_limit', alter_server.rate_limit, 'schedule', alter_server.schedule,
    'retention_hours', alter_server.retention_hours));
  PERFORM rowmesh.check_server_settings(changed.options::text);
  changed.direction := coalesce(alter_server.direction, changed.direction);
  PERFORM rowmesh.check_server_options(changed.url, changed.secret, changed.direction);
  UPDATE rowmesh.server s SET url = changed.url, secret = changed.secret, old_secret = changed.old_secret, options = changed.options, direction = changed.direction,
    tables = CASE WHEN alter_server.tables IS NULL THEN s.tables ELSE rowmesh.server_tables(alter_server.tables) END, enabled = coalesce(alter_server.enabled, s.enabled) WHERE s.id = found_id;
END $$;

CREATE FUNCTION remove_server(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM rowmesh.server s WHERE s.id = rowmesh.require_server(remove_server.name);
END $$;

CREATE FUNCTION enable_server(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE rowmesh.server s SET enabled = true WHERE s.id = rowmesh.require_server(enable_server.name);
END $$;

CREATE FUNCTION disable_server(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE rowmesh.server s SET enabled = false WHERE s.id = rowmesh.require_server(disable_server.name);
END $$;

CREATE FUNCTION enable() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  'UPDATE rowmesh.state SET enabled = true';
CREATE FUNCTION disable() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  'UPDATE rowmesh.state SET enabled = false';

-- ---- requests, carried out by the worker

CREATE FUNCTION wire_name_of(relation regclass) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wire text;
BEGIN
  IF relation IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT t.wire_name INTO wire FROM rowmesh.replicated_table t WHERE t.relid = relation;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table % is not replicated; add it with rowmesh.add_table(%)', relation, quote_literal(relation) USING ERRCODE = 'undefined_object';
  END IF;
  RETURN wire;
END $$;

CREATE FUNCTION copy(server text, "table" text DEFAULT NULL, direction text DEFAULT 'push', on_existing text DEFAULT 'fail') RETURNS bigint
  LANGUAGE sql AS 'SELECT rowmesh.queue_copy($1, rowmesh.wire_name_of(rowmesh.resolve_table($2)), $3, $4)';

-- Compares rows with those of another server while both change. What differs is listed in the view conflicts, counted in status.progress.
CREATE FUNCTION queue_check(server_name text, wire_name text, kind text, winner text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  new_id bigint;
BEGIN
  PERFORM rowmesh.require_server(server_name);
  IF kind = 'repair' AND (winner IS NULL OR winner NOT IN ('here', 'there')) THEN
    RAISE EXCEPTION 'winner is % but must be ''here'' (its rows become ours) or ''there'' (ours become its)', coalesce(quote_literal(winner), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO rowmesh.request (kind, argument)
    VALUES (kind, json_build_object('server', server_name, 'table', wire_name, 'direction', CASE WHEN winner = 'here' THEN 'push' ELSE 'pull' END, 'on_existing', kind)::text)
    RETURNING id INTO new_id;
  RETURN new_id;
END $$;

CREATE FUNCTION verify(server text, "table" text DEFAULT NULL) RETURNS bigint
  LANGUAGE sql AS 'SELECT rowmesh.queue_check($1, rowmesh.wire_name_of(rowmesh.resolve_table($2)), ''verify'', NULL)';
CREATE FUNCTION repair(server text, "table" text DEFAULT NULL, winner text DEFAULT NULL) RETURNS bigint
  LANGUAGE sql AS 'SELECT rowmesh.queue_check($1, rowmesh.wire_name_of(rowmesh.resolve_table($2)), ''repair'', $3)';

CREATE FUNCTION retry(id bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF retry.id IS NOT NULL AND NOT EXISTS (SELECT FROM rowmesh.side s WHERE s.id = retry.id) THEN
    RAISE EXCEPTION 'there is no entry % in quarantine; see the view rowmesh.quarantine', retry.id USING ERRCODE = 'undefined_object';
  END IF;
  INSERT INTO rowmesh.request (kind, argument) VALUES ('retry', coalesce(retry.id, 0)::text);
END $$;

CREATE FUNCTION discard(id bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM rowmesh.side s WHERE s.id = discard.id) THEN
    RAISE EXCEPTION 'there is no entry % in quarantine; see the view rowmesh.quarantine', coalesce(discard.id::text, 'NULL') USING ERRCODE = 'undefined_object';
  END IF;
  INSERT INTO rowmesh.request (kind, argument) VALUES ('discard', discard.id::text);
END $$;

CREATE FUNCTION nothing_to_restore(resolution text) RETURNS text LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'rowmesh_nothing_to_restore';

-- What came of it is in conflicts.restored.
CREATE FUNCTION restore(id bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  listed record;
BEGIN
  SELECT c.resolution, c.image = '' AS nothing INTO listed FROM rowmesh.conflict c WHERE c.id = restore.id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no conflict %; see the view rowmesh.conflicts', coalesce(restore.id::text, 'NULL') USING ERRCODE = 'undefined_object';
  ELSIF listed.nothing THEN
    RAISE EXCEPTION '%', rowmesh.nothing_to_restore(listed.resolution) USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE rowmesh.conflict c SET restored = NULL WHERE c.id = restore.id;
  INSERT INTO rowmesh.request (kind, argument) VALUES ('restore', restore.id::text);
END $$;

-- This database is not who it was: the status said so, and that nothing is shipped until this is called.
CREATE FUNCTION new_identity(kind text DEFAULT NULL) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  chosen text := coalesce(kind, nullif(rowmesh.published_status()::jsonb ->> 'identity', ''));
BEGIN
  IF chosen IS NULL THEN
    RAISE EXCEPTION 'nothing is known to be wrong with the identity of this node'
      USING HINT = 'Say new_identity(''copied'') if this database is a copy that is to be a node of its own, new_identity(''restored'') if it was restored from a backup.',
            ERRCODE = 'invalid_parameter_value';
  ELSIF chosen NOT IN ('copied', 'restored') THEN
    RAISE EXCEPTION 'kind is % but must be ''copied'' or ''restored''', quote_literal(chosen) USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO rowmesh.request (kind, argument) VALUES ('new_identity', chosen);
END $$;

-- ---- what people see

CREATE VIEW status AS
  SELECT s.name AS server, s.url, s.direction, s.enabled,
         CASE WHEN w.trouble <> '' THEN 'worker not running'
              WHEN NOT s.enabled OR NOT n.enabled THEN 'disabled'
              ELSE coalesce(o.one ->> 'state', 'catching up') END AS state,
         coalesce((o.one ->> 'queued')::bigint, 0) AS queued,
         coalesce((o.one ->> 'lag_ms')::bigint, 0) AS lag_ms,
         pg_catalog.to_timestamp(nullif((o.one ->> 'last_success_ms')::double precision, 0) / 1000) AS last_success,
         nullif(CASE WHEN w.trouble <> '' THEN w.trouble ELSE coalesce(nullif(o.one ->> 'last_error', ''), p.node ->> 'blocked', '') END, '') AS last_error,
         coalesce((o.one ->> 'rows_sent')::bigint, 0) AS rows_sent,
         coalesce((o.one ->> 'rows_received')::bigint, 0) AS rows_received,
         coalesce((o.one ->> 'conflicts')::bigint, 0) AS conflicts,
         (SELECT pg_catalog.count(*) FROM rowmesh.side d WHERE d.kind = 'quarantined') AS quarantined,
         nullif(o.one ->> 'progress', '') AS progress  -- of a copy, verify or repair, and what the last one came to
  FROM rowmesh.server s
  CROSS JOIN rowmesh.state n
  CROSS JOIN (SELECT rowmesh.worker_trouble() AS trouble) w
  CROSS JOIN (SELECT rowmesh.published_status()::jsonb AS node) p
  LEFT JOIN LATERAL (SELECT x.value AS one FROM pg_catalog.jsonb_array_elements(p.node -> 'servers') x
                     WHERE x.value ->> 'name' = s.name LIMIT 1) o ON true
  ORDER BY s.name;

CREATE VIEW tables AS
  SELECT t.relid::text AS "table", t.wire_name AS name, t.merge,
         (SELECT pg_catalog.string_agg(a.attname, ', ' ORDER BY k.place)
          FROM pg_catalog.pg_index i CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
          WHERE i.indexrelid = (SELECT j.indexrelid FROM pg_catalog.pg_index j WHERE j.indrelid = t.relid AND (j.indisprimary OR j.indisreplident)
                                ORDER BY j.indisprimary DESC LIMIT 1) AND k.place <= i.indnkeyatts) AS key,
         coalesce(rowmesh.table_trouble(t.relid), p.node -> 'waiting' ->> t.wire_name, '') AS trouble,
         (SELECT pg_catalog.count(*) FROM rowmesh.side d WHERE d.table_id = t.id AND d.kind = 'quarantined') AS quarantined,
         (SELECT pg_catalog.count(*) FROM rowmesh.side d WHERE d.table_id = t.id AND d.kind IN ('hidden', 'held')) AS hidden
  FROM rowmesh.replicated_table t CROSS JOIN (SELECT rowmesh.published_status()::jsonb AS node) p ORDER BY t.wire_name;

CREATE VIEW conflicts AS
  SELECT c.id, c.time, c.table_name AS "table", c.key_text AS key, c.type, c.resolution, c.winner, c.loser, c.winner_version, c.loser_version, c.restored
  FROM rowmesh.conflict c ORDER BY c.id;

CREATE VIEW quarantine AS
  SELECT d.id, coalesce(t.relid::text, d.table_id::text) AS "table", d.key_text AS key, d.reason, d.code, d.payload, d.origin, d.since
  FROM rowmesh.side d LEFT JOIN rowmesh.replicated_table t ON t.id = d.table_id WHERE d.kind = 'quarantined' ORDER BY d.id;

-- With the caller's own rights: tables that the caller may not read are left out. No cast of the owner of a type runs: text is what format() makes.
CREATE FUNCTION dangling_references(OUT "table" text, OUT key text, OUT "column" text, OUT value text, OUT to_table text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
  place record;
  key_list text;
BEGIN
  FOR one IN
    SELECT t.relid, c.confrelid AS to_relid,
           (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(c.conkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS columns,
           (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(c.confkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number) AS to_columns,
           (SELECT array_agg(format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY k.place)
            FROM unnest(c.conpfeqop) WITH ORDINALITY AS k (number, place) JOIN pg_operator o ON o.oid = k.number JOIN pg_namespace n ON n.oid = o.oprnamespace) AS equal
    FROM rowmesh.replicated_table t JOIN pg_constraint c ON c.conrelid = t.relid AND c.contype = 'f'
    UNION ALL
    SELECT r.relid, r.to_relid, ARRAY[r.name], ARRAY[a.attname], ARRAY['OPERATOR(pg_catalog.=)']
    FROM rowmesh.reference r JOIN pg_index i ON i.indrelid = r.to_relid AND i.indisprimary AND i.indnkeyatts = 1
      JOIN pg_attribute a ON a.attrelid = r.to_relid AND a.attnum = i.indkey[0]
    ORDER BY 1, 2
  LOOP
    CONTINUE WHEN NOT has_table_privilege(one.relid, 'SELECT') OR NOT has_table_privilege(one.to_relid, 'SELECT');
    SELECT string_agg(format(CASE t.typcategory WHEN 'N' THEN 'format(''%%s'', c.%I)' ELSE 'format(''%%L'', c.%I)' END, a.attname), ', ' ORDER BY k.place) INTO key_list
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number JOIN pg_type t ON t.oid = a.atttypid
    WHERE i.indexrelid = (SELECT j.indexrelid FROM pg_index j WHERE j.indrelid = one.relid AND (j.indisprimary OR j.indisreplident) ORDER BY j.indisprimary DESC LIMIT 1)
      AND k.place <= i.indnkeyatts;
    CONTINUE WHEN key_list IS NULL;
    SELECT string_agg(format('c.%I IS NOT NULL', n.name), ' AND ') AS given,
           string_agg(format('p.%I %s c.%I', n.to_name, n.equal, n.name), ' AND ') AS same,
           string_agg(format('format(''%%s'', c.%I)', n.name), ', ') AS shown
      INTO place FROM unnest(one.columns, one.to_columns, one.equal) AS n (name, to_name, equal);
    RETURN QUERY EXECUTE format(
      'SELECT %L::text, concat_ws('', '', %s), %L::text, concat_ws('', '', %s), %L::text FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s) ORDER BY 2',
      one.relid::regclass::text, key_list, array_to_string(one.columns, ', '), place.shown, one.to_relid::regclass::text,
      one.relid::regclass, place.given, one.to_relid::regclass, place.same);
  END LOOP;
END $$;

CREATE VIEW dangling AS SELECT d."table", d.key, d."column", d.value, d.to_table FROM rowmesh.dangling_references() d;

CREATE FUNCTION queue_size() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  'SELECT coalesce(sum(queued), 0)::bigint FROM rowmesh.status';

CREATE FUNCTION node(OUT node uuid, OUT origin text, OUT name text, OUT created timestamptz, OUT enabled boolean, OUT listening text, OUT "position" bigint,
                     OUT refused jsonb)  -- requests that were refused since the worker started, by reason
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.node, s.origin, s.name, s.created, s.enabled, coalesce(p.node ->> 'listening', ''), coalesce((p.node ->> 'position')::bigint, 0), coalesce(p.node -> 'refused', '{}')
  FROM rowmesh.state s CROSS JOIN (SELECT rowmesh.published_status()::jsonb AS node) p
$$;

-- The worst of the named checks wins; the same as GET /health.
CREATE FUNCTION health() RETURNS json LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  'SELECT rowmesh.health_text()::json';

-- ---- who may use the dashboard and the API

CREATE TABLE credential (
  name text PRIMARY KEY,            -- 'dashboard': its password. Others: tokens
  scope text NOT NULL CHECK (scope IN ('admin', 'monitor')),
  hash text NOT NULL,               -- shared/web/credentials.hpp
  created timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON credential FOR EACH STATEMENT EXECUTE FUNCTION config_changed();

CREATE VIEW tokens AS SELECT c.name, c.scope, c.created FROM rowmesh.credential c WHERE c.name <> 'dashboard' ORDER BY c.name;

-- NULL: nobody can log in any more.
CREATE FUNCTION set_dashboard_password(password text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF password IS NULL THEN
    DELETE FROM rowmesh.credential c WHERE c.name = 'dashboard';
  ELSE
    INSERT INTO rowmesh.credential (name, scope, hash) VALUES ('dashboard', 'admin', rowmesh.hash_password(password))
      ON CONFLICT ON CONSTRAINT credential_pkey DO UPDATE SET hash = excluded.hash, created = now();
  END IF;
END $$;

-- Returns the token. It is not kept and cannot be shown again.
CREATE FUNCTION add_token(name text, scope text DEFAULT 'monitor') RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  token text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
BEGIN
  IF coalesce(add_token.name, '') IN ('', 'dashboard') THEN
    RAISE EXCEPTION 'give the token a name, such as that of the program that will use it' USING ERRCODE = 'invalid_parameter_value';
  ELSIF add_token.scope IS NULL OR add_token.scope NOT IN ('admin', 'monitor') THEN
    RAISE EXCEPTION 'scope is % but must be ''monitor'' (may read) or ''admin'' (may do everything)', coalesce(quote_literal(add_token.scope), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO rowmesh.credential AS c (name, scope, hash)
    VALUES (add_token.name, add_token.scope, 'sha256$' || encode(sha256(convert_to(token, 'UTF8')), 'hex'))
    ON CONFLICT ON CONSTRAINT credential_pkey DO UPDATE SET scope = excluded.scope, hash = excluded.hash, created = now();
  RETURN token;
END $$;

CREATE FUNCTION remove_token(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM rowmesh.credential c WHERE c.name = remove_token.name AND c.name <> 'dashboard';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no token %; see the view rowmesh.tokens', coalesce(quote_literal(remove_token.name), 'NULL') USING ERRCODE = 'undefined_object';
  END IF;
END $$;

-- ---- who may what

REVOKE ALL ON ALL TABLES IN SCHEMA rowmesh FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rowmesh FROM PUBLIC;
GRANT SELECT ON status, tables, conflicts, quarantine, dangling, tokens TO rowmesh_monitor, rowmesh_admin;
-- For dangling_references(), which looks with its caller's rights.
GRANT SELECT ON replicated_table, reference TO rowmesh_monitor, rowmesh_admin;
GRANT EXECUTE ON FUNCTION health(), queue_size(), node(), rowmesh.version(), wait(text, integer), published_status(), worker_trouble(), table_trouble(regclass), dangling_references()
  TO rowmesh_monitor, rowmesh_admin;
GRANT EXECUTE ON FUNCTION
  resolve_table(text), add_resolved_table(regclass, text, text, text), add_table(text, text, text, text),
  add_resolved_reference(regclass, text, regclass), add_reference(text, text, text), stagger_resolved(regclass, bigint, bigint), stagger(text, bigint, bigint), remove_resolved_table(regclass), remove_table(text), forget_dropped_table(text),
  add_server(text, text, text, text, text[], boolean, text), alter_server(text, text, text, text, text[], boolean, integer, bigint, integer, text, bigint, text, integer), remove_server(text),
  enable_server(text), disable_server(text), enable(), disable(), test_server(text), queue_copy(text, text, text, text), wire_name_of(regclass),
  copy(text, text, text, text), queue_check(text, text, text, text), verify(text, text), repair(text, text, text), retry(bigint), discard(bigint), restore(bigint), new_identity(text), set_dashboard_password(text), add_token(text, text), remove_token(text), log_entries(), reconcile(boolean)
  TO rowmesh_admin;
-- Making a partition copies the triggers in the name of whoever makes it. (Without USAGE on the schema nobody can name these functions.)
GRANT EXECUTE ON FUNCTION capture(), capture_truncate() TO PUBLIC;
-- For column defaults. An application's role also needs USAGE on the schema, which nobody gets unasked.
GRANT EXECUTE ON FUNCTION id() TO PUBLIC;

-- The worker of this database can start when this commits.
SELECT poke_launcher();
