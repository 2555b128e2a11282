import type { RecordedEvent } from '@interlock/event-store';
import { traceIdOf } from '@interlock/runtime';
import { type Bounds, boundsOf } from '../invariants/bounds.ts';
import { hasVolumes } from '../model/disturbances.ts';
import { expectedOf, type ObservedLoss, type ObservedMachine } from './observed-losses.ts';
import { type Disturbance, type Recording, replay } from './replay.ts';

/** Whether a rule or a guarantee held for one subject, with the evidence. */
export interface Verdict {
  /** `CMK-100`, `G2` */
  readonly rule: string;
  /** Full name of a machine; of the set for a rule about the loss itself. */
  readonly subject: string;
  readonly holds: boolean;
  /** What was seen, as a text. */
  readonly seen: string;
  readonly evidence: readonly Evidence[];
}

/** An event that a verdict rests on. */
export interface Evidence {
  readonly eventId: string;
  readonly type: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** 32 hexadecimal digits; empty if the event was not traced. */
  readonly traceId: string;
}

const evidenceOf = (...events: readonly (RecordedEvent | undefined)[]): readonly Evidence[] =>
  events.flatMap((event) =>
    event === undefined
      ? []
      : [{ eventId: event.id, type: event.type, atMs: event.time, traceId: traceIdOf(event.cause.traceparent) ?? '' }],
  );

/** Judges the records of a run: every loss of a key and its effect on machines, and every violated guarantee. */
export const judgeRecording = (recording: Recording): readonly Verdict[] => {
  const { violations, losses, endMs } = replay(recording);
  const bounds = boundsOf(recording.terms, recording.slackMs);
  const run = { bounds, endMs, disturbances: recording.disturbances ?? [] };
  return [
    ...violations.map(({ guarantee, expected, actual, event }) => ({
      rule: guarantee,
      subject: event.stream.slice(event.stream.indexOf('-') + 1),
      holds: false,
      seen: `expected: ${expected}; seen: ${actual}`,
      evidence: evidenceOf(event),
    })),
    ...losses.flatMap((loss) =>
      [...loss.machines.values()].flatMap((machine) => [
        ...runVerdicts(loss, machine, run),
        ...outageVerdicts(loss, machine, run),
        ...startVerdicts(loss, machine, bounds),
      ]),
    ),
  ];
};

interface Run {
  readonly bounds: Bounds;
  readonly endMs: number;
  readonly disturbances: readonly Disturbance[];
}

/** Whether a machine that was on at the start of a loss stopped, or kept running. */
const runVerdicts = (observed: ObservedLoss, machine: ObservedMachine, run: Run): readonly Verdict[] => {
  const { loss, set, keyVersion } = observed;
  const { name, skus, wasOn, isChanging, stops } = machine;
  // While a disk is attached or detached the machine may stop or not: it depends on whether the host has the disk open.
  if (!wasOn || isChanging) return [];
  const untilMs = Math.min(loss.untilMs ?? run.endMs, machine.leftMs ?? run.endMs);
  const stop = stops.find((one) => one.loss.set === set && one.loss.keyVersion === keyVersion);
  const evidence = evidenceOf(loss.first.event, stop?.event);
  const verdict = (rule: string, holds: boolean, seen: string): Verdict => ({
    rule,
    subject: name,
    holds,
    seen,
    evidence,
  });
  const stopped = `stopped ${(stop?.stoppedMs ?? Number.NaN) - loss.fromMs} ms after the loss, for ${stop?.loss.reason}`;
  switch (expectedOf(skus)) {
    case 'untouched':
      return [verdict('CMK-111', stop === undefined, stop ? stopped : 'not touched by the loss')];
    case 'keeps running': {
      // A disk host that restarts loses the pins with its memory. Its successor pins the DEKs that it unwrapped before the loss.
      const lostPins = run.disturbances.some(
        ({ restarted, toMs = 0 }) =>
          restarted !== undefined && hasVolumes(restarted) && toMs + run.bounds.answerMs >= loss.fromMs,
      );
      return lostPins ? [] : [verdict('CMK-102', stop === undefined, stop ? stopped : 'kept running through the loss')];
    }
    case 'stops': {
      const { leaseTtlMs, authzTtlMs, stopMs } = run.bounds;
      const dueMs = loss.fromMs + leaseTtlMs + authzTtlMs + stopMs;
      const wasDisturbed = run.disturbances.some(({ fromMs, toMs = untilMs }) => fromMs < dueMs && toMs > loss.fromMs);
      // A loss that ended before the stop was due may or may not have stopped the machine; so may its user.
      if (stop === undefined && (untilMs <= dueMs || wasDisturbed)) return [];
      return [
        verdict(skus.includes('ULTRA') ? 'CMK-103' : 'CMK-100', stop !== undefined, stop ? stopped : 'not stopped'),
      ];
    }
  }
};

/** Whether a machine that stopped because the vault did not respond shows the loss, once the vault has had the time to report it. */
const outageVerdicts = (
  { loss, set, keyVersion }: ObservedLoss,
  { name, stops }: ObservedMachine,
  { bounds, endMs, disturbances }: Run,
): readonly Verdict[] => {
  const stop = stops.findLast((one) => one.loss.set === set && one.loss.keyVersion === keyVersion);
  const dueMs = Math.max(0, ...disturbances.map(({ toMs = endMs }) => toMs)) + bounds.stopMs;
  if (stop?.loss.reason !== 'KEY_VAULT_UNREACHABLE' || dueMs > (loss.untilMs ?? endMs)) return [];
  const { explained } = stop;
  const seen = `stopped for KEY_VAULT_UNREACHABLE; ${explained ?? 'no loss'} reported after the outage`;
  const evidence = evidenceOf(loss.first.event, stop.event);
  return [{ rule: 'G10', subject: name, holds: explained !== undefined, seen, evidence }];
};

/** Whether a machine with a disk under the key was refused each start during a loss. */
const startVerdicts = ({ loss }: ObservedLoss, machine: ObservedMachine, bounds: Bounds): readonly Verdict[] => {
  if (machine.skus.length === 0) return [];
  const staleMs = loss.first.owner === 'identity' ? bounds.authzTtlMs : 0;
  return machine.starts.flatMap(({ requestedMs, outcome, reason, event }) =>
    outcome === undefined || requestedMs <= loss.fromMs + staleMs
      ? []
      : [
          {
            rule: 'CMK-106',
            subject: machine.name,
            holds: outcome === 'failed',
            seen: outcome === 'failed' ? `its start failed: ${reason}` : 'it started during the loss',
            evidence: evidenceOf(loss.first.event, event),
          },
        ],
  );
};
