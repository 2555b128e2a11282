import { lossReasonOf } from '@interlock/access';
import type { History, Recorded } from './history.ts';

/**
 * Judges whether the recorded I/O of guests keeps G1, G3, G5 and G10. Its inputs are what was done to the cloud and when (losses,
 * pauses), and what the guests recorded. Reports of services about themselves are no input.
 */

/** A loss of a key, and what may happen on the disks under it. All times in milliseconds since the epoch. */
export interface KeyLossWindow {
  /** The commit that removed access, as stored by the owner of the cause. */
  readonly t0: number;
  /** How long after t0 an operation may still be invoked and succeed. */
  readonly boundMs: number;
  /** When restoring access was requested: from then on I/O may succeed again. Absent while it is lost. */
  readonly restoredAt?: number;
  /** Full names of the disks under the key, without pinned ones. */
  readonly disks: readonly string[];
  /** Disks under the key whose data key their host keeps until they are closed. */
  readonly pinned: readonly string[];
  /** Every true reason of the loss: a refused operation names one of them. */
  readonly reasons: ReadonlySet<string>;
}

/** A time in which the process of a disk host was stopped. `from` was noted before SIGSTOP, `to` after SIGCONT. */
export interface Pause {
  readonly from: number;
  readonly to: number;
  /** Whether the host had that disk; absent: every disk. */
  readonly concerns?: (disk: string) => boolean;
}

/** What was done to the cloud. */
export interface Actions {
  readonly losses: readonly KeyLossWindow[];
  readonly pauses?: readonly Pause[];
}

export interface IoViolation {
  readonly kind:
    | 'invoked after the bound'
    | 'invoked in a pause that outlasted the bound'
    | 'acknowledged long after the bound'
    | 'more in hand than a pause can hold'
    | 'wrong content'
    | 'refused before a loss'
    | 'refused for another reason'
    | 'proves nothing'
    | 'clocks disagree';
  readonly about: string;
}

export interface IoVerdict {
  readonly violations: readonly IoViolation[];
  /** Latest good read or write of a lost disk, in milliseconds after its t0; negative if none came after it. */
  readonly lastGoodMs: number;
}

/** How late a guest on a busy machine may notice a response, in milliseconds. It extends completions, never invocations. */
const noticeMs = 1_000;
/** A disk must have done good I/O within this time before t0, because a history without it proves nothing. In milliseconds. */
const livelyMs = 2_000;
/** How long before the noted end of a pause, and after its noted start, the process may run, in milliseconds. */
const signalMs = 50;
/** How far the guests' two clocks may drift apart within a history, in milliseconds. */
const driftMs = 50;

const isData = ({ op }: Recorded): boolean => op !== 'flush';

export const judgeIo = (history: History, { losses, pauses = [] }: Actions): IoVerdict => {
  const byLoss = losses.map((loss) => judgeLoss(history, loss, pauses));
  return {
    violations: [
      ...judgeClocks(history),
      ...byLoss.flatMap(({ violations }) => violations),
      ...history.flatMap((io) => judgeFailure(io, losses) ?? []),
    ],
    lastGoodMs: Math.max(...byLoss.map(({ lastGoodMs }) => lastGoodMs)),
  };
};

const judgeLoss = (history: History, loss: KeyLossWindow, pauses: readonly Pause[]): IoVerdict => {
  const { t0, restoredAt = Number.POSITIVE_INFINITY, disks } = loss;
  const violations: IoViolation[] = [];
  let lastGoodMs = Number.NEGATIVE_INFINITY;
  /** Responses past their last check when the host was stopped: the stated exception. */
  let inHand = 0;
  let inHandMax = 0;
  for (const disk of disks) {
    const ownPauses = pauses.filter(({ concerns = () => true }) => concerns(disk));
    // A guest does one operation at a time on a disk, so a host that is stopped once holds one response for each disk.
    inHandMax += ownPauses.length;
    const own = history.filter((io) => io.disk === disk && isData(io) && io.invokedAt < restoredAt);
    if (!own.some(({ ok, completedAt }) => ok && completedAt <= t0 && completedAt > t0 - livelyMs)) {
      violations.push({ kind: 'proves nothing', about: `${disk} had no good I/O in the ${livelyMs} ms before t0` });
    }
    // I/O that completes after access was restored may have waited for that.
    for (const io of own.filter(({ ok, completedAt }) => ok && completedAt < restoredAt)) {
      lastGoodMs = Math.max(lastGoodMs, io.completedAt - t0);
      const kind = judgeSuccess(io, loss, ownPauses);
      if (kind === 'in hand') inHand += 1;
      else if (kind !== undefined) violations.push({ kind, about: textOf(io, t0) });
    }
  }
  if (inHand > inHandMax) {
    violations.push({ kind: 'more in hand than a pause can hold', about: `${inHand} on ${disks.length} disks` });
  }
  return { violations, lastGoodMs };
};

/** The violation of a read or write that succeeded on a lost disk, or undefined. */
const judgeSuccess = (
  io: Recorded,
  { t0, boundMs }: KeyLossWindow,
  pauses: readonly Pause[],
): IoViolation['kind'] | 'in hand' | undefined => {
  const endAt = t0 + boundMs;
  if (io.invokedAt > endAt) return 'invoked after the bound';
  if (io.completedAt <= endAt) return undefined;
  const pause = pauses.find(({ from, to }) => io.invokedAt <= to && io.completedAt >= to - signalMs && from <= endAt);
  if (pause === undefined || pause.to <= endAt) {
    return io.completedAt > endAt + noticeMs ? 'acknowledged long after the bound' : undefined;
  }
  return io.invokedAt >= pause.from + signalMs ? 'invoked in a pause that outlasted the bound' : 'in hand';
};

/** The violation of an operation that failed, or undefined. */
const judgeFailure = (io: Recorded, losses: readonly KeyLossWindow[]): IoViolation | undefined => {
  if (io.reason === 'CONTENT_MISMATCH') return { kind: 'wrong content', about: textOf(io) };
  if (lossReasonOf(io.reason) === undefined) return undefined;
  const isLost = ({ t0, disks, pinned }: KeyLossWindow): boolean =>
    io.completedAt + noticeMs >= t0 && [...disks, ...pinned].includes(io.disk);
  const own = losses.filter(isLost);
  if (own.length === 0) return { kind: 'refused before a loss', about: textOf(io) };
  if (own.some(({ reasons }) => reasons.has(io.reason))) return undefined;
  const reasons = [...new Set(own.flatMap((loss) => [...loss.reasons]))].join(' or ');
  return { kind: 'refused for another reason', about: `${textOf(io)}; the key was lost for ${reasons}` };
};

/** If the wall clock was set during the history, no comparison with t0 is valid. */
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
