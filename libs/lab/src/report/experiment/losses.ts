import type { MachineRecord, PowerRecord, RunRecord, StepRecord } from '../../record.ts';
import { takesAccess } from '../../timeline/actions.ts';
import type { Stretch } from '../picture/lane.ts';

/** The part of a record about keys and machines. */
export type Happenings = Pick<RunRecord, 'steps' | 'machines'>;

/** The best known time at which a step took effect: the owner's commit, otherwise the end of its call, otherwise its start. */
export const effectOf = ({ effectMs, doneMs, invokedMs }: StepRecord): number => effectMs ?? doneMs ?? invokedMs;

/** Names of the keys that the disks of a machine are under. */
const keysOf = ({ disks }: MachineRecord): readonly string[] =>
  disks.map(({ key }) => key).filter((key) => key !== 'platform');

/** Steps that removed a machine's access, by their effect. A failed step removed nothing. */
export function lossesOf(machine: MachineRecord, { steps, machines }: Happenings): readonly StepRecord[] {
  const losses = steps.filter(
    (step) => step.undoes === undefined && step.error === undefined && takesAccess(step.action),
  );
  if (losses.length === 0) return losses;
  const own = keysOf(machine);
  const ofGroups = keysOfGroups(machines);
  const concerns = ({ targets }: StepRecord): boolean =>
    targets.some((target) => own.includes(target) || own.some((key) => ofGroups.get(target)?.has(key)));
  return losses.filter(concerns).toSorted((a, b) => effectOf(a) - effectOf(b));
}

/** Keys by group, of each list of machines: it is needed for each of them, and there may be 10,000. */
const knownGroups = new WeakMap<readonly MachineRecord[], ReadonlyMap<string, ReadonlySet<string>>>();

function keysOfGroups(machines: readonly MachineRecord[]): ReadonlyMap<string, ReadonlySet<string>> {
  const known = knownGroups.get(machines);
  if (known !== undefined) return known;
  const groups = new Map<string, Set<string>>();
  for (const machine of machines) {
    const keys = groups.get(machine.group) ?? new Set();
    groups.set(machine.group, keys);
    for (const key of keysOf(machine)) keys.add(key);
  }
  knownGroups.set(machines, groups);
  return groups;
}

/** When access was restored after one of these losses, in milliseconds since the epoch, oldest first. */
export const returnsOf = (losses: readonly StepRecord[], { steps }: Pick<RunRecord, 'steps'>): readonly number[] =>
  steps
    .filter(({ undoes, error }) => error === undefined && losses.some(({ name }) => name === undoes))
    .map(effectOf)
    .toSorted((a, b) => a - b);

/** When a machine was off, and why. `off` by the platform becomes `free` once access is restored. */
export function stretchesOf(machine: MachineRecord, record: Happenings, toMs: number): readonly Stretch[] {
  const returns = returnsOf(lossesOf(machine, record), record);
  return offTimes(machine.power, toMs).flatMap(({ isByPlatform, fromMs, untilMs }): Stretch[] => {
    if (!isByPlatform) return [{ kind: 'away', fromMs, untilMs }];
    const back = returns.find((at) => at > fromMs && at < untilMs);
    if (back === undefined) return [{ kind: 'off', fromMs, untilMs }];
    return [
      { kind: 'off', fromMs, untilMs: back },
      { kind: 'free', fromMs: back, untilMs },
    ];
  });
}

interface OffTime {
  readonly isByPlatform: boolean;
  readonly fromMs: number;
  readonly untilMs: number;
}

const offStates: readonly PowerRecord['state'][] = ['stopped', 'deallocated', 'deleted', 'start-failed'];

/** A start that fails does not end the time. It shows that the platform keeps the machine off. */
function offTimes(power: readonly PowerRecord[], toMs: number): readonly OffTime[] {
  const times: OffTime[] = [];
  let since: { fromMs: number; isByPlatform: boolean } | undefined;
  const end = (untilMs: number) => {
    if (since !== undefined && untilMs > since.fromMs) times.push({ ...since, untilMs });
    since = undefined;
  };
  for (const { atMs, state, reason } of power) {
    if (state === 'running') end(atMs);
    if (!offStates.includes(state)) continue;
    const isByPlatform = reason !== '';
    if (since !== undefined && isByPlatform && !since.isByPlatform) end(atMs);
    since ??= { fromMs: atMs, isByPlatform };
  }
  end(toMs);
  return times;
}

/** When a machine ran, by its power state only: for machines whose reads and writes are not recorded. */
export function runningTimes({ power }: MachineRecord, toMs: number): readonly Stretch[] {
  const times: Stretch[] = [];
  let fromMs: number | undefined;
  for (const { atMs, state } of power) {
    if (state === 'running') fromMs ??= atMs;
    else if (fromMs !== undefined) {
      times.push({ kind: 'on', fromMs, untilMs: atMs });
      fromMs = undefined;
    }
  }
  return fromMs === undefined ? times : [...times, { kind: 'on', fromMs, untilMs: toMs }];
}

/** The common stretches of the machines of one lane: a time in which only some of them were off is `partly`. */
export function commonStretches(ofMachines: readonly (readonly Stretch[])[]): readonly Stretch[] {
  const changes = ofMachines
    .flatMap((stretches) =>
      stretches.flatMap(({ kind, fromMs, untilMs }) => [
        { atMs: fromMs, kind, change: 1 },
        { atMs: untilMs, kind, change: -1 },
      ]),
    )
    .toSorted((a, b) => a.atMs - b.atMs);
  const off = new Map<Stretch['kind'], number>();
  const common: Stretch[] = [];
  for (const [index, { atMs, kind, change }] of changes.entries()) {
    off.set(kind, (off.get(kind) ?? 0) + change);
    const untilMs = changes[index + 1]?.atMs ?? atMs;
    const kinds = [...off].filter(([, count]) => count > 0);
    const [first] = kinds;
    if (first === undefined || untilMs === atMs) continue;
    const next = first[1] === ofMachines.length ? first[0] : 'partly';
    const last = common.at(-1);
    if (last?.kind === next && last.untilMs === atMs) common[common.length - 1] = { ...last, untilMs };
    else common.push({ kind: next, fromMs: atMs, untilMs });
  }
  return common;
}
