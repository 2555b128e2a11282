import type { Clock } from '@interlock/runtime';
import type { GuestDisk, GuestIo, GuestPlan, VmHost } from './vm-host.ts';

/** Guests in memory, for tests and the simulation: visible from outside, and with faults on demand. */
export interface SimulatedDriver extends VmHost {
  /** Running guests and their disks. */
  readonly guests: ReadonlyMap<string, readonly GuestDisk[]>;
  /** The number of each guest's run, by machine: of two runs of one machine, also at two hosts, the later one has the higher number. */
  readonly runs: ReadonlyMap<string, number>;
  /** Machines whose guest takes so many milliseconds to shut down; others do at once. */
  readonly slowToStop: Map<string, number>;
  /** Machines whose guest takes so many milliseconds to come up; a stop ends the wait, and the start. */
  readonly slowToStart: Map<string, number>;
  /** Machines whose guest does not come up. */
  readonly broken: Set<string>;
  /** What the guests of a machine counted. */
  readonly io: Map<string, GuestIo>;
  /** Every start and stop, in order: `start <vm>`, `stop <vm>`, and `end <vm>` of a guest whose machine was off. */
  readonly history: readonly string[];
  /** Starts a guest whose machine is off. */
  orphan(vm: string): void;
  /** Ends a guest from inside. */
  crash(vm: string): void;
  /** Ends every guest, as a restart of the host does, without an event. */
  restartHost(): void;
}

/** What the drivers of several VM hosts share. */
export interface SharedGuests extends Pick<SimulatedDriver, 'slowToStart' | 'slowToStop'> {
  /** The number of the next run of a guest. */
  nextRun(): number;
}

/** The guests of one host, or of several with one of these for each. */
export const sharedGuests = (): SharedGuests => {
  let run = 0;
  return {
    slowToStart: new Map(),
    slowToStop: new Map(),
    nextRun() {
      run += 1;
      return run;
    },
  };
};

/** @param shared with the drivers of other hosts */
export const simulatedDriver = (clock: Clock, shared: SharedGuests = sharedGuests()): SimulatedDriver => {
  const guests = new Map<string, readonly GuestDisk[]>();
  const io = new Map<string, GuestIo>();
  const runs = new Map<string, number>();
  const history: string[] = [];
  const listeners: ((vm: string) => void)[] = [];
  const { slowToStop, slowToStart } = shared;
  /** Starts under way; each is ended by aborting it. */
  const starting = new Map<string, AbortController>();
  const broken = new Set<string>();
  const lostWithHost = new Set<string>();
  const disksOf = (vm: string): readonly GuestDisk[] => {
    const disks = guests.get(vm);
    if (!disks) throw new Error(`${vm} has no guest`);
    return disks;
  };
  return {
    hasGuests: true,
    guests,
    runs,
    slowToStop,
    slowToStart,
    broken,
    io,
    history,
    async start(vm: string, { disks }: GuestPlan) {
      const neededMs = slowToStart.get(vm) ?? 0;
      if (neededMs > 0) {
        starting.get(vm)?.abort();
        const ended = new AbortController();
        starting.set(vm, ended);
        await clock.sleep(neededMs, ended.signal);
        if (ended.signal.aborted) throw new Error(`the guest of ${vm} was stopped before it was up`);
        starting.delete(vm);
      }
      if (broken.has(vm)) throw new Error(`the guest of ${vm} did not come up`);
      history.push(`start ${vm}`);
      guests.set(vm, disks);
      runs.set(vm, shared.nextRun());
      lostWithHost.delete(vm);
    },
    async stop(vm, { graceMs }) {
      starting.get(vm)?.abort();
      starting.delete(vm);
      if (!guests.has(vm)) return;
      const neededMs = slowToStop.get(vm) ?? 0;
      if (neededMs > 0) await clock.sleep(Math.min(neededMs, graceMs));
      if (guests.delete(vm)) history.push(`stop ${vm}`);
    },
    ioOf: async (vm) => io.get(vm),
    journalOf: async () => undefined,
    async forget(vm) {
      io.delete(vm);
    },
    async runningGuests() {
      return [...guests.keys()].map((vm) => {
        const run = runs.get(vm);
        return {
          vm,
          async end() {
            if (runs.get(vm) === run && guests.delete(vm)) history.push(`end ${vm}`);
          },
        };
      });
    },
    async attach(vm, disk) {
      // Given again after a crash: with the newer token.
      guests.set(vm, [...disksOf(vm).filter((one) => one.disk !== disk.disk), disk]);
    },
    async detach(vm, disk) {
      const disks = guests.get(vm);
      if (disks)
        guests.set(
          vm,
          disks.filter((one) => one.disk !== disk),
        );
    },
    isRunning: async (vm) => guests.has(vm),
    disksOf: async (vm) => (guests.get(vm) ?? []).map(({ disk }) => disk),
    endOf: async (vm) => ({ end: lostWithHost.has(vm) ? 'HOST_RESTARTED' : 'GUEST_ENDED' }),
    onEnded: (listener) => {
      listeners.push(listener);
    },
    restartHost() {
      for (const ended of starting.values()) ended.abort();
      starting.clear();
      for (const vm of guests.keys()) lostWithHost.add(vm);
      guests.clear();
    },
    orphan(vm) {
      guests.set(vm, []);
      runs.set(vm, shared.nextRun());
    },
    crash(vm) {
      if (guests.delete(vm)) for (const listener of listeners) listener(vm);
    },
  };
};
