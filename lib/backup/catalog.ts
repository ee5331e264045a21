/**
 * Queries of the catalogs, for PostgreSQL 13 to 18: what of a database is its owner's, and so in its dump. What
 * an extension made by itself is not, nor are the system's schemas.
 */

const OWN_SCHEMA = (n: string): string => `${n}.nspname !~ '^pg_' AND ${n}.nspname <> 'information_schema'`;

/** @param inside a condition of the extension `e` under which its member is dumped all the same */
const OF_EXTENSION = (catalog: string, oid: string, inside = ''): string => `EXISTS (
  SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
   WHERE d.classid = 'pg_catalog.${catalog}'::regclass AND d.objid = ${oid} AND d.deptype = 'e'
     AND d.refclassid = 'pg_catalog.pg_extension'::regclass ${inside})`;

/**
 * Tables with rows in the dump, unlogged ones included; with their columns (Column of row-hash.ts). Small ones first: who
 * wants to truncate one waits for pg_dump, and whoever counts it later waits behind him.
 */
export const OWN_TABLES = `
  SELECT n.nspname AS schema, c.relname AS name, c.oid::text AS oid, c.relfilenode::text AS file, ARRAY(
         SELECT json_build_object('name', a.attname, 'seed', hashtextextended(a.attname::text COLLATE "C", 0)::text, 'type',
                  CASE WHEN t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname END)
           FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND ${OWN_SCHEMA('n')}
     AND NOT ${OF_EXTENSION('pg_class', 'c.oid', "AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))")}
   ORDER BY c.relpages, 1, 2`;

/**
 * Tables whose file is another one than in the session's snapshot: written anew since, by TRUNCATE or ALTER TABLE. The
 * function knows what holds now, the catalog what held then.
 */
export const REWRITTEN = `
  SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND ${OWN_SCHEMA('n')}
     AND pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
   ORDER BY 1, 2`;

export const SEQUENCES = `
  SELECT n.nspname AS schema, c.relname AS name, s.seqincrement::text AS increment, s.seqcycle AS cycle
    FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND ${OWN_SCHEMA('n')}
     AND NOT ${OF_EXTENSION('pg_class', 'c.oid', "AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))")}`;

const RELATIONS = `pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relpersistence <> 't' AND ${OWN_SCHEMA('n')}`;

