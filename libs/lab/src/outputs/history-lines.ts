import type { IoRecord, RunRecord, StepRecord } from '../record.ts';

/** One line of `history.jsonl`: an operation of a Jepsen history, as JSON. */
export interface HistoryLine {
  readonly index: number;
  /** `invoke`, then `ok`, `fail` (it did not happen) or `info` (it may have happened). */
  readonly type: 'invoke' | 'ok' | 'fail' | 'info';
  readonly f: string;
  /** The key (a disk) and the written or read sequence number, null in the invocation of a read; for a step its targets. */
  readonly value: readonly [string, number | null] | readonly string[];
  /** One operation at a time each; `nemesis` for steps of the timeline. */
  readonly process: number | 'nemesis';
  /** Nanoseconds of the monotonic clock since the first operation. */
  readonly time: number;
  /** Milliseconds since the epoch by the wall clock. */
  readonly wall: number;
  readonly machine?: string;
  readonly error?: string;
}

type Event = Omit<HistoryLine, 'index' | 'time'> & { readonly monotonicMs: number };

/**
 * `history.jsonl`: two lines for each operation of a guest and each step, in the order of the monotonic clock.
 *
 * A failed read is `fail`. A failed write or flush is `info`: a host may apply a write and refuse to acknowledge it. As Jepsen requires, a
 * process has one operation in flight, and makes no further one after `info`.
 */
export function historyLines(record: RunRecord): readonly string[] {
  const events = [
    ...guestEvents(record.io),
    ...record.steps.flatMap((step) => stepEvents(step, wallToMonotonic(record.io))),
  ];
  // A stable sort: of two events at the same time, the one that was invoked first stays first.
  events.sort((a, b) => a.monotonicMs - b.monotonicMs);
  const firstMs = events[0]?.monotonicMs ?? 0;
  return events.map(({ monotonicMs, ...event }, index) =>
    JSON.stringify({ index, time: Math.round((monotonicMs - firstMs) * 1e6), ...event } satisfies HistoryLine),
  );
}

/** Steps have only wall-clock times. The offset is that of the first operation, so a later change of the wall clock does not move them. */
const wallToMonotonic = ([first]: readonly IoRecord[]): ((ms: number) => number) => {
  const offset = first === undefined ? 0 : first.invokedMonotonicMs - first.invokedMs;
  return (ms) => ms + offset;
};

function guestEvents(io: readonly IoRecord[]): readonly Event[] {
  const processes = new Processes();
  return io
    .toSorted((a, b) => a.invokedMonotonicMs - b.invokedMonotonicMs)
    .flatMap((one) => {
      const type = typeOf(one);
      const process = processes.take(one, type === 'info');
      const common = { f: one.op, process, machine: one.machine };
      const seq = one.op === 'flush' ? null : one.seq;
      return [
        {
          ...common,
          type: 'invoke',
          value: [one.disk, one.op === 'write' ? seq : null],
          wall: one.invokedMs,
          monotonicMs: one.invokedMonotonicMs,
        },
        {
          ...common,
          type,
          value: [one.disk, one.op === 'write' || one.ok ? seq : null],
          wall: one.completedMs,
          // A completion is never before its invocation, even if a clock has a resolution of a millisecond.
          monotonicMs: Math.max(one.completedMonotonicMs, one.invokedMonotonicMs),
          ...(one.reason !== '' && { error: one.reason }),
        },
      ] satisfies readonly Event[];
    });
}

const typeOf = ({ ok, op }: IoRecord): 'ok' | 'fail' | 'info' => {
  if (ok) return 'ok';
  return op === 'read' ? 'fail' : 'info';
};

/** Numbers of processes. A disk of a machine has one, and a further one for each operation that overlaps. */
class Processes {
  readonly #free = new Map<string, { readonly process: number; readonly freeFromMs: number }[]>();
  #next = 0;

  take({ machine, disk, invokedMonotonicMs, completedMonotonicMs }: IoRecord, ends: boolean): number {
    const key = `${machine} ${disk}`;
    const known = this.#free.get(key) ?? [];
    this.#free.set(key, known);
    const index = known.findIndex(({ freeFromMs }) => freeFromMs < invokedMonotonicMs);
    const [found] = index < 0 ? [] : known.splice(index, 1);
    const process = found?.process ?? this.#next++;
    if (!ends) known.push({ process, freeFromMs: completedMonotonicMs });
    return process;
  }
}

/** The nemesis of Jepsen has `info` for both lines. */
function stepEvents(step: StepRecord, monotonic: (ms: number) => number): readonly Event[] {
  const { action, undoes, targets, invokedMs, doneMs = invokedMs, error } = step;
  const common = {
    type: 'info',
    f: undoes === undefined ? action : 'undo',
    value: undoes === undefined ? targets : [undoes],
    process: 'nemesis',
  } as const;
  return [
    { ...common, wall: invokedMs, monotonicMs: monotonic(invokedMs) },
    { ...common, wall: doneMs, monotonicMs: monotonic(doneMs), ...(error !== undefined && { error }) },
  ];
}
