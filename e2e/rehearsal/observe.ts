import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { History } from '@interlock/lab/judge/journal/history';
import { type IoSummary, summarize } from '@interlock/lab/judge/journal/journal';
import { shortName } from '@interlock/lab/short-name';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { until } from '../cloud/until.ts';
import { patienceMs } from './settings.ts';
import { groupsOf, type Person, type PlannedMachine, type World } from './world.ts';

/** Machines by the last segment of their names. */
export type Fleet = ReadonlyMap<string, VirtualMachine>;

/** Observes without adding spans to the trace of the observed step. */
export const quietly = <Result>(look: () => Promise<Result>): Promise<Result> => context.with(ROOT_CONTEXT, look);

/** Waits without adding spans to the trace. @throws Error that names what did not happen */
export const untilSeen = <Answer>(what: string, look: () => Promise<Answer | undefined | false>): Promise<Answer> =>
  quietly(() => until(what, look, patienceMs));

/** All machines as compute shows them now. */
export const readFleet = async (world: World, { compute }: Person): Promise<Fleet> => {
  const parent = groupsOf(world).machines;
  const { virtualMachines } = await compute.listVirtualMachines({ parent, pageSize: 1_000 });
  return new Map(virtualMachines.map((machine) => [shortName(machine.name), machine]));
};

/** Waits until each of the machines fulfils a condition, and returns all. */
export const untilFleet = (
  world: World,
  user: Person,
  what: string,
  ids: readonly string[],
  isAsExpected: (machine: VirtualMachine) => boolean,
): Promise<Fleet> =>
  untilSeen(`${ids.join(', ')}: ${what}`, async () => {
    const fleet = await readFleet(world, user);
    const found = ids.flatMap((id) => fleet.get(id) ?? []);
    return found.length === ids.length && found.every(isAsExpected) && fleet;
  });

/** What one machine recorded. @param id last segment of its name */
export const historyOf = (history: History, id: string): History =>
  history.filter(({ machine }) => shortName(machine) === id);

/** The reads and writes on every disk after which a machine counts as working. */
const workPerDisk = 3;

/**
 * Waits until each machine has done good work on each of its disks, invoked since `fromMs`.
 * @returns its operations up to now
 */
export const untilAtWork = (world: World, planned: readonly PlannedMachine[], fromMs: number): Promise<IoSummary[]> =>
  untilSeen(`${planned.map(({ id }) => id).join(', ')}: reads and writes on every disk`, async () => {
    const history = await world.history();
    const isAtWork = ({ id, os, data }: PlannedMachine): boolean => {
      const good = historyOf(history, id).filter(
        ({ ok, op, invokedAt }) => ok && op !== 'flush' && invokedAt >= fromMs,
      );
      return [os, ...data].every(
        (disk) => good.filter((io) => shortName(io.disk) === disk.id && io.op !== 'verify').length >= workPerDisk,
      );
    };
    if (!planned.every(isAtWork)) return undefined;
    const toMs = world.clock.now();
    return planned.map(({ id }) => summarize(id, historyOf(history, id), fromMs, toMs));
  });

/** Milliseconds since the epoch; NaN for a missing time, which is unequal to every number. */
export const millisOf = (time: Date | undefined): number => time?.getTime() ?? Number.NaN;
