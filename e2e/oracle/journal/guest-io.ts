import type { History, Recorded } from './history.ts';

/**
 * Whether the I/O that guests recorded keeps G1, G3, G5 and G10. It knows what was done to the cloud and when (losses, pauses), and
 * what the guests recorded. What services report about themselves is no input.
 */

/** A loss of a key, and what may happen on the disks under it. All times in milliseconds since the epoch. */
export interface KeyLossWindow {
  /** The commit that took access away, as the owner of the cause stored it. */
  readonly t0: number;
  /** How long after t0 an operation may still be invoked and succeed. */
  readonly boundMs: number;
  /** When restoring access was requested: from then on I/O may succeed again. Absent while it is lost. */
  readonly restoredAt?: number;
  /** Full names of the disks under the key, without pinned ones. */
  readonly disks: readonly string[];
  /** Reasons that refused I/O may give from t0 on. */
  readonly reasons: readonly string[];
}

/** A time in which the process of the disk host was stopped (SIGSTOP, SIGCONT). */
export interface Pause {
  readonly from: number;
  readonly to: number;
}

/** I/O that must not be disturbed: under other keys, under no key, on pinned disks. */
export interface Undisturbed {
  readonly disks: readonly string[];
  readonly from: number;
  readonly to: number;
  /** Longest time between two completions. */
  readonly gapMsMax: number;
}

/** What was done to the cloud. */
export interface Actions {
  readonly losses: readonly KeyLossWindow[];
  readonly pauses?: readonly Pause[];
  readonly undisturbed?: readonly Undisturbed[];
  /** Further reasons that I/O may fail with anywhere: a guest that shuts down cancels, a killed host is unavailable. */
  readonly otherReasons?: readonly string[];
}

