import type { IoRecord, MachineRecord, RunRecord, StepRecord } from '../../record.ts';
import { shortName } from '../../short-name.ts';
import { actionInWords, isFaultAction, isUndoable, takesAccess } from '../../timeline/actions.ts';
import type { GroupFigures } from '../../verdict.ts';
import { className } from '../class-names.ts';
import { duration } from '../html.ts';
import type { FaultBar } from '../picture/faults.ts';
import type { Lane } from '../picture/lane.ts';
import { sharedPauseMs, sharedPauses } from '../picture/pauses.ts';
import type { Mark, PictureContent } from '../picture/picture.ts';
import { partsOf } from './injections.ts';
import { commonStretches, effectOf, type Happenings, lossesOf, runningTimes, stretchesOf } from './losses.ts';

/** With more machines than this, those of a group with the same outcome share a lane. */
const lanesMax = 12;
/** A pause of all machines that is shorter than this part of the picture is invisible. */
const pausePart = 0.01;
/** How much is shown before the timeline: this part of its length, and at least this many milliseconds. */
const [leadPart, leadMsMin] = [0.08, 2_000];

/** The period that a picture shows, in milliseconds since the epoch. */
export interface Period {
  readonly fromMs: number;
  readonly toMs: number;
  /** The zero of its labels; undefined: its start. */
  readonly zeroMs?: number | undefined;
}

/** The data for a picture of machines. */
export type Recorded = Happenings & Pick<RunRecord, 'io'>;

