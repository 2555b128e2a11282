import type { GuestDisk, VmHost } from '../../services/compute/src/guests/vm-host.ts';

/** A gate at which callers wait until it opens. */
export interface Gate {
  /** Resolves once all expected callers wait there. */
  readonly reached: Promise<void>;
  open(): void;
}

interface ClosedGate extends Gate {
  /** Reports one more waiting caller, and waits. */
  pass(): Promise<void>;
}

/** A closed gate. @param expected how many callers must wait there until it counts as reached */
export const closedGate = (expected = 1): ClosedGate => {
  let waiting = 0;
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: opened.resolve,
    pass() {
      waiting += 1;
      if (waiting === expected) reached.resolve();
      return opened.promise;
    },
  };
};

/** The steps of a guest that can be held. */
export type HeldStep = 'start' | 'stop' | 'attach';

/**
 * Guests that do nothing themselves: the test reads and writes with the disks they were given, and holds their starts,
 * stops and attaches at gates, so that a machine stays in such a step exactly as long as the test needs.
 */
export interface GatedDriver extends VmHost {
  /** Holds the next such step of a machine. */
  hold(vm: string, step: HeldStep): Gate;
  /** The last disk handle that the guest of a machine was given, also after the guest has ended. */
  lastGiven(vm: string, disk: string): GuestDisk | undefined;
}

export const gatedDriver = (): GatedDriver => {
  const guests = new Set<string>();
  const given = new Map<string, GuestDisk>();
  const gates = new Map<string, ClosedGate>();
  /** Functions that end a held start. */
  const starting = new Map<string, () => void>();

  const atGate = async (vm: string, step: HeldStep): Promise<void> => {
    const key = `${step} ${vm}`;
    const gate = gates.get(key);
    gates.delete(key);
    await gate?.pass();
  };
  const give = (vm: string, disk: GuestDisk): void => {
    given.set(`${vm} ${disk.disk}`, disk);
  };
  return {
    hasGuests: true,
    hold(vm, step) {
      const gate = closedGate();
      gates.set(`${step} ${vm}`, gate);
      return gate;
    },
    lastGiven: (vm, disk) => given.get(`${vm} ${disk}`),
    async start(vm, { disks }) {
      for (const disk of disks) give(vm, disk);
      const stopped = Promise.withResolvers<never>();
      starting.set(vm, () => stopped.reject(new Error(`the guest of ${vm} was stopped while it came up`)));
      try {
        await Promise.race([atGate(vm, 'start'), stopped.promise]);
      } finally {
        starting.delete(vm);
      }
      guests.add(vm);
    },
    async stop(vm) {
      starting.get(vm)?.();
      if (!guests.has(vm)) return;
      await atGate(vm, 'stop');
      guests.delete(vm);
    },
    async attach(vm, disk) {
      if (!guests.has(vm)) throw new Error(`${vm} has no guest`);
      give(vm, disk);
      await atGate(vm, 'attach');
    },
    detach: async () => {},
    isRunning: async (vm) => guests.has(vm),
    disksOf: async () => [],
    runningGuests: async () => [],
    ioOf: async () => undefined,
    journalOf: async () => undefined,
    forget: async () => {},
    endOf: async () => ({ end: 'GUEST_ENDED' }),
    onEnded: () => {},
  };
};
