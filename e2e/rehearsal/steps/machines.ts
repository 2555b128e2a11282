import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { Rejection } from '@interlock/event-store';
import { summarize } from '@interlock/lab/judge/journal/journal';
import type { QuietSeen, StartSeen } from '../evidence/evidence.ts';
import { historyOf, millisOf, readFleet, untilAtWork, untilFleet } from '../evidence/observe.ts';
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

/** Creates every machine with a guest that writes, reads back and compares, and waits until all are working. */
export const createMachines = async (world: World, { vmUser }: People): Promise<void> => {
  const { timeline, evidence, clock } = world;
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
  evidence.machines = machines.map((planned) => {
    const { id, onLoss } = planned;
    return {
      name: id,
      onLoss,
      power: fleet.get(id)?.powerState ?? '',
      startTime: millisOf(fleet.get(id)?.startTime),
      disks: disksOf(planned).map((disk) => ({
        name: names.disk(disk.id),
        sku: disk.sku,
        set: disk.set === 'platform' ? '' : names.set(disk.set),
        isOs: disk === planned.os,
      })),
      io: io.find(({ machine }) => machine === id) ?? summarize(id, [], startedAt, startedAt),
    };
  });
};

/** Ids of planned machines. */
export const idsOf = (planned: readonly PlannedMachine[]): readonly string[] => planned.map(({ id }) => id);

export const isRunning = ({ powerState }: VirtualMachine): boolean => powerState === 'RUNNING';

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
  const begun = ids.filter((id) => !refusals.has(id));
  const fleet = await untilFleet(
    world,
    user,
    'started, or failed to',
    begun,
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

/** Runs something that must not affect the given machines, and observes them during it and for a while after. */
export const watchQuiet = async (
  world: World,
  user: Person,
  planned: readonly PlannedMachine[],
  act: () => Promise<unknown>,
): Promise<QuietSeen> => {
  const fromMs = world.clock.now();
  const before = await readFleet(world, user);
  await act();
  await untilAtWork(world, planned, world.clock.now());
  const toMs = world.clock.now();
  const [after, history] = [await readFleet(world, user), await world.history()];
  return {
    machines: planned.map(({ id }) => ({
      name: id,
      power: after.get(id)?.powerState ?? '',
      startTimeBefore: millisOf(before.get(id)?.startTime),
      startTimeAfter: millisOf(after.get(id)?.startTime),
      io: summarize(id, historyOf(history, id), fromMs, toMs),
    })),
  };
};

/** Planned machines by their ids. */
export const plannedNamed = (ids: readonly string[]): readonly PlannedMachine[] =>
  machines.filter(({ id }) => ids.includes(id));
