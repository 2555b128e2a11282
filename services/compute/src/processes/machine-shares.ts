import { partitionOf } from '@interlock/messaging';
import { Interrupted } from '../disk-service/disks.ts';
import type { VmHost } from '../guests/vm-host.ts';

/** Work partitions of machines: more than there are ever replicas. Every release must use the same number. */
const shareCount = 16;

/** The work partition of a machine. */
export const shareOf = (vm: string): string => `machines/${partitionOf(vm, shareCount)}`;

/** Every work partition of machines. */
export const machineShares: readonly string[] = Array.from({ length: shareCount }, (_, share) => `machines/${share}`);

/**
 * A host that touches the guest of a machine only while this replica owns the machine's work partition: of two replicas at one
 * start, one would leave a guest with tokens that the other's opens have ended.
 * @param isOurs called before the guest is touched, and again after a start
 */
export const guardedDriver = (driver: VmHost, isOurs: (vm: string) => boolean): VmHost => {
  const assertOurs = (vm: string): void => {
    if (!isOurs(vm)) throw new Interrupted(`another replica works on ${vm}`);
  };
  return {
    hasGuests: driver.hasGuests,
    isRunning: (vm) => driver.isRunning(vm),
    ioOf: (vm, machineId) => driver.ioOf(vm, machineId),
    journalOf: (vm, machineId, after, limit) => driver.journalOf(vm, machineId, after, limit),
    forget: (vm) => driver.forget(vm),
    runningGuests: () => driver.runningGuests(),
    endOf: (vm) => driver.endOf(vm),
    onEnded: (listener) => driver.onEnded(listener),
    async start(vm, plan) {
      assertOurs(vm);
      await driver.start(vm, plan);
      if (isOurs(vm)) return;
      // The new owner opens the disks again, so this guest can do nothing, and would block the owner's.
      await driver.stop(vm, { graceMs: 0 });
      throw new Interrupted(`another replica came to work on ${vm} while its guest was started`);
    },
    async stop(vm, order) {
      assertOurs(vm);
      await driver.stop(vm, order);
    },
    async attach(vm, disk) {
      assertOurs(vm);
      await driver.attach(vm, disk);
    },
    async detach(vm, disk) {
      assertOurs(vm);
      await driver.detach(vm, disk);
    },
  };
};
