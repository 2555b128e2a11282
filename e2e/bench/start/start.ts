import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Scope } from '@interlock/runtime';
import type { BenchOptions } from '../bench.ts';
import { type Measurement, measurement, median } from '../measure.ts';

const bootstrap = fileURLToPath(new URL('../../../deploy/local/bootstrap.mjs', import.meta.url));
const script = fileURLToPath(new URL('./first-machine.ts', import.meta.url));

/** When a start reached what, in milliseconds after its command was given. */
type Stages = Readonly<Record<string, number>>;

/**
 * Milliseconds from a command given in a clone that is set up, on a machine that has run it before, until the first machine
 * of a new cloud runs: bootstrap, Postgres and NATS of its own, five services, a vault with a key, a set, a disk, a machine
 * with its guest. The floor, in turn with it: the same command until Postgres and NATS alone serve. The stages (`…Ms`, medians)
 * tell where the time goes. Servers of `DATABASE_URL` and `NATS_URL` are not used: a newcomer has none.
 */
export const start = async ({ smoke, data }: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const rounds = smoke ? 1 : 5;
  // Kept over the rounds, as between two starts: code compiled before.
  const compileCache = data.folder('compile-cache');
  const once = async (what: 'machine' | 'servers'): Promise<Stages> => {
    const folder = mkdtempSync(join(data.folder('starts'), `${what}-`));
    const { DATABASE_URL: _database, NATS_URL: _nats, ...rest } = process.env;
    const env = { ...rest, INTERLOCK_DATA: folder, NODE_COMPILE_CACHE: compileCache };
    const given = Date.now();
    const { stdout } = await promisify(execFile)(process.execPath, [bootstrap, script, what], {
      env,
      signal: scope.signal,
    });
    rmSync(folder, { recursive: true, force: true });
    const { atEnd, ...stages } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Stages;
    const total = (atEnd ?? 0) - given;
    const before = total - (stages.end ?? 0);
    return Object.fromEntries(Object.entries(stages).map(([stage, ms]) => [stage, before + ms]));
  };
  const machines: Stages[] = [];
  const servers: Stages[] = [];
  for (let round = 0; round <= rounds; round++) {
    const [machine, server] = [await once('machine'), await once('servers')];
    // The first round fills the cache.
    if (round === 0 && !smoke) continue;
    machines.push(machine);
    servers.push(server);
  }
  const ends = (all: readonly Stages[]) => all.map(({ end = 0 }) => end);
  const names = Object.keys(machines[0] ?? {}).filter((stage) => stage !== 'end');
  const stages = Object.fromEntries(
    names.map((stage) => [`${stage}Ms`, Math.round(median(machines.map((each) => each[stage] ?? 0)))]),
  );
  return [measurement({ bench: 'start', size: 1, unit: 'ms' }, ends(machines), ends(servers), stages)];
};