export interface IoViolation {
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

export interface IoVerdict {
  readonly violations: readonly IoViolation[];
  /** Latest good read or write of a lost disk, in milliseconds after its t0; negative if none came after it. */
  readonly lastGoodMs: number;
  /** Operations on lost disks that were refused after t0. */
  readonly refused: number;
  /** Responses past their last check when the host was stopped: the stated exception. */
  readonly inHand: number;
}

/** Deadline of an operation of a guest (services/compute/src/guest/disk-io.ts), in milliseconds. */
const deadlineMs = 5_000;
/** How late a guest on a busy machine may notice a response, in milliseconds. It extends completions, never invocations. */
const noticeMs = 1_000;
/** A disk must have done good I/O this short before t0: a history without it proves nothing. In milliseconds. */
const livelyMs = 2_000;
/** How far the guests' two clocks may drift apart within a history, in milliseconds. */
const driftMs = 50;

const isData = ({ op }: Recorded): boolean => op !== 'flush';

export const judgeIo = (history: History, actions: Actions): IoVerdict => {
  const byLoss = actions.losses.map((loss) => judgeLoss(history, loss, actions.pauses ?? []));
  return {
    violations: [
      ...judgeClocks(history),
      ...byLoss.flatMap(({ violations }) => violations),
      ...(actions.undisturbed ?? []).flatMap((claim) => disturbances(history, claim)),
      ...history.flatMap((io) => generalRules(io, actions)),
    ],
    lastGoodMs: Math.max(...byLoss.map(({ lastGoodMs }) => lastGoodMs)),
    refused: byLoss.reduce((sum, { refused }) => sum + refused, 0),
    inHand: byLoss.reduce((sum, { inHand }) => sum + inHand, 0),
  };
};

const judgeLoss = (history: History, loss: KeyLossWindow, pauses: readonly Pause[]): IoVerdict => {
  const { t0, restoredAt = Number.POSITIVE_INFINITY, disks } = loss;
  const violations: IoViolation[] = [];
  let lastGoodMs = Number.NEGATIVE_INFINITY;
  let refused = 0;
  let inHand = 0;
  for (const disk of disks) {
    const own = history.filter((io) => io.disk === disk && isData(io) && io.invokedAt < restoredAt);
    if (!own.some(({ ok, completedAt }) => ok && completedAt <= t0 && completedAt > t0 - livelyMs)) {
      violations.push({ kind: 'proves nothing', about: `${disk} had no good I/O in the ${livelyMs} ms before t0` });
    }
    refused += own.filter(({ ok, completedAt }) => !ok && completedAt > t0).length;
    // One that completes after access was restored may have waited for that.
    for (const io of own.filter(({ ok, completedAt }) => ok && completedAt < restoredAt)) {
      lastGoodMs = Math.max(lastGoodMs, io.completedAt - t0);
      const kind = judgeSuccess(io, loss, pauses);
      if (kind === 'in hand') inHand += 1;
      else if (kind !== undefined) violations.push({ kind, about: textOf(io, t0) });
    }
  }
  // A guest does one operation at a time on a disk, so a host that is stopped once holds one response a disk.
  if (inHand > disks.length * pauses.length) {
    violations.push({ kind: 'more in hand than a pause can hold', about: `${inHand} on ${disks.length} disks` });
  }
  return { violations, lastGoodMs, refused, inHand };
};

/** What is wrong with a read or write that succeeded on a lost disk; undefined if nothing is. */
const judgeSuccess = (
  io: Recorded,
  { t0, boundMs }: KeyLossWindow,
  pauses: readonly Pause[],
): IoViolation['kind'] | 'in hand' | undefined => {
  const endAt = t0 + boundMs;
  if (io.invokedAt > endAt) return 'invoked after the bound';
  if (io.completedAt <= endAt) return undefined;
  const pause = pauses.find(({ from, to }) => io.invokedAt <= to && io.completedAt >= to && from <= endAt);
  if (pause === undefined || pause.to <= endAt) {
    return io.completedAt > endAt + noticeMs ? 'acknowledged long after the bound' : undefined;
  }
  return io.invokedAt >= pause.from ? 'invoked in a pause that outlasted the bound' : 'in hand';
};

/** What holds for every operation of every guest. */
const generalRules = (io: Recorded, { losses, otherReasons = [], pauses = [] }: Actions): IoViolation[] => {
  const violations: IoViolation[] = [];
  const lastedMs = io.completedMonotonicMs - io.invokedMonotonicMs;
  if (lastedMs > deadlineMs + noticeMs) violations.push({ kind: 'outlived its deadline', about: textOf(io) });
  if (io.reason === 'CONTENT_MISMATCH') violations.push({ kind: 'wrong content', about: textOf(io) });
  else if (!io.ok) {
    const loss = losses.find(({ disks, t0 }) => disks.includes(io.disk) && io.completedAt >= t0);
    const isPaused = pauses.some(({ from, to }) => io.invokedAt <= to && io.completedAt >= from);
    const isExplained =
      loss?.reasons.includes(io.reason) ||
      otherReasons.includes(io.reason) ||
      (isPaused && io.reason === 'DEADLINE_EXCEEDED');
    if (!isExplained) violations.push({ kind: 'reason not explained', about: textOf(io) });
  }
  return violations;
};

const disturbances = (history: History, { disks, from, to, gapMsMax }: Undisturbed): IoViolation[] =>
  disks.flatMap((disk) => {
    const own = history.filter((io) => io.disk === disk && isData(io) && io.completedAt >= from && io.invokedAt <= to);
    const failed = own.filter(({ ok }) => !ok).map((io): IoViolation => ({ kind: 'disturbed', about: textOf(io) }));
    const marks = [from, ...own.filter(({ ok }) => ok).map(({ completedAt }) => Math.min(completedAt, to)), to];
    const gapMs = Math.max(...marks.map((mark, at) => mark - (marks[at - 1] ?? mark)));
    if (gapMs <= gapMsMax) return failed;
    return [...failed, { kind: 'disturbed', about: `${disk} did nothing for ${gapMs} ms; ${gapMsMax} are allowed` }];
  });

/** A wall clock that was set during the history would make every comparison with t0 worthless. */
const judgeClocks = (history: History): IoViolation[] => {
  const offsets = history.map(({ completedAt, completedMonotonicMs }) => completedAt - completedMonotonicMs);
  if (offsets.length === 0) return [{ kind: 'proves nothing', about: 'the history is empty' }];
  // Not Math.min(...offsets): a long history has more entries than a call may have arguments.
  const [least, most] = offsets.reduce(
    ([low, high], offset) => [Math.min(low, offset), Math.max(high, offset)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  if (most - least <= driftMs) return [];
  return [{ kind: 'clocks disagree', about: `wall clock and monotonic clock drifted ${most - least} ms apart` }];
};

const textOf = (io: Recorded, t0?: number): string => {
  const at = (instant: number) => (t0 === undefined ? new Date(instant).toISOString() : `t0 + ${instant - t0} ms`);
  const outcome = io.ok ? 'ok' : io.reason;
  return `${io.op} #${io.seq} of ${io.disk}: invoked ${at(io.invokedAt)}, completed ${at(io.completedAt)}, ${outcome}`;
};
