import type { RecordedEvent } from '@interlock/event-store';
import { workloads } from '@interlock/host';
import type { GuaranteeRecord, IoRecord, RawRecord } from '@interlock/lab';
import type { Guarantee } from '@interlock/lab/judge/findings';
import { guaranteesOf } from '@interlock/lab/judge/recording/guarantees';
import { rawRecord } from '@interlock/lab/judge/recording/raw-record';
import type { Disturbance, RefusedOperation } from '@interlock/lab/judge/recording/replay';
import type { Workload } from '@interlock/rpc';
import type { SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { type HistoryLog, openHistoryLog } from '../../simulation/runs/history-log.ts';

/** What only the judges of the simulation check. The other guarantees have the rows of every target (`recordedRows`). */
const lookedAt: Readonly<Partial<Record<Guarantee, string>>> = {
  G6: 'headers on storage agree with the stores, and every disk is under a key of its set',
  G7: 'every fact took effect once and in order; what services show agrees with what was stored',
  G8: 'no plaintext DEK and no private key is in a store or a log',
  G9: 'every use and every refusal of a key is on the record of its vault',
};

/** Collects the findings of the judges. Unlike a history, which ends with its first violation, it keeps all of them. */
export class Findings {
  /** For the judges of the simulation. */
  readonly log: HistoryLog;
  readonly #violated = new Map<string, GuaranteeRecord>();

  constructor(nowMs: () => number) {
    this.log = openHistoryLog(nowMs);
    const { violate } = this.log;
    Object.assign(this.log, {
      violate: (rule: Guarantee, expected: string, actual: string): void => {
        violate(rule, expected, actual);
        // A judge that checks again finds it again: the first time counts.
        const name = `${rule} ${expected}`;
        if (!this.#violated.has(name)) {
          const seen = `expected: ${expected}; seen: ${actual}`;
          this.#violated.set(name, { rule, subject: 'the cloud', holds: false, seen });
        }
      },
    });
  }

  /** A row for each violation so far. */
  violated(): readonly GuaranteeRecord[] {
    return [...this.#violated.values()];
  }

  /** A row for each violation, and one for each guarantee that only the simulation checks and that holds. */
  rows(): readonly GuaranteeRecord[] {
    const violated = this.violated();
    const held = Object.entries(lookedAt).filter(([name]) => !violated.some(({ rule }) => rule === name));
    return [...violated, ...held.map(([rule, seen]) => ({ rule, subject: 'the cloud', holds: true, seen }))];
  }
}

/** The records of a run for the oracle. */
export interface Recorded {
  readonly io: readonly IoRecord[];
  readonly disturbances: readonly Disturbance[];
  readonly refusals: readonly RefusedOperation[];
  /** Full names of the machines. */
  readonly machines: readonly string[];
  /** Start of the run, in milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** The oracle's verdicts on the stored events and on the guests' I/O, by the same rules as for real processes, and what they derive from. */
export const recordedRows = async (
  { storeOf, settings }: SimulatedCloud,
  { io, disturbances, refusals, machines, sinceMs }: Recorded,
  findings: readonly GuaranteeRecord[],
): Promise<{ readonly guarantees: readonly GuaranteeRecord[]; readonly raw: RawRecord }> => {
  const feeds = workloads.map(async (service) => [service, await storeOf(service).feed(0, 10_000_000)] as const);
  const events = Object.fromEntries(await Promise.all(feeds)) as Record<Workload, readonly RecordedEvent[]>;
  const { authzTtlMs, leases, sweepIntervalMs, guestStopTimeoutMs } = settings;
  const terms = { authzTtlMs, leases, sweepIntervalMs, guestStopTimeoutMs };
  const rows = guaranteesOf({
    events,
    history: io.map(({ invokedMs: invokedAt, completedMs: completedAt, ...one }) => ({
      ...one,
      invokedAt,
      completedAt,
      offset: 0,
      length: 0,
    })),
    disturbances,
    refusals,
    terms,
    slackMs: 0,
    machines: new Set(machines),
    sinceMs,
  });
  const raw = rawRecord(events, { disturbances, terms, slackMs: 0, sinceMs, findings });
  return { guarantees: [...findings, ...rows], raw };
};
