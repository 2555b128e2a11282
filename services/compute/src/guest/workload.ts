import type { Clock } from '@interlock/runtime';
import type { Workload } from '../guests/vm-host.ts';
import { type DiskIo, IoError } from './disk-io.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { type Expectation, type ExpectedContent, isAsExpected, offsetOf, recordOf } from './records.ts';

/** Writes between two flushes. */
const writesPerFlush = 16;
/** Wait after a failure, in milliseconds: short enough to show when a disk is available again, long enough not to flood it. */
const retryMs = 200;

interface DiskWork {
  readonly disk: string;
  readonly io: DiskIo;
  readonly content: ExpectedContent;
  readonly journal: Journal;
  readonly workload: Workload;
  readonly clock: Clock;
}

/**
 * Works on one disk until `signal` is aborted; the operation under way then ends by itself, or with `cancelling`. First it
 * checks everything that earlier runs of this machine wrote. Then it writes numbered records, reads each back and compares,
 * and flushes regularly, at the rate of its workload. A failed operation is journalled and repeated.
 */
export const workOn = async (work: DiskWork, signal: AbortSignal, cancelling: AbortSignal): Promise<void> => {
  const { io, content, workload, clock } = work;
  for (const expected of content.all()) await insist(work, signal, () => check(work, 'verify', expected, cancelling));
  const intervalMs = 1_000 / workload.ioPerSecond;
  let dueMs = clock.monotonicMs();
  /** Does one operation when it is due; missed operations are not made up for. */
  const paced = async (operation: () => Promise<boolean>): Promise<void> => {
    dueMs = Math.max(dueMs + intervalMs, clock.monotonicMs());
    await clock.sleep(Math.max(0, dueMs - clock.monotonicMs()), signal);
    await insist(work, signal, operation);
  };
  for (let writes = 1; !signal.aborted; writes += 1) {
    const seq = content.next();
    const offset = offsetOf(seq, workload.ioSizeBytes);
    await paced(() => write(work, seq, offset, cancelling));
    const expected = content.at(offset);
    if (expected) await paced(() => check(work, 'read', expected, cancelling));
    if (writes % writesPerFlush === 0) {
      await paced(() => recorded(work, { op: 'flush', offset: 0, length: 0, seq }, () => io.flush(cancelling)));
    }
  }
};

/**
 * Repeats an operation until it succeeds. While an entry waits for space in the journal, no operation begins: the next run of this
 * machine knows what happened up to one operation without an entry.
 */
const insist = async (work: DiskWork, signal: AbortSignal, operation: () => Promise<boolean>): Promise<void> => {
  const { clock, journal } = work;
  while (!signal.aborted && !(journal.isStored() && (await operation()))) await clock.sleep(retryMs, signal);
};

const write = async (work: DiskWork, seq: number, offset: number, signal: AbortSignal): Promise<boolean> => {
  const { disk, io, content, workload } = work;
  const length = workload.ioSizeBytes;
  const ok = await recorded(work, { op: 'write', offset, length, seq }, () =>
    io.write(offset, recordOf(disk, seq, offset, length), signal),
  );
  content.wrote(seq, offset, length, ok);
  return ok;
};

/** Reads and compares. @returns whether it was read: a wrong content is journalled as a failure, and not read again */
const check = async (
  work: DiskWork,
  op: 'read' | 'verify',
  expected: Expectation,
  signal: AbortSignal,
): Promise<boolean> => {
  const { offset, length, acknowledged = 0 } = expected;
  let wasRead = false;
  await recorded(work, { op, offset, length, seq: acknowledged }, async () => {
    const bytes = await work.io.read(offset, length, signal);
    wasRead = true;
    if (!isAsExpected(work.disk, expected, bytes)) throw new IoError('CONTENT_MISMATCH');
  });
  return wasRead;
};

/** Does one operation and journals how it went. @returns whether it succeeded */
export const recorded = async (
  { disk, journal, clock }: Pick<DiskWork, 'disk' | 'journal' | 'clock'>,
  about: Pick<JournalEntry, 'op' | 'offset' | 'length' | 'seq'>,
  operation: () => Promise<void>,
): Promise<boolean> => {
  const invoked = { invokedAt: clock.now(), invokedMonotonicMs: clock.monotonicMs() };
  const outcome = await operation().then(
    () => ({ ok: true }),
    (error: unknown) => ({ ok: false, reason: error instanceof IoError ? error.reason : 'INTERNAL' }),
  );
  const completed = { completedAt: clock.now(), completedMonotonicMs: clock.monotonicMs() };
  journal.append({ disk, ...about, ...invoked, ...completed, ...outcome });
  return outcome.ok;
};
