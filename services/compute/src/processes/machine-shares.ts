import { partitionOf } from '@interlock/messaging';
import { Interrupted } from '../disk-service/disks.ts';
import type { Guests, MachineAtHost } from '../guests/guests.ts';

/** Work partitions of machines: more than there are ever replicas. Every release must use the same number. */
const shareCount = 16;

/** The work partition of a machine. */
export const shareOf = (vm: string): string => `machines/${partitionOf(vm, shareCount)}`;

/** Every work partition of machines. */
export const machineShares: readonly string[] = Array.from({ length: shareCount }, (_, share) => `machines/${share}`);

/**
 * Guests that are touched only while this replica owns the work partition of their machine: of two replicas at one start, one would
 * leave a guest with tokens that the other's opens have ended.
 * @param isOurs called before the guest is touched, and again after a start
 */
export const guardedGuests = (guests: Guests, isOurs: (vm: string) => boolean): Guests => {
  const assertOurs = ({ vm }: MachineAtHost): void => {
    if (!isOurs(vm)) throw new Interrupted(`another replica works on ${vm}`);
  };
  return {
    hasGuests: guests.hasGuests,
    choose: (last) => guests.choose(last),
    look: (machine) => guests.look(machine),
    ioOf: (machine) => guests.ioOf(machine),
    journalOf: (machine, after, limit) => guests.journalOf(machine, after, limit),
    forget: (machine) => guests.forget(machine),
    survey: () => guests.survey(),
    endOf: (machine) => guests.endOf(machine),
    onEnded: (listener) => guests.onEnded(listener),
    async start(machine, plan) {
      assertOurs(machine);
      await guests.start(machine, plan);
      if (isOurs(machine.vm)) return;
      // The new owner opens the disks again, so this guest can do nothing, and would block the owner's.
      await guests.stop(machine, { graceMs: 0 });
      throw new Interrupted(`another replica came to work on ${machine.vm} while its guest was started`);
    },
    async stop(machine, order) {
      assertOurs(machine);
      return guests.stop(machine, order);
    },
    async attach(machine, disk, order) {
      assertOurs(machine);
      await guests.attach(machine, disk, order);
    },
    async detach(machine, disk, order) {
      assertOurs(machine);
      await guests.detach(machine, disk, order);
    },
  };
};
