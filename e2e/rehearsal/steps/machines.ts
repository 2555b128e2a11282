import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { Rejection } from '@interlock/event-store';
import { type IoSummary, summarize } from '@interlock/lab/judge/journal/journal';
import { each, type Finding, finding } from '../findings.ts';
import { historyOf, millisOf, readFleet, untilAtWork, untilFleet } from '../observe.ts';
import {
  disksOf,
  groupsOf,
  location,
  machines,
  namesIn,
  type People,
  type Person,
  type PlannedMachine,
  type World,
} from '../world.ts';

/** Reads and writes per second and disk: enough to see within 40 ms when they end. */
const ioPerSecond = 25;

/**
 * Creates every machine with a guest that writes, reads back and compares, and waits until all are working.
 * @returns when the first of them ran, in milliseconds since the epoch
 */
export const createMachines = async (world: World, { vmUser }: People): Promise<number> => {
  const { timeline, clock, see } = world;
  const names = namesIn(world);
  const startedAt = clock.now();
  await timeline.step(
    { who: 'VM user', title: `Creates ${machines.length} machines, one or more for each class`, rules: ['CMK-09'] },
    async () => {
      await Promise.all(
        machines.map(({ id, os, data }) =>
          vmUser.compute.createVirtualMachine({
            parent: groupsOf(world).machines,
            virtualMachineId: id,
            location,
            osDisk: { source: { $case: 'disk', value: names.disk(os.id) } },
            dataDisks: data.map((disk, lun) => ({ source: { $case: 'disk', value: names.disk(disk.id) }, lun })),
            ultraSsdEnabled: data.some(({ sku }) => sku === 'ULTRA'),
            workload: { kind: 'WRITE_AND_VERIFY', ioPerSecond },
          }),
        ),
      );
      await untilFleet(world, vmUser, 'running', idsOf(machines), isRunning);
    },
  );
  const io = await timeline.step(
    { who: 'Guests', title: 'Write, read back and compare on every disk', rules: ['CMK-08', 'CMK-09'] },
    () => untilAtWork(world, machines, startedAt),
  );
  const fleet = await readFleet(world, vmUser);
  const under = machines.filter((machine) => disksOf(machine).some(({ set }) => set !== 'platform'));
  const plain = machines.filter((machine) => !under.includes(machine));
  const workOf = (id: string) => io.find(({ machine }) => machine === id) ?? summarize(id, [], startedAt, startedAt);
  const justWork = (some: readonly PlannedMachine[]): Finding =>
    each(
      some.map((planned) => ({ planned, work: workOf(planned.id), power: fleet.get(planned.id)?.powerState })),
      ({ planned, work, power }) =>
        power === 'RUNNING' && isGoodWork(work) && work.disks.length === disksOf(planned).length,
      ({ work }) => `${work.machine} ${work.reads} reads, ${work.writes} writes, ${failuresIn(work)}`,
    );
  see('CMK-09', 'machines', justWork(under), justWork(plain));
  const operations = io.reduce((sum, { reads, writes }) => sum + reads + writes, 0);
  see('CMK-08', 'machines', finding(operations > 0, `${operations} reads and writes by the guests while they came up`));
  return Math.min(...[...fleet.values()].map(({ startTime }) => millisOf(startTime)));
};

const isGoodWork = ({ reads, writes, failed }: IoSummary): boolean => reads > 0 && writes > 0 && failed === 0;
const failuresIn = ({ failed, failure }: IoSummary): string => `${failed} failed${failure && ` (${failure})`}`;

/** Ids of planned machines. */
export const idsOf = (planned: readonly PlannedMachine[]): readonly string[] => planned.map(({ id }) => id);

export const isRunning = ({ powerState }: VirtualMachine): boolean => powerState === 'RUNNING';

/** How a start ended. */
export interface StartSeen {
  readonly machine: string;
  readonly outcome: 'running' | 'failed';
  readonly power: string;
  /** Reason it failed for; empty when it runs. */
  readonly code: string;
  readonly message: string;
}

/** Starts machines and waits for the outcome of each: refused at once, a failed operation, or a running machine. */
export const start = async (world: World, user: Person, ids: readonly string[]): Promise<readonly StartSeen[]> => {
  const refusals = new Map<string, Rejection>();
  await Promise.all(
    ids.map(async (id) => {
      try {
        await user.compute.startVirtualMachine({ name: namesIn(world).machine(id) });
      } catch (error) {
        if (!(error instanceof Rejection)) throw error;
        refusals.set(id, error);
      }
    }),
  );
  const started = ids.filter((id) => !refusals.has(id));
  const fleet = await untilFleet(
    world,
    user,
    'started, or failed to',
    started,
    ({ powerState, provisioningState }) => powerState === 'RUNNING' || provisioningState === 'FAILED',
  );
  return ids.map((machine) => {
    const seen = fleet.get(machine);
    const power = seen?.powerState ?? '';
    const refusal = refusals.get(machine);
    if (refusal !== undefined) {
      return { machine, outcome: 'failed', power, code: refusal.reason, message: refusal.message };
    }
    if (seen !== undefined && isRunning(seen)) return { machine, outcome: 'running', power, code: '', message: '' };
    const { code = '', message = '' } = seen?.failure ?? {};
    return { machine, outcome: 'failed', power, code, message };
  });
};

/** Deallocates machines and waits until that is done. */
export const deallocate = async (world: World, user: Person, ids: readonly string[]): Promise<void> => {
  await Promise.all(ids.map((id) => user.compute.deallocateVirtualMachine({ name: namesIn(world).machine(id) })));
  await untilFleet(world, user, 'deallocated', ids, ({ powerState }) => powerState === 'DEALLOCATED');
};

/** A machine that must not be affected by something: during it and after it. */
export interface WatchedMachine {
  readonly name: string;
  readonly power: string;
  readonly startTimeBefore: number;
  readonly startTimeAfter: number;
  readonly io: IoSummary;
}

/** Runs something that must not affect the given machines, and observes them during it and for a while after. */
export const watch = async (
  world: World,
  user: Person,
  planned: readonly PlannedMachine[],
  act: () => Promise<unknown>,
): Promise<readonly WatchedMachine[]> => {
  const fromMs = world.clock.now();
  const before = await readFleet(world, user);
  await act();
  await untilAtWork(world, planned, world.clock.now());
  const toMs = world.clock.now();
  const [after, history] = [await readFleet(world, user), await world.history()];
  return planned.map(({ id }) => ({
    name: id,
    power: after.get(id)?.powerState ?? '',
    startTimeBefore: millisOf(before.get(id)?.startTime),
    startTimeAfter: millisOf(after.get(id)?.startTime),
    io: summarize(id, historyOf(history, id), fromMs, toMs),
  }));
};

/** None of them stopped or restarted. */
export const keptRunning = (watched: readonly WatchedMachine[]): Finding =>
  each(
    watched,
    ({ power, startTimeBefore, startTimeAfter }) => power === 'RUNNING' && startTimeBefore === startTimeAfter,
    ({ name, power }) => `${name} ${power}`,
    'running since before: ',
  );

/** None of them failed a read or write, and each did some. */
export const keptWorking = (watched: readonly WatchedMachine[], prefix = ''): Finding =>
  each(
    watched,
    ({ io }) => io.failed === 0 && io.reads + io.writes > 0,
    ({ name, io }) => `${name} ${io.reads + io.writes} good, ${failuresIn(io)}`,
    prefix,
  );
