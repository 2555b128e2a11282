import { type AccessReason, accessReasonOf, concerns } from '@interlock/access';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Category, type Cause, Rejection } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import type { Driver } from '../guests/driver.ts';
import { isPinned } from '../vm/disk-state.ts';
import type { VmEvent } from '../vm/events.ts';
import { type SeenLost, stopForLostDisks } from '../vm/key-loss.ts';
import type { KeyLoss } from '../vm/machine.ts';
import type { Vm } from '../vm/state.ts';
import { type Disks, limiter, type Patience } from '../work/disks.ts';
import { keyStopWork } from './key-stops.ts';
import type { Losses } from './losses.ts';
import type { StopMeter } from './stop-metrics.ts';

/** Stops machines by what the disk service says about their disks now. */
export interface LostDisks {
  /**
   * Goes through the disks of a set, or of one of its versions, and stops each machine that has one open which has no
   * data any more. Each such disk is asked about once more right before the decision, after its machine was read, so that
   * an answer never outlives a return of the key (design of losses without a number).
   * @returns how many machines are being stopped because of that
   * @throws TimedOut, Interrupted, Rejection of the disk service
   */
  stopUnder(
    filter: { readonly diskEncryptionSet: string; readonly keyVersion?: string },
    heard: { readonly cause: Cause; readonly traceId: string } | undefined,
    patience: Patience,
  ): Promise<number>;
}

/** Machines decided about at once. */
const machinesMax = 64;
/** Suspected disks held at once: bounds the memory of a pass. */
const batchSize = 1_000;

export const lostDisks = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly driver: Driver;
  readonly losses: Losses;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether this replica works on a machine now, and so knows its guest. */
  readonly isOurs: (vm: string) => boolean;
  /** Told which machines are being stopped. */
  readonly begin: (ids: readonly string[]) => void;
  readonly measure: StopMeter;
}): LostDisks => {
  const { vms, disks, driver, losses, clock, random, isOurs, begin, measure } = parts;
  const turns = limiter(machinesMax);

  /** The disk as it is now, if it still has no data. */
  const askAgain = async (name: string, patience: Patience): Promise<Disk | undefined> => {
    try {
      const found = await disks.insist((client, options) => client.getDisk({ name }, options), patience);
      return reasonOf(found) === undefined ? undefined : found;
    } catch (error) {
      if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  };

  /**
   * Whether a guest that goes on with ultra disks has lost their data. Where it ended with its host, as the data did, that is why its
   * machine is off, and not the key (CMK-102): whoever works on the machine sees it.
   */
  const hasLostPinned = async (vm: string): Promise<boolean> =>
    !driver.hasGuests || (isOurs(vm) && (await driver.isRunning(vm)));

  const ownCause = (): Cause => {
    const id = random.uuid();
    return { correlationId: id, causationId: id, caller: 'system:compute' };
  };

  const stopOne = async (
    vm: string,
    names: readonly string[],
    heard: { readonly cause: Cause; readonly traceId: string } | undefined,
    patience: Patience,
  ): Promise<boolean> => {
    const { state } = await vms.load(vm);
    if (state.status !== 'active') return false;
    const open = state.disks.filter(({ disk, access }) => names.includes(disk) && access === 'open');
    if (open.every(isPinned) && !(await hasLostPinned(vm))) return false;
    const seen: SeenLost[] = [];
    let cause = heard?.cause;
    for (const { disk, attachEpoch, accessEpoch, principal, keyVersion: believed, set } of open) {
      const found = await askAgain(disk, patience);
      const reason = found && reasonOf(found);
      if (!found || !reason) continue;
      const keyVersion = found.keyVersion || believed;
      // Told before by its own name, the loss has a number and a cause that a disk does not know. One from before the
      // disk was opened is another loss, also where its return has not been heard of yet.
      const unwrap = { accessEpoch, principal };
      const told = (await losses.of(set, keyVersion)).find(
        (known) => known.reason === reason && !known.isOver && concerns(known, unwrap),
      );
      cause ??= told?.cause;
      const loss: KeyLoss = {
        reason,
        disk,
        set,
        keyVersion,
        since: found.unavailableSince?.getTime() ?? told?.since ?? clock.now(),
        traceId: told?.traceId || (heard?.traceId ?? ''),
        accessEpoch: told?.accessEpoch ?? 0,
      };
      seen.push({ loss, attachEpoch });
    }
    if (seen.length === 0) return false;
    const by = cause ?? ownCause();
    const terms = { work: keyStopWork(by, clock, random), isInstant: !driver.hasGuests };
    const stop = stopForLostDisks(seen, terms);
    // A machine that has the name since may have a disk of that name as well, and have opened it as often.
    const isSame = (now: Vm): boolean => now.status === 'active' && now.createdAt === state.createdAt;
    const { events } = await vms.transact(vm, (now) => (isSame(now) ? stop(now) : []), by);
    measure(events);
    if (events.length > 0) begin([vm]);
    return events.length > 0;
  };

  return {
    async stopUnder(filter, heard, patience) {
      let stopped = 0;
      let suspects = new Map<string, string[]>();
      const decide = async (): Promise<void> => {
        const batch = suspects;
        suspects = new Map();
        const outcomes = await Promise.all(
          [...batch].map(([vm, names]) => turns(() => stopOne(vm, names, heard, patience))),
        );
        stopped += outcomes.filter(Boolean).length;
      };
      for await (const found of disks.ofSet({ ...filter, unavailableOnly: true }, patience)) {
        if (found.managedBy === '' || reasonOf(found) === undefined) continue;
        suspects.set(found.managedBy, [...(suspects.get(found.managedBy) ?? []), found.name]);
        if (suspects.size >= batchSize) await decide();
      }
      await decide();
      return stopped;
    },
  };
};

/**
 * Why a disk has no data, as its host says; `undefined` while it has. A vault that throttles has decided nothing, and one
 * that gives no answer is told as the reason once the host's grace is over.
 */
export const reasonOf = ({ availability, unavailableReason }: Disk): AccessReason | undefined => {
  const reason = accessReasonOf(unavailableReason);
  return availability === 'UNAVAILABLE' && reason !== 'THROTTLED' ? reason : undefined;
};
