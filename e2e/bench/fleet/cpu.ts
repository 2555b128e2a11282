import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Sql } from '@interlock/event-store';

/** What processes had of the processors so far, or in a while. */
export interface ProcessorTime {
  /** How long their threads ran, in ms. */
  readonly ranMs: number;
  /** How long threads that could have run waited for a processor, in ms. */
  readonly waitedMs: number;
}

/** What all threads of processes of this machine had so far; of a process or thread that is gone, nothing. */
export const processorTime = (pids: readonly number[]): ProcessorTime => {
  let [ranNs, waitedNs] = [0, 0];
  for (const pid of pids) {
    for (const thread of threadsOf(pid)) {
      // proc(5): time on a processor and time waiting for one, in ns, and how often.
      const [ran, waited] = (contentOf(`/proc/${pid}/task/${thread}/schedstat`) ?? '0 0').split(' ');
      ranNs += Number(ran);
      waitedNs += Number(waited);
    }
  }
  return { ranMs: ranNs / 1e6, waitedMs: waitedNs / 1e6 };
};

/** Processor time of processes of this machine so far, in ms; of one that is gone, none. */
export const cpuMs = (pids: readonly number[]): number => processorTime(pids).ranMs;

/** The processes of the Postgres server that serve a database. Of a server elsewhere there are none here. */
export const backendsOf = async (sql: Sql): Promise<readonly number[]> => {
  const found = await sql<{ pid: number }[]>`select pid from pg_stat_activity where datname = current_database()`;
  return found.map(({ pid }) => pid);
};

/** This process and all it has started, and they. */
export const processTree = (): readonly { readonly pid: number; readonly program: string }[] => {
  const children = new Map<number, { readonly pid: number; readonly program: string }[]>();
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? contentOf(`/proc/${name}/stat`) : undefined;
    // The program in parentheses may hold any character; its parent is the second field behind it.
    const [, program = '', parent = ''] = /\((.*)\) \S (\d+)/s.exec(stat ?? '') ?? [];
    if (program === '') continue;
    const siblings = children.get(Number(parent)) ?? [];
    children.set(Number(parent), [...siblings, { pid: Number(name), program }]);
  }
  const under = (pid: number): readonly { readonly pid: number; readonly program: string }[] =>
    (children.get(pid) ?? []).flatMap((child) => [child, ...under(child.pid)]);
  return [{ pid: process.pid, program: 'bench' }, ...under(process.pid)];
};

/** The share of all processors that so much work is, where 1 keeps every one of them busy all the time. */
export const shareOfProcessors = (ranMs: number, tookMs: number): number => ranMs / (tookMs * availableParallelism());

const threadsOf = (pid: number): readonly string[] => {
  const folder = `/proc/${pid}/task`;
  return existsSync(folder) ? readdirSync(folder) : [];
};

/** Undefined when the process ended meanwhile. */
const contentOf = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
};
