import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import connect from 'postgres';
import { LauncherError } from './data-folder.ts';

/** The owner of the databases. */
export interface DatabaseHolder {
  /** Root of the data folder. */
  readonly folder: string;
  /** The id of the folder's first administrator: created together with its keys, and unique to the folder. */
  readonly administratorId: string;
}

/** 'cloud' as a number: the lock of the launcher that uses a cloud, in the database of its identity. */
const cloudLock = 0x636c6f7564;

/** The code with which Postgres refuses an action that a role may not do. */
export const insufficientPrivilege = '42501';

/** How long to wait before the lock is requested again after its connection ended, in milliseconds. */
const againMs = 500;

/** How long the server may take to notice that the previous launcher has ended, in milliseconds. */
const patienceMs = 1_000;

/**
 * Makes this process the only launcher on the databases of a cloud on a given server, until the returned function is called or
 * the process ends. The databases belong to the folder whose first administrator their identity knows. Their content is
 * sealed under the keys of that folder, and another folder could only damage it. The comment of the database names the
 * folder, and the refusal shows it.
 * @param url of the database of identity, which exists
 * @throws LauncherError if they belong to another folder, or another launcher uses them
 */
export async function holdDatabases(
  url: string,
  { folder, administratorId }: DatabaseHolder,
): Promise<() => Promise<void>> {
  const database = decodeURIComponent(new URL(url).pathname.slice(1));
  let isReleased = false;
  let timer: NodeJS.Timeout | undefined;
  // A restart of the server releases the lock.
  const again = () => {
    if (isReleased) return;
    clearTimeout(timer);
    timer = setTimeout(() => void tryLock().then((isHeld) => isHeld || again(), again), againMs);
    timer.unref();
  };
  const options = { max: 1, max_lifetime: null, onnotice: () => undefined, onclose: again };
  const sql = connect(url, options);
  const tryLock = async (): Promise<boolean> => {
    const [row] = await sql<{ held: boolean }[]>`select pg_try_advisory_lock(${cloudLock}::bigint) as held`;
    return row?.held === true;
  };
  const release = async () => {
    isReleased = true;
    clearTimeout(timer);
    // No retries: an unreachable server is an error.
    await sql.end({ timeout: 1 });
  };
  try {
    let isFree = await tryLock();
    for (const since = performance.now(); !isFree && performance.now() - since < patienceMs; isFree = await tryLock()) {
      await delay(50);
    }
    const { owner, isOthers } = await ownerOf(sql, database, administratorId);
    if (isOthers) {
      throw new LauncherError(
        `The databases behind DATABASE_URL (${database}, …) hold the cloud of ${owner ?? 'another data folder'}, not that of ${folder}, which has other keys. ` +
          `Start it with ${owner === undefined ? 'the INTERLOCK_DATA it was made with' : 'INTERLOCK_DATA naming that folder'}, or give ${folder} a DATABASE_URL of another server; ` +
          `where the old cloud is not needed any more, drop its databases.`,
      );
    }
    if (!isFree) {
      throw new LauncherError(
        `A cloud is already running on the databases behind DATABASE_URL (${database}, …), started from ${owner ?? 'another data folder'}. Stop it first, or give ${folder} a DATABASE_URL of another server.`,
      );
    }
    await comment(sql, database, `Interlock: ${folder} on ${hostname()}`);
    return release;
  } catch (error) {
    await release();
    throw error;
  }
}

/** The owner that is recorded in a database. @param database the one to which `sql` is connected */
async function ownerOf(
  sql: connect.Sql,
  database: string,
  administratorId: string,
): Promise<{ owner: string | undefined; isOthers: boolean }> {
  const [mark] = await sql<{ comment: string | null; isUsed: boolean }[]>`
    select shobj_description(oid, 'pg_database') as comment, to_regclass('events') is not null as "isUsed"
      from pg_database where datname = ${database}`;
  const [, owner] = /^Interlock: (.+)$/s.exec(mark?.comment ?? '') ?? [];
  if (mark?.isUsed !== true) return { owner, isOthers: false };
  // A store to which identity has not written yet has no owner.
  const [store] = await sql<{ isOthers: boolean }[]>`
    select exists (select from events)
       and not exists (select from events where stream = ${`principal-${administratorId}`}) as "isOthers"`;
  return { owner, isOthers: store?.isOthers === true };
}

async function comment(sql: connect.Sql, database: string, text: string): Promise<void> {
  // This statement takes no parameters.
  const literal = sql.unsafe(`'${text.replaceAll("'", "''")}'`);
  try {
    await sql`comment on database ${sql(database)} is ${literal}`;
  } catch (error) {
    // Another role owns the database, so the owner is known without a comment.
    if (!(error instanceof connect.PostgresError) || error.code !== insufficientPrivilege) throw error;
  }
}