/** Machines over time. @param order groups, first to last */
export function recordPicture(record: Recorded, order: readonly string[], period: Period): PictureContent {
  const { fromMs, toMs } = period;
  const machines = record.machines.toSorted((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
  const data = record.io.filter(({ op, completedMs }) => op !== 'flush' && completedMs >= fromMs);
  const ioOf = Map.groupBy(data, ({ machine }) => machine);
  const good = data.filter(({ ok }) => ok);
  return {
    lanes: bundled(machines, fromMs).map((bundle) => laneOf(bundle, record, ioOf, period)),
    marks: marksOf(record.steps),
    faults: faultsOf(record.steps, toMs),
    pauses: sharedPauses(good, Math.max(sharedPauseMs, (toMs - fromMs) * pausePart)),
    ...period,
  };
}

/** Names of groups, treatment first. */
export const treatmentFirst = (groups: readonly GroupFigures[]): readonly string[] =>
  groups.toSorted((a, b) => Number(a.role === 'control') - Number(b.role === 'control')).map(({ group }) => group);

/** The period of a run, with a lead. @returns undefined if nothing was recorded */
export function periodOf({ run, io, steps, machines }: RunRecord): Period | undefined {
  const moments = [
    ...io.flatMap(({ invokedMs, completedMs }) => [invokedMs, completedMs]),
    ...steps.map(effectOf),
    ...machines.flatMap(({ power }) => power.map(({ atMs }) => atMs)),
    ...(run.startedMs === undefined ? [] : [run.startedMs]),
    ...(run.endedMs === undefined ? [] : [run.endedMs]),
  ];
  const first = moments.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const last = moments.reduce((a, b) => Math.max(a, b), 0);
  if (last <= first) return undefined;
  const startMs = run.startedMs ?? first;
  const lead = Math.max(leadMsMin, (last - startMs) * leadPart);
  return { fromMs: Math.max(first, startMs - lead), toMs: last, zeroMs: run.startedMs };
}

/** Machines that share a lane. */
function bundled(machines: readonly MachineRecord[], fromMs: number): readonly (readonly MachineRecord[])[] {
  if (machines.length <= lanesMax) return machines.map((machine) => [machine]);
  return [...Map.groupBy(machines, (machine) => `${machine.group} ${machineLossOf(machine, fromMs)}`).values()];
}

const machineLossOf = ({ power }: MachineRecord, fromMs: number): string =>
  power
    .filter(({ atMs }) => atMs >= fromMs)
    .map(({ state, reason }) => `${state} ${reason}`)
    .join();

function laneOf(
  bundle: readonly MachineRecord[],
  record: Happenings,
  ioOf: ReadonlyMap<string, readonly IoRecord[]>,
  { fromMs, toMs }: Period,
): Lane {
  const [first] = bundle;
  const isRecorded = bundle.some(({ name }) => ioOf.has(name));
  const stretches = commonStretches(
    bundle.map((machine) => [
      ...(isRecorded ? [] : runningTimes(machine, toMs)),
      ...stretchesOf(machine, record, toMs),
    ]),
  );
  return {
    name: first && bundle.length === 1 ? nameOfMachine(first, record) : `${first?.group}: ${bundle.length} machines`,
    about: bundle.length === 1 ? aboutMachine(first) : aboutBundle(bundle, record),
    operations: bundle.flatMap(({ name }) =>
      (ioOf.get(name) ?? []).map(({ completedMs, ok }) => ({ atMs: completedMs, ok })),
    ),
    stretches: stretches
      .filter(({ untilMs }) => untilMs > fromMs)
      .map((one) => ({ ...one, fromMs: Math.max(fromMs, one.fromMs) })),
  };
}

const hostsOf = (machines: readonly Pick<MachineRecord, 'disks'>[]): ReadonlySet<string> =>
  new Set(machines.flatMap(({ disks }) => disks.flatMap(({ diskHost }) => diskHost ?? [])));

/** `premium-1`, or `premium-1 · disk-host-1 · vm-host-0 → vm-host-1` if the disks of the record are on several hosts, and its guests too. */
const nameOfMachine = (machine: MachineRecord, { machines }: Happenings): string =>
  [
    shortName(machine.name),
    ...(hostsOf(machines).size > 1 ? hostsOf([machine]) : []),
    ...(new Set(machines.flatMap(vmHostsOf)).size > 1 ? [vmHostsOf(machine).join(' → ')] : []),
  ].join(' · ');

/** The VM hosts of a machine in their order, each once if it stayed there. */
const vmHostsOf = ({ placements = [] }: MachineRecord): readonly string[] =>
  placements.map(({ vmHost }) => vmHost).filter((vmHost, n, all) => vmHost !== all[n - 1]);

function aboutMachine(machine: MachineRecord | undefined): string {
  const { name = '', group = '', disks = [] } = machine ?? {};
  const classes = [...new Set(disks.map((disk) => className(disk.class)))].join(' + ');
  const keys = [...new Set(disks.map(({ key }) => key))].filter((key) => key !== 'platform').join(', ');
  // Machines are usually named for their group.
  const prefix = shortName(name).startsWith(group) ? '' : `${group} · `;
  return `${prefix}${classes}${keys === '' ? '' : `, ${keys}`}`;
}

/** How far apart the machines of a lane were off. */
function aboutBundle(bundle: readonly MachineRecord[], record: Happenings): string {
  const offAfter = bundle
    .flatMap((machine) => {
      const [loss] = lossesOf(machine, record);
      const stop = machine.power.find(
        ({ atMs, state, reason }) =>
          loss !== undefined && state === 'stopped' && reason !== '' && atMs >= effectOf(loss),
      );
      return loss === undefined || stop === undefined ? [] : [stop.atMs - effectOf(loss)];
    })
    .toSorted((a, b) => a - b);
  const [least, most] = [offAfter[0], offAfter.at(-1)];
  if (least === undefined || most === undefined) return aboutMachine(bundle[0]);
  return `off after ${duration(least)} to ${duration(most)}`;
}

/** The changes of keys and machines; not the end of a start, which the lanes show. The first effective step on a key is t0. */
function marksOf(steps: readonly StepRecord[]): readonly Mark[] {
  const shown = steps
    .filter((step) => !isFaultAction(actionOf(step, steps)))
    .filter((step) => step.undoes === undefined || actionOf(step, steps) !== 'start')
    .toSorted((a, b) => effectOf(a) - effectOf(b));
  const t0 = shown.find(
    ({ action, undoes, error }) => undoes === undefined && error === undefined && takesAccess(action),
  );
  return shown.map((step) => ({
    atMs: effectOf(step),
    label: `${step === t0 ? 't0: ' : ''}${labelOf(step, steps)}${step.error === undefined ? '' : ' (failed)'}`,
    kind: !takesAccess(actionOf(step, steps)) ? 'change' : step.undoes === undefined ? 'loss' : 'return',
  }));
}

function labelOf(step: StepRecord, steps: readonly StepRecord[]): string {
  const action = actionOf(step, steps);
  if (step.undoes === undefined) return actionInWords(action);
  return takesAccess(action) ? 'access given back' : `${actionInWords(action)}: undone`;
}

/** Of an undo: the action that it undoes. */
const actionOf = ({ action, undoes }: StepRecord, steps: readonly StepRecord[]): string =>
  undoes === undefined ? action : (steps.find(({ name }) => name === undoes)?.action ?? action);

function faultsOf(steps: readonly StepRecord[], toMs: number): readonly FaultBar[] {
  return steps
    .filter(({ action, undoes }) => undoes === undefined && isFaultAction(action))
    .map((step) => {
      const undo = steps.find(({ undoes, error }) => undoes === step.name && error === undefined);
      const end = isUndoable(step.action) ? toMs : (step.doneMs ?? toMs);
      return {
        part: partsOf(step).join(' ↔ '),
        label: `${actionInWords(step.action)}${step.error === undefined ? '' : ' (failed)'}`,
        fromMs: effectOf(step),
        untilMs: Math.max(effectOf(step), undo === undefined ? end : effectOf(undo)),
      };
    });
}
