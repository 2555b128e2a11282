import { lossReasonOf } from '@interlock/access';
import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import type { RefusalRecord } from '../../record.ts';
import type { Findings, Violation } from '../findings.ts';
import { type Bounds, boundsOf, type Terms } from '../invariants/bounds.ts';
import { CreationJudge } from '../invariants/creations.ts';
import { MachineJudge } from '../invariants/machines.ts';
import { DiskTruth } from '../model/disks.ts';
import { type Disturbances, type Disturbed, disturbedHosts, isNearHost } from '../model/disturbances.ts';
import { Truth } from '../model/truth.ts';
import { LossRecorder, type ObservedLoss } from './observed-losses.ts';

/** A part that did not work for a time: killed, paused, cut off, or with a wrong clock. Milliseconds since the epoch. */
export interface Disturbance {
  readonly parts: readonly Disturbed[];
  readonly fromMs: number;
  /** Undefined if it did not end. */
  readonly toMs?: number;
  /** The service or disk host whose process was replaced at `toMs`, so that its memory is lost. */
  readonly restarted?: Disturbed;
}

/** An operation of a user that a service refused because of a key, by the step that it belongs to. */
export interface RefusedOperation extends RefusalRecord {
  readonly step: string;
}

/** The records of a run on real processes. */
export interface Recording {
  /** Events of each service in the order of its feed. */
  readonly events: Readonly<Partial<Record<Workload, readonly RecordedEvent[]>>>;
  readonly disturbances?: readonly Disturbance[];
  readonly refusals?: readonly RefusedOperation[];
  /** Settings of the services. */
  readonly terms: Terms;
  /** What a busy machine may add to times, in milliseconds. It never extends the bound of G1. */
  readonly slackMs?: number;
}

/** A violation, with the event that revealed it. */
export interface FoundViolation extends Violation {
  readonly event: RecordedEvent;
}

/** A refused operation, with what it should have named; undefined if the key was lost for that reason. */
export interface JudgedRefusal {
  readonly refused: RefusedOperation;
  readonly wrong: ReturnType<MachineJudge['wrongIn']>;
}

/** The results of a replay. */
export interface Replayed {
  /** Every violation of G2, G3, G4 and G10 by machines, and of G1 by new disks and snapshots. */
  readonly violations: readonly FoundViolation[];
  /** Each refused operation; `wrong`: what it should have named instead. */
  readonly refusals: readonly JudgedRefusal[];
  /** Every time in which a set in use could not use a key version, with what it did to machines. */
  readonly losses: readonly ObservedLoss[];
  /** Time of the last event. */
  readonly endMs: number;
}

interface Entry {
  readonly atMs: number;
  readonly service: Workload;
  readonly event: RecordedEvent;
}

/** Services in the order in which one causes another: the order of events in the same millisecond. */
const order: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** Events of all services by time. A later event of a service is never replayed before an earlier one of it. */
const timelineOf = ({ events }: Recording): readonly Entry[] =>
  order
    .flatMap((service) => {
      let atMs = 0;
      return (events[service] ?? []).map((event): Entry => {
        atMs = Math.max(atMs, event.time);
        return { atMs, service, event };
      });
    })
    .sort((a, b) => a.atMs - b.atMs);

/**
 * Replays a recording on the model that the simulation uses, and judges machines at each event.
 * The clock of the replay is the time of the events, in milliseconds since the epoch.
 */
export const replay = (recording: Recording): Replayed => {
  let nowMs = 0;
  const now = (): number => nowMs;
  const bounds: Bounds = boundsOf(recording.terms, recording.slackMs);
  const disks = new DiskTruth(now);
  const truth = new Truth({ nowMs: now, vaultNow: now, disks, bounds });
  const disturbances = disturbancesAt(recording.disturbances ?? [], now);
  const found: FoundViolation[] = [];
  let current: RecordedEvent | undefined;
  const log: Findings = {
    violation: undefined,
    violate: (guarantee, expected, actual) => {
      if (current) found.push({ guarantee, expected, actual, atMs: nowMs, event: current });
    },
  };
  const guests = () =>
    [...truth.machines.machines.values()].flatMap(({ name, power, disks: own }) =>
      power === 'running' || power === 'stopping' ? [[name, [...own.values()]] as const] : [],
    );
  const machines = new MachineJudge({ guests, log, truth, disturbances, bounds });
  const creations = new CreationJudge({ log, truth });
  const losses = new LossRecorder(truth);
  const refusals: JudgedRefusal[] = [];
  const refused = (recording.refusals ?? []).toSorted((a, b) => a.atMs - b.atMs);
  const judgeRefusals = (untilMs: number): void => {
    for (let next = refused[0]; next !== undefined && next.atMs < untilMs; next = refused[0]) {
      refused.shift();
      nowMs = Math.max(nowMs, next.atMs);
      truth.losses.refreshDates();
      // An outage is no refusal of the vault: a user who meets one repeats the operation.
      const wrong =
        lossReasonOf(next.reason) === undefined
          ? { expected: 'the reason of a key loss', actual: next.reason }
          : machines.wrongIn(next);
      refusals.push({ refused: next, wrong });
    }
  };
  for (const { atMs, service, event } of timelineOf(recording)) {
    judgeRefusals(atMs);
    nowMs = atMs;
    current = event;
    truth.apply({ service, events: [event] });
    machines.onEvent(service, event);
    creations.onEvent(event);
    losses.onEvent(event);
    machines.checkGuests(false);
  }
  const endMs = nowMs;
  judgeRefusals(Number.POSITIVE_INFINITY);
  return { violations: found, refusals, losses: losses.all(), endMs };
};

/** The disturbances of a list at the present moment of a replay. */
const disturbancesAt = (
  all: readonly Disturbance[],
  nowMs: () => number,
): Pick<Disturbances, 'lastMs' | 'lastOfHostMs' | 'hostStartedMs'> => {
  const last = (found: readonly Disturbance[]): number | undefined => {
    const moments = found.flatMap(({ fromMs, toMs = Number.POSITIVE_INFINITY }) =>
      fromMs <= nowMs() ? Math.min(toMs, nowMs()) : [],
    );
    return moments.length === 0 ? undefined : Math.max(...moments);
  };
  return {
    lastMs: (parts) => {
      const wanted = new Set(parts);
      return last(all.filter((one) => one.parts.some((part) => wanted.has(part))));
    },
    lastOfHostMs: (host) => last(all.filter(({ parts }) => parts.some((part) => isNearHost(part, host)))),
    hostStartedMs: (host) =>
      Math.max(
        0,
        ...all.flatMap(({ restarted, toMs }) =>
          restarted !== undefined && disturbedHosts([host]).includes(restarted) && toMs !== undefined && toMs <= nowMs()
            ? toMs
            : [],
        ),
      ),
  };
};
