import { readFileSync } from 'node:fs';
import type { LocalCloud } from '../cloud-types.ts';
import { LauncherError } from '../data-folder.ts';
import {
  type HostName,
  isHostName,
  type ProcessTarget,
  processNameOf,
  type ServiceName,
  serviceNames,
  serviceOfTarget,
} from '../services.ts';

/** The parts of a local cloud that can be ended, paused and started again. */
export const cloudParts = [...serviceNames, 'nats', 'postgres'] as const;
export type CloudPart = (typeof cloudParts)[number];

/** A part, or the process of one host. */
export type ControlledPart = CloudPart | HostName;

/** A process of a local cloud. */
export interface PartProcess {
  readonly part: ControlledPart;
  /** `compute`, `compute-1`, `nats` */
  readonly name: string;
  /** The id of the running process, or of the last one. */
  readonly pid: number;
  readonly state: 'running' | 'paused' | 'down';
}

/** Ends, pauses and restarts parts of a cloud: all processes of a service at once. */
export interface CloudControl {
  processes(): Promise<readonly PartProcess[]>;
  /** SIGKILL. It stays down until `restart`, whatever `--restart-after` says. */
  kill(part: ControlledPart): Promise<void>;
  /** Starts it again, and ends it first if it runs. Resolves when it serves. */
  restart(part: ControlledPart): Promise<void>;
  /** SIGSTOP: connections stay open and nothing responds. */
  pause(part: ControlledPart): Promise<void>;
  /** SIGCONT */
  resume(part: ControlledPart): Promise<void>;
}

/** Controls a cloud of this process. @param replicas processes of each service @param hosts hosts that are processes of their own */
export const controlOf = (
  cloud: Pick<LocalCloud, 'pid' | 'kill' | 'restart' | 'nats' | 'postgres'>,
  services: readonly ServiceName[],
  replicas: number,
  hosts: readonly HostName[] = [],
): CloudControl => {
  const numbers = Array.from({ length: replicas }, (_, replica) => replica);
  const numbersOf = (part: ControlledPart): readonly number[] => (isHostName(part) ? [0] : numbers);
  const pidsOf = (part: ControlledPart): readonly number[] => {
    if (part !== 'nats' && part !== 'postgres') return numbersOf(part).map((replica) => cloud.pid(part, replica));
    const { pid } = cloud[part];
    if (pid === undefined)
      throw new LauncherError(`${part} is given by ${part === 'nats' ? 'NATS_URL' : 'DATABASE_URL'}: it is not ours`);
    return [pid];
  };
  const nameOf = (part: ControlledPart, replica: number): string =>
    part === 'nats' || part === 'postgres' || isHostName(part) ? part : processNameOf(part, replica);
  const ofEach = async (part: ControlledPart, work: (part: ProcessTarget, replica: number) => Promise<void>) => {
    if (part === 'nats' || part === 'postgres') throw new Error(`${part} has no replicas`);
    await Promise.all(numbersOf(part).map((replica) => work(part, replica)));
  };
  const given = (part: ControlledPart): boolean =>
    (part === 'nats' || part === 'postgres') && cloud[part].pid === undefined;
  return {
    processes: async () =>
      [...cloudParts, ...hosts]
        .filter((part) => part === 'nats' || part === 'postgres' || services.includes(serviceOfTarget(part)))
        .filter((part) => !given(part))
        .flatMap((part) =>
          pidsOf(part).map((pid, replica) => ({ part, name: nameOf(part, replica), pid, state: stateOf(pid) })),
        ),
    kill: (part) => (part === 'nats' || part === 'postgres' ? cloud[part].kill() : ofEach(part, cloud.kill)),
    restart: async (part) => {
      if (part === 'nats' || part === 'postgres') await cloud[part].restart();
      else await ofEach(part, cloud.restart);
    },
    // Postgres works in child processes.
    pause: async (part) => {
      for (const pid of pidsOf(part)) for (const one of [pid, ...childrenOf(part, pid)]) signal(one, 'SIGSTOP');
    },
    resume: async (part) => {
      for (const pid of pidsOf(part)) for (const one of [...childrenOf(part, pid), pid]) signal(one, 'SIGCONT');
    },
  };
};

const stateOf = (pid: number): PartProcess['state'] => {
  const letter = statOf(pid)?.[0];
  if (letter === undefined || letter === 'Z' || letter === 'X') return 'down';
  return letter === 'T' ? 'paused' : 'running';
};

/** The fields of `/proc/<pid>/stat` after the name; undefined if the process does not exist. */
const statOf = (pid: number): readonly string[] | undefined => {
  try {
    // The name may have spaces and brackets.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
};

const childrenOf = (part: ControlledPart, pid: number): readonly number[] => {
  if (part !== 'postgres' || statOf(pid) === undefined) return [];
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
};

/** A process that has ended needs no signal. */
const signal = (pid: number, name: 'SIGSTOP' | 'SIGCONT'): void => {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};
