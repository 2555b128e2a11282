import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Sql } from '@interlock/event-store';

/** Clock ticks a second, in which proc(5) counts. Asked for when it is needed: most benches are without a fleet. */
const ticksPerSecond = (): number => {
  ticks ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return ticks;
};
let ticks: number | undefined;

/** Processor time of processes of this machine so far, in ms; of one that is gone, none. */
export const cpuMs = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => {
    const path = `/proc/${pid}/stat`;
    if (!existsSync(path)) return sum;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field behind it.
    const fields = readFileSync(path, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return sum + ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond();
  }, 0);

/** The processes of the Postgres server that serve a database. Of a server elsewhere there are none here. */
export const backendsOf = async (sql: Sql): Promise<readonly number[]> => {
  const found = await sql<{ pid: number }[]>`select pid from pg_stat_activity where datname = current_database()`;
  return found.map(({ pid }) => pid);
};
