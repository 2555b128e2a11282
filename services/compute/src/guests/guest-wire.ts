import type {
  GuestOperation,
  GuestOperation_Kind,
  ReadGuestJournalResponse,
} from '@interlock/contracts/interlock/compute/v1/guest_journal.ts';
import {
  type DescribeGuestResponse,
  type StartGuestRequest,
  GuestDisk as WireGuestDisk,
} from '@interlock/contracts/interlock/compute/v1/guests.ts';
import { GuestIo as WireGuestIo } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { JournalEntry } from '../guest/journal.ts';
import type { ContentMismatch, GuestDisk, GuestEnding, GuestIo, GuestPlan, JournalPage } from './vm-host.ts';

/** A plan, for a VM host. */
export const planOnWire = ({
  guest,
  disks,
  workload,
}: GuestPlan): Pick<StartGuestRequest, 'kind' | 'disks' | 'workload'> => ({
  kind: guest,
  disks: disks.map(diskOnWire),
  workload: { ...workload },
});

/** The plan of a request. */
export const planOfWire = (machineId: string, { kind, disks, workload }: StartGuestRequest): GuestPlan => ({
  machineId,
  guest: kind === 'QEMU' || kind === 'IDLE' ? kind : 'PROCESS',
  disks: disks.map(diskOfWire),
  workload: {
    kind: workload?.kind === 'WRITE_AND_VERIFY' ? 'WRITE_AND_VERIFY' : 'IDLE',
    ioPerSecond: workload?.ioPerSecond ?? 0,
    ioSizeBytes: workload?.ioSizeBytes ?? 0,
  },
});

/** A disk of a guest, for a VM host. */
export const diskOnWire = (disk: GuestDisk): WireGuestDisk => WireGuestDisk.fromPartial(disk);

/** The disk of a request. */
export const diskOfWire = ({ $type: _type, ...disk }: WireGuestDisk & { readonly $type?: string }): GuestDisk => disk;

/** What guests counted, as the API shows it. */
export const ioOnWire = (io: GuestIo): WireGuestIo =>
  WireGuestIo.fromPartial({
    readCount: io.reads,
    writeCount: io.writes,
    flushCount: io.flushes,
    failureCount: io.failures,
    contentMismatchCount: io.mismatches,
    ...(io.newestMismatch === undefined ? {} : { newestMismatch: mismatchOnWire(io.newestMismatch) }),
  });

/** A read that returned other bytes than were written. */
export const mismatchOnWire = ({ disk, offset, length, at }: ContentMismatch) => ({
  disk,
  offsetBytes: offset,
  lengthBytes: length,
  mismatchTime: new Date(at),
});

/** What a VM host says that guests counted. */
export const ioOfWire = (io: WireGuestIo | undefined): GuestIo | undefined => {
  if (io === undefined) return undefined;
  const { newestMismatch: newest } = io;
  return {
    reads: io.readCount,
    writes: io.writeCount,
    flushes: io.flushCount,
    failures: io.failureCount,
    mismatches: io.contentMismatchCount,
    ...(newest === undefined
      ? {}
      : {
          newestMismatch: {
            disk: newest.disk,
            offset: newest.offsetBytes,
            length: newest.lengthBytes,
            at: newest.mismatchTime?.getTime() ?? 0,
          },
        }),
  };
};

/** How a guest ended, as its VM host says. */
export const endingOf = ({ end, endDetail }: DescribeGuestResponse): GuestEnding => ({
  end: end === 'HOST_RESTARTED' ? 'HOST_RESTARTED' : 'GUEST_ENDED',
  ...(endDetail === '' ? {} : { detail: endDetail }),
});

const kinds = {
  read: 'READ',
  verify: 'VERIFY',
  write: 'WRITE',
  flush: 'FLUSH',
  adopt: 'ADOPT',
} as const satisfies Record<JournalEntry['op'], GuestOperation_Kind>;

const ops = new Map<GuestOperation_Kind, JournalEntry['op']>(
  Object.entries(kinds).map(([op, kind]) => [kind, op as JournalEntry['op']]),
);

/** A page of a journal, as the API shows it. */
export const pageOnWire = ({ entries, readTo, isEnd, hasGap }: JournalPage): ReadGuestJournalResponse => ({
  operations: entries.map(entryOnWire),
  readTo,
  atEnd: isEnd,
  hasGap,
});

/** The page of a journal that a VM host returned. */
export const pageOfWire = ({ operations, readTo, atEnd, hasGap }: ReadGuestJournalResponse): JournalPage => ({
  entries: operations.flatMap((operation) => entryOfWire(operation) ?? []),
  readTo,
  isEnd: atEnd,
  hasGap,
});

const entryOnWire = (entry: JournalEntry): GuestOperation => ({
  disk: entry.disk,
  kind: kinds[entry.op],
  offsetBytes: entry.offset,
  lengthBytes: entry.length,
  sequence: entry.seq,
  invokeTimeMs: entry.invokedAt,
  completeTimeMs: entry.completedAt,
  invokeMonotonicMs: entry.invokedMonotonicMs,
  completeMonotonicMs: entry.completedMonotonicMs,
  ok: entry.ok,
  reason: entry.reason ?? '',
});

/** An operation of a kind that this release does not know is left out. */
const entryOfWire = (operation: GuestOperation): JournalEntry | undefined => {
  const op = ops.get(operation.kind);
  if (op === undefined) return undefined;
  return {
    disk: operation.disk,
    op,
    offset: operation.offsetBytes,
    length: operation.lengthBytes,
    seq: operation.sequence,
    invokedAt: operation.invokeTimeMs,
    completedAt: operation.completeTimeMs,
    invokedMonotonicMs: operation.invokeMonotonicMs,
    completedMonotonicMs: operation.completeMonotonicMs,
    ok: operation.ok,
    ...(operation.reason === '' ? {} : { reason: operation.reason }),
  };
};
