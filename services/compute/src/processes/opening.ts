import type { OpenDiskRequest, OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { type Cause, Rejection } from '@interlock/event-store';
import { Interrupted, type Patience } from '../disk-service/disks.ts';
import type { GuestDisk } from '../guests/vm-host.ts';
import type { OpenedDisk } from '../vm/events.ts';
import type { PlannedDisk } from '../vm/machine.ts';
import { skuOf } from '../vm/wire-sku.ts';
import { type DiskFailure, DisksFailed, lossOfRefusal, type RequestedDisk } from './failures.ts';
import type { OpenOutcome, ProcessParts, Run } from './process.ts';

/** A disk to be opened. */
export type ToOpen = Pick<PlannedDisk, 'disk' | 'lun' | 'isOs' | 'sku' | 'set' | 'keyVersion'> & {
  /** 0: never opened by this machine. */
  readonly attachEpoch: number;
  /** The disk host that opened it last; absent if it is not known. */
  readonly host?: string;
};

type OpenRun = Pick<Run<unknown>, 'parts' | 'vm' | 'cause'>;

/**
 * Opens disks in parallel, each with a fresh unwrap (VM-11, VM-33).
 * @param prepare what each disk needs before it can be opened
 * @throws DisksFailed; Interrupted
 */
export const openAll = async <Of extends ToOpen>(
  run: OpenRun,
  disks: readonly Of[],
  limits: Patience,
  prepare: (disk: Of, patience: Patience) => Promise<void> = async () => {},
): Promise<OpenOutcome> => {
  const { parts, vm, cause } = run;
  const answers = await withEachDisk(run, disks, limits, async (disk, patience) => {
    await prepare(disk, patience);
    // Created once for all repeats, so that a request that arrives late is no open of its own and outdates nothing.
    const accessSecret = Buffer.from(parts.random.bytes(32));
    return openAfter(parts, { name: disk.disk, virtualMachine: vm, accessSecret }, disk, cause, patience);
  });
  const opens = answers.map((answer, n) => ({ disk: disks[n] as ToOpen, answer }));
  return { opened: opens.map(openedDisk), guestDisks: opens.map(guestDisk) };
};

interface Open {
  readonly disk: ToOpen;
  readonly answer: OpenDiskResponse;
}

const openedDisk = ({ disk, answer }: Open): OpenedDisk => {
  const {
    attachEpoch,
    accessEpoch,
    diskEncryptionSet: set,
    keyVersion,
    diskVersion,
    sku,
    principal,
    diskHost,
  } = answer;
  const opened = {
    disk: disk.disk,
    sku: skuOf(sku) ?? disk.sku,
    set,
    keyVersion,
    accessEpoch,
    attachEpoch,
    diskVersion,
    ...(diskHost === '' ? {} : { host: diskHost }),
  };
  return principal === '' ? opened : { ...opened, principal };
};

const guestDisk = ({ disk: { disk, lun, isOs, attachEpoch }, answer }: Open): GuestDisk => {
  const { dataAddress, nbdAddress, accessToken, sizeBytes } = answer;
  return { disk, lun, isOs, sizeBytes, dataAddress, nbdAddress, accessToken, isContinued: attachEpoch > 0 };
};

/**
 * Does something with disks in parallel. After the first definite refusal the other calls are not repeated any more, but
 * every call on its way counts, so that each disk that blocks the work is named.
 * @throws DisksFailed; Interrupted
 */
export const withEachDisk = async <Of extends RequestedDisk, Answer>(
  { parts, vm }: Pick<Run<unknown>, 'parts' | 'vm'>,
  disks: readonly Of[],
  limits: Patience,
  effect: (disk: Of, patience: Patience) => Promise<Answer>,
): Promise<readonly Answer[]> => {
  const { clock } = parts;
  const patience: { signal: AbortSignal; untilMs?: number } = { ...limits };
  const failures: DiskFailure[] = [];
  const answers = await Promise.all(
    disks.map(async (disk) => {
      try {
        return [await effect(disk, patience)];
      } catch (error) {
        patience.untilMs = clock.now();
        const loss = lossOfRefusal(error, disk, clock.now());
        const { host } = disk;
        failures.push({
          ...{ disk: disk.disk, error },
          ...(loss === undefined ? {} : { loss }),
          ...(host === undefined ? {} : { host }),
        });
        return [];
      }
    }),
  );
  if (limits.signal.aborted) throw new Interrupted('stopped while working on disks');
  if (failures.length === 0) return answers.flat();
  // A replica that was paused is refused what the machine's new owner may have been granted.
  if (!parts.isOurs(vm)) throw new Interrupted(elsewhere);
  const order = disks.map(({ disk }) => disk);
  throw new DisksFailed(failures.toSorted((a, b) => order.indexOf(a.disk) - order.indexOf(b.disk)));
};

const elsewhere = 'another replica works on the machine by now';

/**
 * Opens a disk, unless it was opened since the open of that number or since the newest open found. So a request of work that
 * was given up, which may arrive at any time, never takes the disk from a later open. Nor does a replica that was paused: a
 * newer open belongs to the machine's new owner.
 */
const openAfter = async (
  { disks, isOurs }: Pick<ProcessParts, 'disks' | 'isOurs'>,
  request: Pick<OpenDiskRequest, 'name' | 'virtualMachine' | 'accessSecret'>,
  { attachEpoch, set }: ToOpen,
  cause: Cause,
  patience: Patience,
): Promise<OpenDiskResponse> => {
  for (let attachEpochBefore = attachEpoch; ; ) {
    try {
      return await disks.open({ ...request, attachEpochBefore }, set, cause, patience);
    } catch (error) {
      const isOvertaken = error instanceof Rejection && error.reason === 'ATTACH_EPOCH_OUTDATED';
      const newest = isOvertaken ? Number(error.metadata.attach_epoch) : 0;
      if (!(newest > attachEpochBefore)) throw error;
      if (!isOurs(request.virtualMachine)) throw new Interrupted(elsewhere);
      attachEpochBefore = newest;
    }
  }
};
