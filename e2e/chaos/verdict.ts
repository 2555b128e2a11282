import type { History, Recorded } from './history.ts';

/**
 * Whether a history of guest I/O keeps the promise. It knows what was done to the cloud and when (t0, pauses, the return)
 * and what the guests recorded; what services say about themselves has no part in it.
 */

/** A loss of a key, and what may happen on the disks under it. All times in milliseconds since the epoch. */
export interface Loss {
  /** The commit that took access away, as the service that owns the cause stored it. */
  readonly t0: number;
  /** How long after t0 an operation may still be invoked and succeed. */
  readonly boundMs: number;
  /** When giving access back was asked for; from then on I/O may succeed again. Absent while it is gone. */
  readonly returnedAt?: number;
  /** Full names of the disks under the key, pinned ones left out. */
  readonly disks: readonly string[];
  /** What refused I/O may give as its reason from t0 on. */
  readonly reasons: readonly string[];
}

/** A stretch in which the process of the disk host stood still (SIGSTOP, SIGCONT). */
export interface Pause {
  readonly from: number;
  readonly to: number;
}

/** I/O that nothing may happen to: other keys, no key, pinned disks. */
export interface Undisturbed {
  readonly disks: readonly string[];
  readonly from: number;
  readonly to: number;
  /** Longest time between two completions. */
  readonly gapMsMax: number;
}

/** What was done, and to what. */
export interface Deeds {
  readonly losses: readonly Loss[];
  readonly pauses?: readonly Pause[];
  readonly undisturbed?: readonly Undisturbed[];
  /** What else I/O may fail with, wherever: a guest that shuts down cancels, a host that was killed is unavailable. */
  readonly otherReasons?: readonly string[];
}

/** One thing that must not be. */
export interface Violation {
  readonly kind:
    | 'invoked after the bound'
    | 'invoked in a pause that outlasted the bound'
    | 'acknowledged long after the bound'
    | 'more in hand than a pause can hold'
    | 'outlived its deadline'
    | 'wrong content'
    | 'reason not explained'
    | 'disturbed'
    | 'proves nothing'
    | 'clocks disagree';
  readonly about: string;
}

/** What a history amounts to. */
export interface Verdict {
  readonly violations: readonly Violation[];
  /** Latest good read or write of a lost disk, in milliseconds after its t0; negative when none was after it. */
  readonly lastGoodMs: number;
  /** Operations on lost disks that were refused after t0. */
  readonly refused: number;
  /** Answers past their last check when the host was stopped: the stated exception. */
  readonly inHand: number;
}

/** What guests give an operation at most (services/compute/src/guest/disk-io.ts). */
const deadlineMs = 5_000;

/** How late a guest on a busy machine may notice an answer. No invocation gets this, only completions. */
const noticeMs = 1_000;

/** How long before t0 a disk must have done good I/O: a history without proves nothing. */
const livelyMs = 2_000;

/** How far the two clocks of the guests may drift apart within a history. */
const driftMs = 50;

const isData = ({ op }: Recorded): boolean => op !== 'flush';

/** Judges a history by what was done. */
export const judge = (history: History, deeds: Deeds): Verdict => {
  const byLoss = deeds.losses.map((loss) => judgeLoss(history, loss, deeds.pauses ?? []));
  return {
    violations: [
      ...clocks(history),
      ...byLoss.flatMap(({ violations }) => violations),
      ...(deeds.undisturbed ?? []).flatMap((wish) => disturbances(history, wish)),
      ...history.flatMap((io) => generalRules(io, deeds)),
    ],
    lastGoodMs: Math.max(...byLoss.map(({ lastGoodMs }) => lastGoodMs)),
    refused: byLoss.reduce((sum, { refused }) => sum + refused, 0),
    inHand: byLoss.reduce((sum, { inHand }) => sum + inHand, 0),
  };
};

