import { readFile } from 'node:fs/promises';
import type { Sql } from './connection.ts';

/** Version of `schema.sql`: raise it with every change of that file. */
export const SCHEMA_VERSION = 7;

/**
 * Oldest version of a schema whose events this release can read. Older ones have events of other types and fields, without a field
 * that tells the two apart, and headers of disks that are not authenticated. Raise it if a release cannot read what an older one stored.
 */
export const OLDEST_READABLE_SCHEMA = 7;

/**
 * Creates the tables and functions of a store, or replaces older ones. Processes of one or of two releases may call it at the
 * same time: the first one does the work, and an older release leaves the schema of a newer one unchanged. Therefore the schema
 * only grows: new columns have defaults, and functions keep their signatures.
 * @param version of `schema`; tests pass others than `SCHEMA_VERSION`
 * @throws PostgresError IL003 for a store older than `OLDEST_READABLE_SCHEMA`, which stays unchanged: the release that wrote it can still use it
 */
export const migrate = async (sql: Sql, version = SCHEMA_VERSION, schema = readSchema()): Promise<void> => {
  // One message, so one transaction. If the connection ends inside `sql.begin`, the driver sends a rollback to no socket, which
  // ends this process.
  await sql.unsafe(`
select pg_advisory_xact_lock(${catalogueLock});
create table if not exists schema_version (
  singleton boolean primary key default true check (singleton),
  version integer not null
);
do $migration$
declare
  v_stored integer := (select version from schema_version);
begin
  if v_stored > ${version} then return; end if;
  if v_stored < ${OLDEST_READABLE_SCHEMA} then
    raise exception using errcode = 'IL003', message = format(
      'an older release wrote database %s (schema %s), and this one reads schemas from ${OLDEST_READABLE_SCHEMA} on. '
      'Nothing was changed: start the older release on it again and copy the content to a new cloud (docs/how-to/deploy-on-kubernetes.md#upgrade)',
      current_database(), v_stored);
  end if;
  execute $schema$${await schema}$schema$;
  insert into schema_version (version) values (${version}) on conflict (singleton) do update set version = excluded.version;
end
$migration$`);
};

/** Advisory lock, 'intl' as a number: two processes that create the same table at once would fail in the catalogue. */
const catalogueLock = 0x696e746c;

const readSchema = (): Promise<string> => readFile(new URL('schema.sql', import.meta.url), 'utf8');
