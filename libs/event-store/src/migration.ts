import { readFile } from 'node:fs/promises';
import type { Sql } from './connection.ts';

/** Version of `schema.sql`: raise it with every change of that file. */
export const SCHEMA_VERSION = 7;

/**
 * Creates the tables and functions of a store, or replaces older ones. Processes of one or of two releases may call it at the
 * same time: the first one does the work, and an older release leaves the schema of a newer one unchanged. Therefore the schema
 * only grows: new columns have defaults, and functions keep their signatures.
 * @param version of `schema`; tests pass others than `SCHEMA_VERSION`
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
begin
  if coalesce((select version from schema_version), 0) > ${version} then return; end if;
  execute $schema$${await schema}$schema$;
  insert into schema_version (version) values (${version}) on conflict (singleton) do update set version = excluded.version;
end
$migration$`);
};

/** Advisory lock, 'intl' as a number: two processes that create the same table at once would fail in the catalogue. */
const catalogueLock = 0x696e746c;

const readSchema = (): Promise<string> => readFile(new URL('schema.sql', import.meta.url), 'utf8');