/** Kind → count. What a partition or a range type brings along by itself is left out: that differs between versions. */
export const OBJECTS = `
  SELECT kind, count(*)::int AS count FROM (
    SELECT CASE c.relkind WHEN 'v' THEN 'views' WHEN 'm' THEN 'materialized views' WHEN 'f' THEN 'foreign tables'
                          WHEN 'p' THEN 'partitioned tables' WHEN 'S' THEN 'sequences' END AS kind
      FROM ${RELATIONS} AND c.relkind IN ('v', 'm', 'f', 'p', 'S') AND NOT ${OF_EXTENSION('pg_class', 'c.oid')}
    UNION ALL SELECT 'tables of extensions' FROM ${RELATIONS} AND c.relkind = 'r'
      AND ${OF_EXTENSION('pg_class', 'c.oid', "AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))")}
    UNION ALL SELECT CASE WHEN i.indisvalid THEN 'indexes' ELSE 'invalid indexes' END
      FROM pg_catalog.pg_index i JOIN ${RELATIONS.replace('WHERE', 'ON c.oid = i.indexrelid WHERE')}
       AND c.relkind = 'i' AND NOT ${OF_EXTENSION('pg_class', 'i.indrelid')}
    UNION ALL SELECT 'constraints'
      FROM pg_catalog.pg_constraint x JOIN pg_catalog.pg_namespace n ON n.oid = x.connamespace
     WHERE x.contype IN ('c', 'f', 'p', 'u', 'x') AND x.conparentid = 0 AND ${OWN_SCHEMA('n')}
       AND NOT ${OF_EXTENSION('pg_class', 'x.conrelid')} AND NOT ${OF_EXTENSION('pg_type', 'x.contypid')}
    UNION ALL SELECT 'triggers' FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgparentid = 0
    UNION ALL SELECT 'functions' FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE ${OWN_SCHEMA('n')} AND NOT ${OF_EXTENSION('pg_proc', 'p.oid')} AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
    UNION ALL SELECT 'types' FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
     WHERE (t.typtype IN ('d', 'e', 'r') OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
       AND ${OWN_SCHEMA('n')} AND NOT ${OF_EXTENSION('pg_type', 't.oid')}
    UNION ALL SELECT 'schemas' FROM pg_catalog.pg_namespace n
     WHERE ${OWN_SCHEMA('n')} AND n.nspname <> 'public' AND NOT ${OF_EXTENSION('pg_namespace', 'n.oid')}
    UNION ALL SELECT 'policies' FROM pg_catalog.pg_policy
    UNION ALL SELECT 'rules' FROM pg_catalog.pg_rewrite r JOIN ${RELATIONS.replace('WHERE', 'ON c.oid = r.ev_class WHERE')}
       AND r.rulename <> '_RETURN'
    UNION ALL SELECT 'event triggers' FROM pg_catalog.pg_event_trigger t WHERE NOT ${OF_EXTENSION('pg_event_trigger', 't.oid')}
    UNION ALL SELECT 'publications' FROM pg_catalog.pg_publication
    UNION ALL SELECT 'subscriptions' FROM pg_catalog.pg_subscription s
      JOIN pg_catalog.pg_database b ON b.oid = s.subdbid WHERE b.datname = current_database()
    UNION ALL SELECT 'foreign servers' FROM pg_catalog.pg_foreign_server
    UNION ALL SELECT 'user mappings' FROM pg_catalog.pg_user_mapping
    UNION ALL SELECT 'extensions' FROM pg_catalog.pg_extension
    UNION ALL SELECT 'extended statistics' FROM pg_catalog.pg_statistic_ext
    UNION ALL SELECT 'default privileges' FROM pg_catalog.pg_default_acl
  ) AS objects GROUP BY kind ORDER BY kind`;

/** `line`s: the owner of each relation, function and schema, and each privilege of somebody else on one, or on a column. */
export const GRANTS = `
  FROM (
    WITH owned AS (
      SELECT 'relation ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS what, c.relowner AS owner, c.relacl AS acl
        FROM ${RELATIONS} AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S') AND NOT ${OF_EXTENSION('pg_class', 'c.oid')}
      UNION ALL SELECT 'column ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname), c.relowner, a.attacl
        FROM pg_catalog.pg_attribute a JOIN ${RELATIONS.replace('WHERE', 'ON c.oid = a.attrelid WHERE')}
         AND a.attacl IS NOT NULL AND NOT a.attisdropped AND NOT ${OF_EXTENSION('pg_class', 'c.oid')}
      UNION ALL SELECT 'function ' || quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
             p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
       WHERE ${OWN_SCHEMA('n')} AND NOT ${OF_EXTENSION('pg_proc', 'p.oid')}
      UNION ALL SELECT 'schema ' || quote_ident(n.nspname), n.nspowner, n.nspacl
        FROM pg_catalog.pg_namespace n WHERE ${OWN_SCHEMA('n')} AND NOT ${OF_EXTENSION('pg_namespace', 'n.oid')}
    )
    SELECT concat_ws(' ', what, 'is of', pg_catalog.pg_get_userbyid(owner)) AS line FROM owned WHERE what !~ '^column '
    UNION SELECT concat_ws(' ', what, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(grantee) END, privilege_type, is_grantable)
      FROM owned, pg_catalog.aclexplode(acl) WHERE grantee <> owner
  ) AS lines`;

/** Whether anything is in a database that a new one does not have. */
export const OCCUPIED = `
  SELECT EXISTS (SELECT FROM ${RELATIONS} AND NOT ${OF_EXTENSION('pg_class', 'c.oid')})
      OR EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                  WHERE ${OWN_SCHEMA('n')} AND NOT ${OF_EXTENSION('pg_proc', 'p.oid')})
      OR EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                  WHERE ${OWN_SCHEMA('n')} AND NOT ${OF_EXTENSION('pg_type', 't.oid')})
      OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) AS occupied`;
