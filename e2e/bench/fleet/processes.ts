import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Sql } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { diskHostName, type ProcessTarget, serviceNames } from '@interlock/local/services.ts';
import { rounded, timed } from '../measure.ts';

/** One process of this machine. */
interface Process {
  readonly parent: number;
  readonly program: string;
  /** CPU time so far. proc(5) counts it in ticks of 10 ms. */
  readonly cpuMs: number;
}

/** CPU time so far, in ms, by service or program. */
export type CpuTimes = Readonly<Record<string, number>>;

const tickMs = 10;

/** Undefined if the process has ended. */
const processOf = (pid: number): Process | undefined => {
  try {
    // The program, in parentheses, may contain any character. Parent: field 4; user and system time: fields 14 and 15.
    const [, program = '', rest = ''] = /\((.*)\) \S (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    const fields = rest.split(' ').map(Number);
    return { program, parent: fields[0] ?? 0, cpuMs: ((fields[10] ?? 0) + (fields[11] ?? 0)) * tickMs };
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return;
    throw error;
  }
};

/** CPU time of these processes so far, in ms. */
export const cpuMsOf = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + (processOf(pid)?.cpuMs ?? 0), 0);

/** The Postgres processes that serve a database on this machine. */
export const backendsOf = async (sql: Sql): Promise<readonly number[]> => {
  const found = await sql<{ pid: number }[]>`select pid from pg_stat_activity where datname = current_database()`;
  return found.map(({ pid }) => pid);
};

/** The first process of each service, and the disk hosts. */
const targetsOf = (cloud: LocalCloud): readonly ProcessTarget[] => [
  ...serviceNames,
  ...Array.from({ length: cloud.diskHosts }, (_, host) => diskHostName(host)),
];

/**
 * CPU time of everything this process started, and its own (`bench`): each service, `postgresElse` (Postgres), NATS.
 * @param others names of further processes, in place of that of their program
 */
export const cpuTimes = (cloud: LocalCloud, others: ReadonlyMap<number, string>): CpuTimes => {
  const names = new Map<number, string>([[process.pid, 'bench'], ...others]);
  for (const target of targetsOf(cloud)) names.set(cloud.pid(target), target);
  const all = new Map<number, Process>();
  for (const name of readdirSync('/proc')) {
    const found = /^\d+$/.test(name) ? processOf(Number(name)) : undefined;
    if (found) all.set(Number(name), found);
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (pid > 1 && isOurs(all.get(pid)?.parent ?? 0));
  const times: Record<string, number> = {};
  for (const [pid, { program, cpuMs }] of all) {
    if (!isOurs(pid)) continue;
    const name = names.get(pid) ?? (program === 'postgres' ? 'postgresElse' : program);
    times[name] = (times[name] ?? 0) + cpuMs;
  }
  return times;
};

/** Time of some work, in ms, and its CPU time: µs for each of `count`, by process (`computeCpu`), and the fraction of all cores in use (`busy`). */
export interface Worked {
  readonly tookMs: number;
  readonly cpu: Readonly<Record<string, number>>;
}

/** Measures work. @param read reads the CPU times so far */
export const worked = async (
  count: number,
  read: () => CpuTimes | Promise<CpuTimes>,
  work: () => Promise<unknown>,
): Promise<Worked> => {
  const before = await read();
  const tookMs = await timed(work);
  const used = Object.entries(await read()).map(([name, ms]) => [name, ms - (before[name] ?? 0)] as const);
  const each = used.map(([name, ms]) => [`${name}Cpu`, Math.round((ms / count) * 1_000)] as const);
  const total = used.reduce((sum, [, ms]) => sum + ms, 0);
  const busy = rounded(total / (tookMs * availableParallelism()));
  return { tookMs, cpu: { ...Object.fromEntries(each.filter(([, us]) => us >= 1)), busy } };
};

/** Resets the peaks of memory (proc(5): 5 resets the high-water mark of the resident set). */
export const resetPeaks = (cloud: LocalCloud): void => {
  for (const target of targetsOf(cloud)) writeFileSync(`/proc/${cloud.pid(target)}/clear_refs`, '5');
};

/** The largest peak of a process's resident memory since the reset, in MiB, and that process. */
export const peakDetails = (cloud: LocalCloud): { readonly peakMib: number; readonly peakOf: ProcessTarget } =>
  targetsOf(cloud)
    .map((peakOf) => ({ peakOf, peakMib: memoryMib(cloud, peakOf, 'VmHWM') }))
    .reduce((most, one) => (one.peakMib > most.peakMib ? one : most));

/** Resident memory of a service in MiB: now (`VmRSS`) or its peak (`VmHWM`). */
export const memoryMib = (cloud: LocalCloud, service: ProcessTarget, field: 'VmRSS' | 'VmHWM'): number =>
  memoryMibOf(cloud.pid(service), field);

/** Resident memory of a process in MiB: now (`VmRSS`) or its peak (`VmHWM`). */
export const memoryMibOf = (pid: number, field: 'VmRSS' | 'VmHWM'): number => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1_024);
};
