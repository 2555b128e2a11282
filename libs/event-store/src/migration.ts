import { readFile } from 'node:fs/promises';
import type { Sql } from './connection.ts';

/** Version of `schema.sql`: raised whenever that file changes in a way a server must learn of. */
export const SCHEMA_VERSION = 6;

/**
 * Brings the tables and functions of a store to this release: creates what is missing, replaces what is older. Safe with
 * several processes starting at once, of this release and of the one before: whoever comes first does it, and a process
 * of an older release that starts later leaves what it finds as it is, so that a restart in the middle of a rolling
 * update takes nothing back. That works because the schema only ever grows: tables and columns are added with defaults,
 * functions keep the signatures the release before calls.
 * @param version of `schema`; others than `SCHEMA_VERSION` are for tests
 */
export const migrate = async (sql: Sql, version = SCHEMA_VERSION, schema = readSchema()): Promise<void> => {
  // One message, and so one transaction. In one that the driver holds open it answers the end of its connection with a
  // rollback that goes to no socket, and that ends this process.
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

/** Two processes creating the same table at once would fail in the catalogue; 'intl' as a number names the lock. */
const catalogueLock = 0x696e746c;

const readSchema = (): Promise<string> => readFile(new URL('schema.sql', import.meta.url), 'utf8');
