import { partitionOf } from '@interlock/messaging';
import type { VmHost } from '../guests/vm-host.ts';
import { Interrupted } from './disks.ts';

/** In how many shares the replicas divide the machines: more than there are ever replicas. Every release has to count alike. */
const shareCount = 16;

/** The share a machine is in. */
export const shareOf = (vm: string): string => `machines/${partitionOf(vm, shareCount)}`;

/** Every share of machines. */
export const machineShares: readonly string[] = Array.from({ length: shareCount }, (_, share) => `machines/${share}`);

/**
 * Lets this replica touch the guest of a machine only while it has the machine's share: two that work on one start would
 * leave a guest with the tokens of an open that the other's has ended. What was under way when the share was lost is undone
 * as far as it is this replica's own.
 * @param isOurs asked at the moment it counts
 */
export const guardedDriver = (driver: VmHost, isOurs: (vm: string) => boolean): VmHost => {
  const assertOurs = (vm: string): void => {
    if (!isOurs(vm)) throw new Interrupted(`another replica works on ${vm}`);
  };
  return {
    ...driver,
    async start(vm, plan) {
      assertOurs(vm);
      await driver.start(vm, plan);
      if (isOurs(vm)) return;
      // Whoever has the share now opens the disks anew, so this guest can do nothing; nor may it stand in the way.
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
