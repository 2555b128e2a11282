import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import type { GuaranteeRecord } from '../../record.ts';
import { judgeCauses } from '../causes/judge-causes.ts';
import type { Terms } from '../invariants/bounds.ts';
import { type IoViolation, judgeIo, type KeyLossWindow } from '../journal/guest-io.ts';
import type { History } from '../journal/history.ts';
import { judgePlacedIo } from '../journal/placed-io.ts';
import { hasVolumes, isNearHost } from '../model/disturbances.ts';
import { judgeRecording } from './judge-recording.ts';
import type { ObservedLoss } from './observed-losses.ts';
import { type Disturbance, type JudgedRefusal, type RefusedOperation, replay } from './replay.ts';

/** What a busy machine may add to a promised time, in milliseconds. Never added to the bound of I/O. */
const slackDefaultMs = 15_000;

/** The data by which the oracle judges a run. */
export interface Judged {
  readonly events: Readonly<Record<Workload, readonly RecordedEvent[]>>;
  readonly history: History;
  readonly disturbances: readonly Disturbance[];
  /** Operations of users that services refused because of a key. */
  readonly refusals?: readonly RefusedOperation[];
  readonly terms: Terms;
  /** What a busy machine may add to a promised time, in milliseconds; default 15,000. */
  readonly slackMs?: number;
  /** Full names of the machines of the experiment. */
  readonly machines: ReadonlySet<string>;
  /** Start of the run: earlier events and operations are not judged. */
  readonly sinceMs: number;
}

/** The oracle's verdicts on the events and on the guests' I/O: one row for each rule and subject. */
export const guaranteesOf = (judged: Judged): readonly GuaranteeRecord[] => {
  const { events, disturbances, terms, machines, sinceMs, slackMs = slackDefaultMs, refusals = [] } = judged;
  const recording = { events, disturbances, refusals, terms, slackMs };
  const ofEvents = judgeRecording(recording)
    .filter(({ subject, holds }) => machines.has(subject) || !holds)
    .filter(({ evidence }) => evidence.some(({ atMs }) => atMs >= sinceMs))
    .map(({ rule, subject, holds, seen }) => ({ rule, subject, holds, seen }))
    .sort((one, other) => `${one.rule} ${one.subject}`.localeCompare(`${other.rule} ${other.subject}`));
  const replayed = replay(recording);
  const losses = replayed.losses.filter(({ loss }) => loss.fromMs >= sinceMs);
  const held = Object.entries(ofMachines).filter(
    ([name]) => !ofEvents.some(({ rule, holds }) => rule === name && !holds),
  );
  const history = judged.history.filter(({ completedAt }) => completedAt >= sinceMs);
  return [
    ...held.map(([rule, seen]) => ({ rule, subject: 'every machine', holds: true, seen })),
    ...ofEvents,
    causesRow(events),
    ...replayed.refusals.map(refusalRow),
    ...judgePlacedIo(events.compute, history),
    ...ioRows({ ...judged, history }, losses),
  ];
};

/** Whether an operation was refused for the reason for which the key was lost (CMK-105). */
const refusalRow = ({ refused, wrong }: JudgedRefusal): GuaranteeRecord => ({
  rule: 'G10',
  subject: refused.step,
  holds: wrong === undefined,
  seen:
    wrong === undefined
      ? `refused for ${refused.reason} while the key was lost`
      : `refused for ${wrong.actual}; expected: ${wrong.expected} (${refused.message})`,
});

/** Whether every event names the events it follows from. */
const causesRow = (events: Judged['events']): GuaranteeRecord => {
  const { causes, recall, precision, faults } = judgeCauses(events);
  const measured = `${causes} causes of events: recall ${recall.toFixed(4)}, precision ${precision.toFixed(4)}`;
  return {
    ...{ rule: 'G10', subject: 'every event', holds: faults.length === 0 },
    seen: [measured, ...faults.slice(0, 3)].join('; '),
  };
};

/** What the judge of machines checks at each event. */
const ofMachines: Readonly<Record<string, string>> = {
  G2: 'each machine under a lost key stopped within its bound',
  G3: 'no machine stopped without a loss that explains it',
  G4: 'no machine started while a key of its disks was lost',
  G10: 'every stop names its reason and its cause',
};

/** The guarantee that each kind of I/O violation breaks. Kinds that only concern the recording are absent. */
const guaranteeOf: Partial<Record<IoViolation['kind'], string>> = {
  'invoked after the bound': 'G1',
  'invoked in a pause that outlasted the bound': 'G1',
  'acknowledged long after the bound': 'G1',
  'more in hand than a pause can hold': 'G1',
  'wrong content': 'G5',
  'refused before a loss': 'G10',
  'refused for another reason': 'G10',
};

/** G1 for each lost disk of the experiment, and G5 for all reads. */
const ioRows = (judged: Judged, losses: readonly ObservedLoss[]): readonly GuaranteeRecord[] => {
  const { history, terms, disturbances } = judged;
  const known = new Set(history.map(({ disk }) => disk));
  const windows = losses.flatMap((loss) => windowsOf(loss, terms, known));
  if (history.length === 0) return [];
  const hosts = new Map(losses.flatMap(({ disks }) => disks.map(({ name, host }) => [name, host])));
  const pauses = disturbances.flatMap(({ parts, fromMs, toMs, restarted }) => {
    const paused = parts.filter(hasVolumes);
    if (paused.length === 0 || restarted !== undefined || toMs === undefined) return [];
    const concerns = (disk: string): boolean => paused.some((part) => isNearHost(part, hosts.get(disk) ?? ''));
    return [{ from: fromMs, to: toMs, concerns }];
  });
  const { violations, lastGoodMs } = judgeIo(history, { losses: windows, pauses });
  const broken = violations.flatMap(({ kind, about }): readonly GuaranteeRecord[] => {
    const rule = guaranteeOf[kind];
    const subject = [...known].find((disk) => about.includes(disk)) ?? '';
    return rule === undefined ? [] : [{ rule, subject, holds: false, seen: `${kind}: ${about}` }];
  });
  const rows = [...broken];
  const lost = new Set(windows.flatMap(({ disks }) => disks));
  for (const subject of lost) {
    if (broken.some((row) => row.rule === 'G1' && row.subject === subject)) continue;
    rows.push({ rule: 'G1', subject, holds: true, seen: `last good I/O ${Math.round(lastGoodMs)} ms after the loss` });
  }
  if (!broken.some(({ rule }) => rule === 'G5'))
    rows.push({ rule: 'G5', subject: 'every read', holds: true, seen: `${history.length} operations, no mismatch` });
  return rows;
};

/** The loss on the disks of the experiment: a window for those that were under the lost version equally long. */
const windowsOf = (
  { loss, disks }: ObservedLoss,
  { leases, authzTtlMs }: Terms,
  known: ReadonlySet<string>,
): readonly KeyLossWindow[] => {
  const boundMs = leases.ttlMs + (loss.first.owner === 'identity' ? authzTtlMs : 0);
  const concerned = disks.filter(({ name }) => known.has(name));
  return [...Map.groupBy(concerned, ({ leftMs }) => leftMs ?? loss.untilMs)].map(([restoredAt, some]) => ({
    ...{ t0: loss.fromMs, boundMs, reasons: loss.reasons },
    disks: some.flatMap(({ name, isPinned }) => (isPinned ? [] : [name])),
    pinned: some.flatMap(({ name, isPinned }) => (isPinned ? [name] : [])),
    ...(restoredAt === undefined ? {} : { restoredAt }),
  }));
};
