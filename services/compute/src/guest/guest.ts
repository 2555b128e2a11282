import type { Clock } from '@interlock/runtime';
import type { GuestDisk } from '../guests/vm-host.ts';
import type { DiskIo } from './disk-io.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { type GuestFile, isSameOpen } from './plan.ts';
import { openExpectedContent } from './records.ts';
import { recorded, workOn } from './workload.ts';

/** A running guest. */
export interface Guest {
  /** Applies a plan: works on new disks, and stops work on disks that are no longer in it. */
  apply(plan: GuestFile): Promise<void>;
  /** Ends every operation, then tries to flush every disk. */
  shutDown(): Promise<void>;
}

interface Worker {
  readonly disk: GuestDisk;
  readonly io: DiskIo;
  readonly stopping: AbortController;
  readonly cancelling: AbortController;
  readonly done: Promise<void>;
}

/** Longest wait for an operation under way, in milliseconds: a disk without data may delay it for long. */
const lastOperationMs = 250;
/** Longest wait for a disk's last flush, in milliseconds: its key may be lost, its host gone. */
const lastFlushMs = 1_000;

/** @param history the journal of earlier runs of this machine */
export const createGuest = (parts: {
  readonly journal: Journal;
  readonly history: readonly JournalEntry[];
  readonly clock: Clock;
  readonly openIo: (disk: GuestDisk) => DiskIo;
}): Guest => {
  const { journal, history, clock, openIo } = parts;
  const workers = new Map<string, Worker>();

  const begin = (disk: GuestDisk, { workload }: GuestFile): void => {
    const io = openIo(disk);
    const [stopping, cancelling] = [new AbortController(), new AbortController()];
    if (!disk.isContinued) {
      const now = { invokedAt: clock.now(), completedAt: clock.now() };
      const monotonic = { invokedMonotonicMs: clock.monotonicMs(), completedMonotonicMs: clock.monotonicMs() };
      journal.append({ disk: disk.disk, op: 'adopt', offset: 0, length: 0, seq: 0, ...now, ...monotonic, ok: true });
    }
    const content = openExpectedContent(disk.disk, disk.isContinued ? history : [], workload.ioSizeBytes);
    const isIdle = workload.kind === 'IDLE';
    const done = isIdle
      ? Promise.resolve()
      : workOn({ disk: disk.disk, io, content, journal, workload, clock }, stopping.signal, cancelling.signal);
    workers.set(disk.disk, { disk, io, stopping, cancelling, done });
  };

  const end = async (worker: Worker): Promise<void> => {
    workers.delete(worker.disk.disk);
    worker.stopping.abort();
    const ended = new AbortController();
    void clock.sleep(lastOperationMs, ended.signal).then(() => worker.cancelling.abort());
    await worker.done.finally(() => ended.abort());
  };

  const lastFlush = async (io: DiskIo): Promise<void> => {
    const patience = new AbortController();
    const done = new AbortController();
    void clock.sleep(lastFlushMs, done.signal).then(() => patience.abort());
    await io.flush(patience.signal).finally(() => done.abort());
  };

  return {
    async apply(plan) {
      const isWanted = ({ disk }: Worker): boolean => plan.disks.some((wanted) => isSameOpen(wanted, disk));
      await Promise.all([...workers.values()].filter((worker) => !isWanted(worker)).map(end));
      for (const disk of plan.disks) if (!workers.has(disk.disk)) begin(disk, plan);
    },
    async shutDown() {
      const all = [...workers.values()];
      await Promise.all(all.map(end));
      await Promise.all(
        all.map(({ disk, io }) => {
          const about = { op: 'flush', offset: 0, length: 0, seq: 0 } as const;
          return recorded({ disk: disk.disk, journal, clock }, about, () => lastFlush(io));
        }),
      );
      journal.close();
    },
  };
};
