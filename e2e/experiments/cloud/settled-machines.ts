import type { History } from '@interlock/lab/judge/journal/history';
import type { Clock } from '@interlock/runtime';
import type { Clients } from '../../cloud/clients.ts';
import type { MadeMachine } from './planned-estate.ts';

/** Pause between two looks, and how long a machine may take to reach a power state. In milliseconds. */
const lookEveryMs = 50;
const thereWithinMs = 60_000;
/** How long a running machine may take to do good I/O, in milliseconds. */
const busyWithinMs = 20_000;

/** Where the machines are. */
export type Settling = Pick<Clients, 'compute'> & { readonly clock: Clock };

/**
 * Waits until no machine is starting or stopping, and running machines have done good I/O. One that does none in 20 s is left to the
 * judge.
 * @throws Error if a machine starts or stops for longer than a minute
 */
export const untilSettled = async (
  settling: Settling,
  machines: readonly MadeMachine[],
  readHistory: () => Promise<History>,
): Promise<void> => {
  const { clock } = settling;
  const names = machines.map(({ name }) => name);
  const isSettled = (power: string): boolean => power !== 'STARTING' && power !== 'STOPPING';
  const power = await untilPowerOfEach(settling, names, 'is up or off', isSettled);
  const fromMs = clock.now();
  const disks = machines.flatMap((machine) =>
    power.get(machine.name) === 'RUNNING' ? machine.disks.map(({ name }) => name) : [],
  );
  for (const endMs = clock.monotonicMs() + busyWithinMs; ; await clock.sleep(lookEveryMs)) {
    const busy = new Set(
      (await readHistory()).flatMap(({ disk, ok, completedAt }) => (ok && completedAt > fromMs ? [disk] : [])),
    );
    if (disks.every((disk) => busy.has(disk)) || clock.monotonicMs() > endMs) return;
  }
};

/**
 * Waits until each machine is in a wanted power state.
 * @param what the state in words, for the error
 * @returns the power state of each
 * @throws Error if one is not there within a minute
 */
export const untilPowerOfEach = async (
  { compute, clock }: Settling,
  names: readonly string[],
  what: string,
  isThere: (power: string) => boolean,
): Promise<ReadonlyMap<string, string>> => {
  const endMs = clock.monotonicMs() + thereWithinMs;
  const states = new Map<string, string>();
  for (const name of names) {
    for (;;) {
      const { powerState } = await compute.getVirtualMachine({ name });
      states.set(name, powerState);
      if (isThere(powerState)) break;
      if (clock.monotonicMs() > endMs)
        throw new Error(`after ${thereWithinMs / 1_000} s still not: ${name} ${what} (it is ${powerState})`);
      await clock.sleep(lookEveryMs);
    }
  }
  return states;
};
