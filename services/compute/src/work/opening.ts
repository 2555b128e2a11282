import type { OpenDiskRequest, OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { Rejection } from '@interlock/event-store';
import type { GuestDisk } from '../guests/driver.ts';
import type { OpenedDisk } from '../vm/events.ts';
import type { KeyLoss, PlannedDisk, Work } from '../vm/machine.ts';
import { skuOf } from '../vm/wire-sku.ts';
import { Interrupted, type Patience } from './disks.ts';
import { lossBehind } from './failures.ts';
import type { ProcessParts } from './step.ts';

/** A disk to be opened. */
export type ToOpen = Pick<PlannedDisk, 'disk' | 'lun' | 'isOs' | 'sku' | 'set' | 'keyVersion'> & {
  /** 0: never opened by this machine. */
  readonly attachEpoch: number;
};

/** What came of opening several disks. */
export interface OpenOutcome {
  readonly opened: readonly OpenedDisk[];
  /** The same disks as the guest reaches them; with secrets. */
  readonly guestDisks: readonly GuestDisk[];
  /** Each disk that could not be opened, and the key in the way where it was one. */
  readonly failures: readonly { readonly disk: string; readonly error: unknown; readonly loss?: KeyLoss }[];
}

/**
 * Opens disks side by side, each with a fresh unwrap (VM-11, VM-33). After the first definite no the others are not
 * repeated any more, but each answer on its way counts, so that every disk that blocks a start is named.
 * @param prepare what has to be done to a disk before it can be opened
 * @throws Interrupted
 */
export const openAll = async (
  parts: ProcessParts,
  vm: string,
  work: Work,
  wanted: readonly ToOpen[],
  limits: Patience,
  prepare: (disk: ToOpen, patience: Patience) => Promise<void> = async () => {},
): Promise<OpenOutcome> => {
  const { clock, random } = parts;
  const patience: { signal: AbortSignal; untilMs?: number } = { ...limits };
  const outcomes = await Promise.all(
    wanted.map(async (disk) => {
      try {
        await prepare(disk, patience);
        // Made once, so that a request that was lost and arrives late is no open of its own and outdates nothing.
        const accessSecret = Buffer.from(random.bytes(32));
        const request = { name: disk.disk, virtualMachine: vm, accessSecret };
        const answer = await openAfter(parts, request, disk, work, patience);
        return { disk, answer };
      } catch (error) {
        patience.untilMs = clock.now();
        return { disk, error };
      }
    }),
  );
  if (limits.signal.aborted) throw new Interrupted('stopped while opening disks');
  // What a replica that stood still is refused, whoever has the machine by now may have been given.
  if (outcomes.some((outcome) => 'error' in outcome) && !parts.isOurs(vm)) throw new Interrupted(elsewhere);
  const opened: OpenedDisk[] = [];
  const guestDisks: GuestDisk[] = [];
  const failures: { disk: string; error: unknown; loss?: KeyLoss }[] = [];
  for (const outcome of outcomes) {
    const { disk } = outcome;
    if ('error' in outcome) {
      const loss = lossBehind(outcome.error, disk, clock.now());
      failures.push({ disk: disk.disk, error: outcome.error, ...(loss === undefined ? {} : { loss }) });
      continue;
    }
    const { attachEpoch, accessEpoch, diskEncryptionSet: set, keyVersion, diskVersion, sku } = outcome.answer;
    const numbers = { accessEpoch, attachEpoch, diskVersion };
    const { dataAddress, accessToken, sizeBytes, principal } = outcome.answer;
    const as = principal === '' ? {} : { principal };
    opened.push({ disk: disk.disk, sku: skuOf(sku) ?? disk.sku, set, keyVersion, ...numbers, ...as });
    const { lun, isOs } = disk;
    const isContinued = disk.attachEpoch > 0;
    guestDisks.push({ disk: disk.disk, lun, isOs, sizeBytes, dataAddress, accessToken, isContinued });
  }
  return { opened, guestDisks, failures };
};

const elsewhere = 'another replica works on the machine by now';

/**
 * Opens a disk that nobody has opened since the open of that number, or since the newest that is found. So a request of
 * work that was given up, which may arrive at any time, never takes the disk from an open that came after it. Nor does a
 * replica that stood still and finds it opened since: that open is of whoever has the machine by now.
 */
const openAfter = async (
  { disks, isOurs }: Pick<ProcessParts, 'disks' | 'isOurs'>,
  request: Pick<OpenDiskRequest, 'name' | 'virtualMachine' | 'accessSecret'>,
  { attachEpoch, set }: ToOpen,
  { correlationId }: Work,
  patience: Patience,
): Promise<OpenDiskResponse> => {
  for (let attachEpochBefore = attachEpoch; ; ) {
    try {
      return await disks.open({ ...request, attachEpochBefore }, set, correlationId, patience);
    } catch (error) {
      const isOvertaken = error instanceof Rejection && error.reason === 'ATTACH_EPOCH_OUTDATED';
      const newest = isOvertaken ? Number(error.metadata.attach_epoch) : 0;
      if (!(newest > attachEpochBefore)) throw error;
      if (!isOurs(request.virtualMachine)) throw new Interrupted(elsewhere);
      attachEpochBefore = newest;
    }
  }
};

/**
 * The failure that counts: the first by the order of the disks, a definite one before one that ran out of time, a lost
 * key before anything else.
 */
export const worstOf = (failures: OpenOutcome['failures']): OpenOutcome['failures'][number] | undefined =>
  failures.find(({ loss }) => loss !== undefined) ??
  failures.find(({ error }) => error instanceof Error && error.name === 'Rejection') ??
  failures[0];
