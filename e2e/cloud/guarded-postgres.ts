import { chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openConnections } from '@interlock/event-store';
import { makeServer, type Pair, pemOf } from '@interlock/local/certificates.ts';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { startPostgres } from '@interlock/local/postgres.ts';

/** A Postgres server that accepts TCP only with TLS, as in production. */
export interface GuardedPostgres {
  /** The authority of its certificate, in PEM. */
  readonly ca: string;
  /** Of a database, with the password. */
  url(database: string): string;
  createDatabases(names: readonly string[]): Promise<void>;
  /** Changes to a certificate of another authority. */
  renew(authority: Pair): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts an own server in a folder that requires TLS.
 * @param lines of `pg_hba.conf` that come first: they refuse connections without TLS, and roles in databases of others
 */
export const startGuardedPostgres = async (
  folder: string,
  authority: Pair,
  lines: readonly string[],
): Promise<GuardedPostgres> => {
  const server = await startPostgres(openDataFolder(folder), { PATH: process.env.PATH });
  // By its socket, which is in a private folder and knows no TLS.
  const local = openConnections(server.shortUrl('postgres'), { maxConnections: 1 });
  const [{ home = '' } = {}] = await local<{ home: string }[]>`select current_setting('data_directory') as home`;
  const show = async (by: Pair): Promise<void> => {
    const { certificate, key } = await pemOf(await makeServer(by, Date.now(), { dns: ['localhost'], ip: [] }));
    const { uid, gid } = statSync(join(home, 'PG_VERSION'));
    for (const [name, text] of [
      ['server.crt', certificate],
      ['server.key', key],
    ] as const) {
      writeFileSync(join(home, name), text, { mode: 0o600 });
      chownSync(join(home, name), uid, gid);
    }
    await local`select pg_reload_conf()`;
  };
  const rules = join(home, 'pg_hba.conf');
  writeFileSync(rules, `${lines.join('\n')}\n${readFileSync(rules, 'utf8')}`);
  await local`alter system set ssl = on`;
  await show(authority);
  return {
    ca: (await pemOf(authority)).certificate,
    url: (database) => server.url(database).replace('@127.0.0.1:', '@localhost:'),
    createDatabases: server.createDatabases,
    renew: show,
    stop: async () => {
      await local.end();
      await server.stop();
    },
  };
};
