import { randomUUID } from 'node:crypto';
import type { Scope } from '@interlock/runtime';
import { openConnections, type Sql } from './connection.ts';
import { openPostgresStore, type PostgresStoreOptions } from './postgres-store.ts';
import type { EventStore } from './store.ts';

/** A database of one test file. */
export interface TestDatabase {
  readonly url: string;
  /** Connections of the test itself, to read or damage the stored data. */
  readonly sql: Sql;
  /** Ends every connection to the database and drops it. */
  drop(): Promise<void>;
}

/**
 * Creates an empty database on the server of `DATABASE_URL`.
 * @param encoding of its texts; by default that of the server
 * @throws when the variable is missing, so that such a test is never skipped silently
 */
export const createTestDatabase = async (encoding?: 'SQL_ASCII'): Promise<TestDatabase> => {
  const server = process.env.DATABASE_URL;
  if (!server)
    throw new Error('DATABASE_URL is not set: run this test through `npm test`, or point it at a Postgres 17 server');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  // Dropping a database waits for a checkpoint, which may take longer than any transaction of a service.
  const admin = openConnections(server, { maxConnections: 1, transactionTimeoutMs: 120_000 });
  const request = encoding === undefined ? '' : ` encoding '${encoding}' locale 'C' template template0`;
  await admin.unsafe(`create database ${name}${request}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const sql = openConnections(url.href, { maxConnections: 4 });
  return {
    url: url.href,
    sql,
    async drop() {
      await sql.end({ timeout: 1 });
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end({ timeout: 1 });
    },
  };
};

/** A store in a database of its own. Both end with the scope. */
export const openTestStore = async (
  scope: Scope,
  name: string,
  options: Pick<PostgresStoreOptions, 'clock' | 'maxConnections'>,
): Promise<{ readonly database: TestDatabase; readonly store: EventStore }> => {
  const database = await createTestDatabase();
  scope.defer(`database of ${name}`, () => database.drop());
  const store = await openPostgresStore({ url: database.url, ...options });
  scope.defer(`store of ${name}`, () => store.close());
  return { database, store };
};
