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

/** A guest that comes up. */
interface ComingUp {
  readonly ended: AbortController;
  disks: readonly GuestDisk[];
}

/**
 * Guests that come up. As a process with a pid file, such a guest outlives the service that started it, and is found and ended by the
 * next one.
 */
const guestsComingUp = (clock: Clock) => {
  const starting = new Map<string, ComingUp>();
  const end = (vm: string): void => {
    starting.get(vm)?.ended.abort();
    starting.delete(vm);
  };
  return {
    end,
    of: (vm: string): ComingUp | undefined => starting.get(vm),
    names: (): readonly string[] => [...starting.keys()],
    /** Waits until a guest is up. @returns its disks by then @throws Error if it was ended before */
    async up(vm: string, disks: readonly GuestDisk[], neededMs: number): Promise<readonly GuestDisk[]> {
      if (neededMs === 0) return disks;
      end(vm);
      const comingUp: ComingUp = { ended: new AbortController(), disks };
      starting.set(vm, comingUp);
      await clock.sleep(neededMs, comingUp.ended.signal);
      if (comingUp.ended.signal.aborted) throw new Error(`the guest of ${vm} was stopped before it was up`);
      starting.delete(vm);
      return comingUp.disks;
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
  const starting = guestsComingUp(clock);
  const broken = new Set<string>();
  const lostWithHost = new Set<string>();
  const disksOf = (vm: string): readonly GuestDisk[] | undefined => guests.get(vm) ?? starting.of(vm)?.disks;
  const give = (vm: string, disks: readonly GuestDisk[]): void => {
    const comingUp = starting.of(vm);
    if (comingUp) comingUp.disks = disks;
    else guests.set(vm, disks);
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
      const given = await starting.up(vm, disks, slowToStart.get(vm) ?? 0);
      if (broken.has(vm)) throw new Error(`the guest of ${vm} did not come up`);
      history.push(`start ${vm}`);
      guests.set(vm, given);
      runs.set(vm, shared.nextRun());
      lostWithHost.delete(vm);
    },
    async stop(vm, { graceMs }) {
      starting.end(vm);
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
      return [...new Set([...guests.keys(), ...starting.names()])].map((vm) => {
        const [run, comingUp] = [runs.get(vm), starting.of(vm)];
        return {
          vm,
          async end() {
            if (comingUp !== undefined && starting.of(vm) === comingUp) starting.end(vm);
            if (runs.get(vm) === run && guests.delete(vm)) history.push(`end ${vm}`);
          },
        };
      });
    },
    async attach(vm, disk) {
      const disks = disksOf(vm);
      if (!disks) throw new Error(`${vm} has no guest`);
      // Given again after a crash: with the newer token.
      give(vm, [...disks.filter((one) => one.disk !== disk.disk), disk]);
    },
    async detach(vm, disk) {
      const disks = disksOf(vm)?.filter((one) => one.disk !== disk);
      if (disks) give(vm, disks);
    },
    isRunning: async (vm) => disksOf(vm) !== undefined,
    disksOf: async (vm) => (disksOf(vm) ?? []).map(({ disk }) => disk),
    endOf: async (vm) => ({ end: lostWithHost.has(vm) ? 'HOST_RESTARTED' : 'GUEST_ENDED' }),
    onEnded: (listener) => {
      listeners.push(listener);
    },
    restartHost() {
      for (const vm of starting.names()) starting.end(vm);
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
