import type { KnownMachine } from '@interlock/lab/judge/model/machines';
import { itemError } from '@interlock/rpc';
import {
  encryptionOf,
  group,
  isPlanted,
  location,
  lossPolicyOf,
  machineDisks,
  type PlannedDisk,
  plannedSets,
} from '../workload/estate.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';

const pickMachine = (
  { truth, random }: Stage,
  fits: (machine: KnownMachine) => boolean = () => true,
): KnownMachine | undefined => {
  const found = [...truth.machines.machines.values()].filter(fits);
  return found.length === 0 ? undefined : random.pick(found);
};

/** The largest number of machines in addition to those of the estate, so that a history stays small. */
const machinesMax = 18;

const onMachine = (
  name: string,
  weight: number,
  fits: (machine: KnownMachine) => boolean,
  work: (stage: Stage, vm: string) => Promise<unknown>,
): Action => ({
  name,
  weight,
  async run(stage) {
    // Mostly an action that makes sense, sometimes one that must be refused.
    const machine = pickMachine(stage, stage.random.chance(0.85) ? fits : undefined);
    if (machine) await attempt(stage, name, machine.name, () => work(stage, machine.name));
  },
});

const isOff = ({ power }: KnownMachine): boolean => power === 'stopped' || power === 'deallocated';
const isRunning = ({ power }: KnownMachine): boolean => power === 'running';

const skus = ['PREMIUM_SSD', 'STANDARD_SSD', 'STANDARD_HDD'] as const;
const dataSkus = [...skus, 'PREMIUM_SSD_V2', 'ULTRA'] as const;

/**
 * Starts machines by one call. The judge sees each refusal as that of a start of one machine.
 * @returns the machines that were refused because another operation of theirs is in progress
 */
export const startTogether = async (
  stage: Pick<Stage, 'clients' | 'log' | 'judge'>,
  names: readonly string[],
): Promise<readonly string[]> => {
  const busy: string[] = [];
  const asked = await attempt(stage, 'vm.startMany', names.join(', '), () =>
    stage.clients.compute.startVirtualMachines({ names: [...names] }),
  );
  for (const [n, { outcome }] of (asked.value?.outcomes ?? []).entries()) {
    if (outcome?.$case !== 'refused') continue;
    const name = names[n] ?? '';
    const one = await attempt(stage, 'vm.start', name, async () => {
      throw itemError(outcome.value, { method: 'StartVirtualMachines', peer: 'compute' });
    });
    if (one.outcome.kind === 'refused' && one.outcome.reason === 'OPERATION_IN_PROGRESS') busy.push(name);
  }
  return busy;
};

/** Some machines that are off, and one that may not be. */
const startMany: Action = {
  name: 'vm.startMany',
  weight: 3,
  async run(stage) {
    const { truth, random } = stage;
    const machine = pickMachine(stage);
    const some = [...truth.machines.machines.values()].filter((one) => isOff(one) && random.chance(0.7));
    const names = new Set([...some, ...(machine ? [machine] : [])].map(({ name }) => name));
    if (names.size > 0) await startTogether(stage, [...names]);
  },
};

const createMachine: Action = {
  name: 'vm.create',
  weight: 3,
  async run(stage) {
    const { truth, random, clients } = stage;
    if (truth.machines.machines.size >= machinesMax) return;
    const number = stage.nextNumber();
    const id = `vm-${number}`;
    const setOrNone = (): string => (random.chance(0.75) ? random.pick(plannedSets).id : '');
    const disks: PlannedDisk[] = [{ id: `${id}-os`, sku: random.pick(skus), set: setOrNone() }];
    if (random.chance(0.5)) disks.push({ id: `${id}-data`, sku: random.pick(dataSkus), set: setOrNone() });
    const text = `${id} with ${disks.map(({ sku, set }) => `${sku} under ${set || 'the platform'}`).join(' and ')}`;
    await attempt(stage, 'vm.create', text, () =>
      clients.compute.createVirtualMachine({
        parent: group,
        virtualMachineId: id,
        location,
        hostLossPolicy: lossPolicyOf(number),
        ...machineDisks(disks),
      }),
    );
  },
};

const attachDisk: Action = {
  name: 'vm.attach',
  weight: 3,
  async run(stage) {
    const { truth, random, clients } = stage;
    const machine = pickMachine(stage, (one) => isRunning(one) || isOff(one));
    const free = [...truth.disks.disks.values()].filter(
      (disk) => !disk.isSnapshot && !isPlanted(disk) && disk.attachedTo === '' && disk.open === undefined,
    );
    if (!machine || free.length === 0) return;
    const disk = random.pick(free).name;
    const used = new Set([...machine.disks.values()].filter(({ isOs }) => !isOs).map(({ lun }) => lun));
    const lun = [0, 1, 2, 3, 4, 5, 6, 7].find((one) => !used.has(one)) ?? 8;
    await attempt(stage, 'vm.attach', `${disk} to ${machine.name}`, () =>
      clients.compute.attachDisk({ name: machine.name, disk, lun }),
    );
  },
};

const detachDisk: Action = {
  name: 'vm.detach',
  weight: 2,
  async run(stage) {
    const { random, clients } = stage;
    const machine = pickMachine(stage, ({ disks }) => [...disks.values()].some(({ isOs }) => !isOs));
    const data = [...(machine?.disks.values() ?? [])].filter(({ isOs }) => !isOs);
    if (!machine || data.length === 0) return;
    const { disk } = random.pick(data);
    await attempt(stage, 'vm.detach', `${disk} from ${machine.name}`, () =>
      clients.compute.detachDisk({ name: machine.name, disk }),
    );
  },
};

/** Guests take different times to start and stop, which also change. */
const changePace: Action = {
  name: 'guest.pace',
  weight: 2,
  async run(stage) {
    const { world, random } = stage;
    const machine = pickMachine(stage);
    if (!machine) return;
    const { slowToStart, slowToStop } = world.guests;
    const slow = random.chance(0.5) ? slowToStart : slowToStop;
    if (slow.delete(machine.name)) return;
    slow.set(machine.name, 200 + random.int(10_000));
  },
};

/** What users do with machines. */
export const machineActions: readonly Action[] = [
  changePace,
  createMachine,
  attachDisk,
  detachDisk,
  onMachine('vm.start', 8, isOff, ({ clients }, name) => clients.compute.startVirtualMachine({ name })),
  startMany,
  onMachine('vm.powerOff', 2, isRunning, ({ clients, random }, name) =>
    clients.compute.powerOffVirtualMachine({ name, skipShutdown: random.chance(0.5) }),
  ),
  onMachine('vm.deallocate', 3, isRunning, ({ clients }, name) => clients.compute.deallocateVirtualMachine({ name })),
  onMachine('vm.restart', 3, isRunning, ({ clients, random }, name) =>
    clients.compute.restartVirtualMachine({ name, requestId: random.uuid() }),
  ),
  onMachine('vm.delete', 1, isOff, ({ clients }, name) => clients.compute.deleteVirtualMachine({ name })),
];

/** A disk that is created separately. */
export const newDisk = (stage: Stage, id: string, set: string) => ({
  parent: group,
  diskId: id,
  location,
  sku: stage.random.pick(dataSkus),
  sizeGib: 1,
  encryption: encryptionOf(set),
});