const judgeLoss = (history: History, loss: Loss, pauses: readonly Pause[]): Verdict => {
  const { t0, boundMs, returnedAt = Number.POSITIVE_INFINITY, disks } = loss;
  const endAt = t0 + boundMs;
  const violations: Violation[] = [];
  let lastGoodMs = Number.NEGATIVE_INFINITY;
  let refused = 0;
  let inHand = 0;
  for (const disk of disks) {
    const own = history.filter((io) => io.disk === disk && isData(io) && io.invokedAt < returnedAt);
    if (!own.some(({ ok, completedAt }) => ok && completedAt <= t0 && completedAt > t0 - livelyMs)) {
      violations.push({ kind: 'proves nothing', about: `${disk} had no good I/O in the ${livelyMs} ms before t0` });
    }
    refused += own.filter(({ ok, completedAt }) => !ok && completedAt > t0).length;
    for (const io of own.filter(({ ok }) => ok)) {
      lastGoodMs = Math.max(lastGoodMs, io.completedAt - t0);
      if (io.invokedAt > endAt) violations.push({ kind: 'invoked after the bound', about: told(io, t0) });
      else if (io.completedAt > endAt) {
        const pause = pauses.find(({ from, to }) => io.invokedAt <= to && io.completedAt >= to && from <= endAt);
        if (pause === undefined || pause.to <= endAt) {
          if (io.completedAt > endAt + noticeMs)
            violations.push({ kind: 'acknowledged long after the bound', about: told(io, t0) });
        } else if (io.invokedAt >= pause.from) {
          violations.push({ kind: 'invoked in a pause that outlasted the bound', about: told(io, t0) });
        } else {
          inHand += 1;
        }
      }
    }
  }
  // A guest does one thing at a time on a disk, so a host that is stopped once holds one answer a disk.
  if (inHand > disks.length * pauses.length) {
    violations.push({ kind: 'more in hand than a pause can hold', about: `${inHand} on ${disks.length} disks` });
  }
  return { violations, lastGoodMs, refused, inHand };
};

/** What holds for every operation of every guest. */
const generalRules = (io: Recorded, { losses, otherReasons = [], pauses = [] }: Deeds): Violation[] => {
  const violations: Violation[] = [];
  const lastedMs = io.completedMonotonicMs - io.invokedMonotonicMs;
  if (lastedMs > deadlineMs + noticeMs) violations.push({ kind: 'outlived its deadline', about: told(io) });
  if (io.reason === 'CONTENT_MISMATCH') violations.push({ kind: 'wrong content', about: told(io) });
  else if (!io.ok) {
    const loss = losses.find(({ disks, t0 }) => disks.includes(io.disk) && io.completedAt >= t0);
    const isPaused = pauses.some(({ from, to }) => io.invokedAt <= to && io.completedAt >= from);
    const isExplained =
      loss?.reasons.includes(io.reason) ||
      otherReasons.includes(io.reason) ||
      (isPaused && io.reason === 'DEADLINE_EXCEEDED');
    if (!isExplained) violations.push({ kind: 'reason not explained', about: told(io) });
  }
  return violations;
};

const disturbances = (history: History, { disks, from, to, gapMsMax }: Undisturbed): Violation[] =>
  disks.flatMap((disk) => {
    const own = history.filter((io) => io.disk === disk && isData(io) && io.completedAt >= from && io.invokedAt <= to);
    const failed = own.filter(({ ok }) => !ok).map((io): Violation => ({ kind: 'disturbed', about: told(io) }));
    const marks = [from, ...own.filter(({ ok }) => ok).map(({ completedAt }) => Math.min(completedAt, to)), to];
    const gapMs = Math.max(...marks.map((mark, at) => mark - (marks[at - 1] ?? mark)));
    if (gapMs <= gapMsMax) return failed;
    return [...failed, { kind: 'disturbed', about: `${disk} did nothing for ${gapMs} ms; ${gapMsMax} are allowed` }];
  });

/** A wall clock that was set meanwhile would make every comparison with t0 worthless. */
const clocks = (history: History): Violation[] => {
  const offsets = history.map(({ completedAt, completedMonotonicMs }) => completedAt - completedMonotonicMs);
  if (offsets.length === 0) return [{ kind: 'proves nothing', about: 'the history is empty' }];
  // Not by spreading them: a long history has more entries than a call may have arguments.
  const [least, most] = offsets.reduce(
    ([low, high], offset) => [Math.min(low, offset), Math.max(high, offset)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  if (most - least <= driftMs) return [];
  return [{ kind: 'clocks disagree', about: `wall clock and monotonic clock drifted ${most - least} ms apart` }];
};

const told = (io: Recorded, t0?: number): string => {
  const at = (instant: number) => (t0 === undefined ? new Date(instant).toISOString() : `t0 + ${instant - t0} ms`);
  const outcome = io.ok ? 'ok' : io.reason;
  return `${io.op} #${io.seq} of ${io.disk}: invoked ${at(io.invokedAt)}, completed ${at(io.completedAt)}, ${outcome}`;
};
