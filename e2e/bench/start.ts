import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { benchOf } from './bench.ts';
import { median } from './measure.ts';

const bootstrap = fileURLToPath(new URL('../../deploy/local/bootstrap.mjs', import.meta.url));
const script = fileURLToPath(new URL('./start-process.ts', import.meta.url));

/** Milliseconds from the command to each stage of a start. */
type Stages = Readonly<Record<string, number>>;

/**
 * Milliseconds from the command, in a clone that is set up, until the first machine of a new cloud runs: its own Postgres and
 * NATS, five services, a vault, a key, a set, a disk, a machine. `…Ms` are the medians of its stages.
 * Floor: the same command until Postgres and NATS serve.
 */
export const start = benchOf(
  { name: 'start', unit: 'ms', sizes: [1] },
  async ({ options: { data }, scope, rounds }) => {
    // Kept between rounds, as it is between two starts.
    const compileCache = data.folder('compile-cache');
    const startOnce = async (what: 'machine' | 'servers'): Promise<Stages> => {
      const folder = mkdtempSync(join(data.folder('starts'), `${what}-`));
      // A new user has no servers, so given ones are not used.
      const { DATABASE_URL: _database, NATS_URL: _nats, ...rest } = process.env;
      const env = { ...rest, INTERLOCK_DATA: folder, NODE_COMPILE_CACHE: compileCache };
      const startedAt = Date.now();
      const { signal } = scope;
      const { stdout } = await promisify(execFile)(process.execPath, [bootstrap, script, what], { env, signal });
      rmSync(folder, { recursive: true, force: true });
      const { atEnd = 0, ...stages } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Stages;
      const beforeProcess = atEnd - startedAt - (stages.end ?? 0);
      return Object.fromEntries(Object.entries(stages).map(([stage, ms]) => [stage, beforeProcess + ms]));
    };
    // The first round fills the cache.
    const samples = await rounds(5, async () => [await startOnce('machine'), await startOnce('servers')] as const);
    const machines = samples.map(([machine]) => machine);
    const servers = samples.map(([, server]) => server);
    const ends = (all: readonly Stages[]) => all.map(({ end = 0 }) => end);
    const names = Object.keys(machines[0] ?? {}).filter((stage) => stage !== 'end');
    const stages = Object.fromEntries(
      names.map((stage) => [`${stage}Ms`, Math.round(median(machines.map((each) => each[stage] ?? 0)))]),
    );
    return { values: ends(machines), floors: ends(servers), details: stages };
  },
);
