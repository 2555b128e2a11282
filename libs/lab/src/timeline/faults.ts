import type { ActionKind } from './action-kind.ts';

/** A fault of the cloud, with the moments of a part that it gives to expressions. */
export interface FaultKind extends ActionKind {
  readonly targets: 'part' | 'two-parts';
  /** Name of the moment at which it takes effect: `key-vault.paused`; absent: none. */
  readonly begins?: string;
  /** Name of the moment at which it ends. */
  readonly ends: string;
}

/** Faults of processes, connections, clocks and storage. A new fault is a row here, and a case in each target that can inject it. */
export const faults = {
  kill: {
    targets: 'part',
    done: 'killed',
    description: 'Ends the process (SIGKILL) and keeps it away for `for`.',
    begins: 'killed',
    ends: 'restarted',
  },
  restart: {
    targets: 'part',
    done: 'restarted',
    description: 'Ends the process; it starts again at once.',
    isFinal: true,
    begins: 'killed',
    ends: 'restarted',
  },
  pause: {
    targets: 'part',
    done: 'paused',
    description: 'Stops the process (SIGSTOP) for `for`.',
    begins: 'paused',
    ends: 'resumed',
  },
  slow: {
    targets: 'part',
    done: 'slowed',
    description: 'Delays every message to and from the part: see `by`.',
    options: { by: 'needed' },
    begins: 'slowed',
    ends: 'healed',
  },
  cut: {
    targets: 'two-parts',
    done: 'cut',
    description: 'Cuts the connections between two parts.',
    begins: 'cut',
    ends: 'healed',
  },
  'shift-clock': {
    targets: 'part',
    done: 'clock shifted',
    description: 'Sets a clock of the part: see `by` and `clock`.',
    options: { by: 'needed', clock: 'allowed' },
    ends: 'healed',
  },
  'slow-storage': {
    targets: 'part',
    done: 'storage slowed',
    description: 'Delays every read, write and flush of the storage of the part: see `by`.',
    options: { by: 'needed' },
    begins: 'slowed',
    ends: 'healed',
  },
  'fill-storage': {
    targets: 'part',
    done: 'storage filled',
    description: 'Fills the storage of the part.',
    ends: 'healed',
  },
  'fail-storage': {
    targets: 'part',
    done: 'storage fails',
    description: 'Makes reads and writes of the storage of the part fail.',
    ends: 'healed',
  },
} as const satisfies Readonly<Record<string, FaultKind>>;

/** A fault of the cloud. */
export type FaultAction = keyof typeof faults;

type Moments<Kind> = Kind extends { readonly begins: infer Begin extends string } ? Begin : never;

/** Moments of a part of the cloud. */
export type FaultMoment = (typeof faults)[FaultAction]['ends'] | Moments<(typeof faults)[FaultAction]>;

const kinds: readonly (readonly [string, FaultKind])[] = Object.entries(faults);

/** Names of those moments, each once. */
export const faultMoments = [
  ...new Set(kinds.flatMap(([, { begins, ends }]) => (begins === undefined ? [ends] : [begins, ends]))),
] as readonly FaultMoment[];

/** The faults that give a moment. @param isEnd whether it is the moment at which they are undone, or that at which they take effect */
export const faultsWith = (moment: FaultMoment): { readonly actions: readonly string[]; readonly end: boolean } => {
  const ending = kinds.filter(([, { ends }]) => ends === moment);
  const all = ending.length > 0 ? ending : kinds.filter(([, { begins }]) => begins === moment);
  return { actions: all.map(([name]) => name), end: ending.length > 0 };
};
