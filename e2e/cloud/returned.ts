import type { History } from '@interlock/lab/judge/journal/history';
import { expectedPlaces } from '@interlock/lab/judge/journal/records';
import { until } from './until.ts';

/** Good reads and writes on each disk before it counts as at work. */
const workPerDisk = 5;

/** Waits until each of these disks has done good work that was invoked after a time. */
export const livelyOn = (history: () => History, from: number, disks: readonly string[]): Promise<boolean> =>
  until('reads and writes on every disk', async () => {
    const good = history().filter(({ ok, op, invokedAt }) => ok && op === 'write' && invokedAt >= from);
    return disks.every((disk) => good.filter((io) => io.disk === disk).length >= workPerDisk);
  });

/**
 * What guests did not find, or did not check, when they started again. They check before they write, so the caller waits for
 * a write.
 * @param from when the key was enabled again, in milliseconds since the epoch
 */
export const notFound = (history: History, from: number, disks: readonly string[]): readonly string[] =>
  disks.flatMap((disk) => {
    const written = expectedPlaces(
      history.filter(({ invokedAt }) => invokedAt < from),
      disk,
    );
    const checks = history.filter((io) => io.disk === disk && io.op === 'verify' && io.invokedAt >= from);
    const found = new Set(checks.flatMap(({ ok, offset }) => (ok ? offset : [])));
    const missing = written.filter(({ offset }) => !found.has(offset));
    return [
      ...(written.length === 0 ? [`${disk}: nothing was written`] : []),
      ...missing.map(({ offset }) => `${disk} at ${offset}: not looked for, or not found`),
      ...checks.flatMap(({ ok, offset, reason }) => (ok ? [] : `${disk} at ${offset}: ${reason}`)),
    ];
  });
