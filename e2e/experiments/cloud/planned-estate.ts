import type { Workload } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { Rejection } from '@interlock/event-store';
import {
  type Cause,
  type DiskRecord,
  findCause,
  isFinal,
  keyOfTarget,
  keysOf,
  type Plan,
  type PlannedGroup,
  skuOfClass,
} from '@interlock/lab';
import type { Clock } from '@interlock/runtime';
import type { Clients } from '../../cloud/clients.ts';
import type { KeyPlace } from '../../cloud/key-state.ts';
import { makeKeys, newDisksOfMachine } from '../../cloud/make-estate.ts';
import { insist } from './insist.ts';

/** What is needed to create an estate, and where. */
export interface EstateMaker {
  readonly clients: Pick<Clients, 'identity' | 'keyVault' | 'sets' | 'compute'>;
  readonly clock: Clock;
  readonly uuid: () => string;
  /** `subscriptions/<s>/resourceGroups/<g>` */
  readonly resourceGroup: string;
  readonly location: string;
  /** `principals/<uuid>` of the owner of the keys: the caller. */
  readonly owner: string;
  /** Part of the names of vaults, which are unique in a cloud. */
  readonly tag: string;
  /** The workload of the guests; idle by default. */
  readonly workload?: Workload;
}

/** A machine of an estate. Key versions of its disks are not known yet. */
export interface MadeMachine {
  /** Full name. */
  readonly name: string;
  readonly group: string;
  /** Whether it runs and does no I/O; only of machines that existed before. */
  readonly isIdle?: boolean;
  /** A Linux in QEMU, and no process. */
  readonly isQemu: boolean;
  readonly disks: readonly Omit<DiskRecord, 'keyVersion'>[];
}

/** The created estate. */
export interface MadeEstate {
  readonly resourceGroup: string;
  /** By the name of the key in the experiment. */
  readonly keys: ReadonlyMap<string, KeyPlace>;
  readonly machines: readonly MadeMachine[];
}

/** Creates a vault with a key, and a set that may use it. On a busy machine a new key may take longer than a call. */
const makeKey = async (
  maker: EstateMaker,
  name: string,
  { byRole, isPurged }: { readonly byRole: boolean; readonly isPurged: boolean },
): Promise<readonly [string, KeyPlace]> => {
  const vault = ['kv', name, maker.tag].filter((part) => part !== '').join('-');
  const made = await makeKeys(
    {
      ...maker,
      purgeProtectionEnabled: !isPurged,
      call: (work) => insist(maker.clock, work),
    },
    {
      location: maker.location,
      vaults: [{ name: vault, permissions: byRole ? 'roles' : 'policies', keys: [{ name }] }],
      sets: [{ name, key: `${vault}/${name}` }],
    },
  );
  const key = made.get(name);
  if (key === undefined) throw new Error(`the set of ${name} was not made`);
  return [name, key];
};

/** Creates a machine, which starts automatically. May be repeated. */
const makeMachine = async (
  { clients, resourceGroup, location, workload }: EstateMaker,
  group: PlannedGroup,
  id: string,
  keys: ReadonlyMap<string, KeyPlace>,
): Promise<MadeMachine> => {
  const disks = group.disks.map((disk, n) => ({ ...disk, id: `${id}-d${n}` }));
  const planned = disks.map((disk) => ({
    id: disk.id,
    sku: skuOfClass[disk.class],
    set: keys.get(disk.key)?.set ?? '',
  }));
  const { name } = await clients.compute.createVirtualMachine({
    parent: resourceGroup,
    virtualMachineId: id,
    location,
    ...newDisksOfMachine(planned),
    ...(workload === undefined ? {} : { workload }),
    guest: group.guest === 'qemu' ? 'QEMU' : 'PROCESS',
    ...(group.onHostLoss === 'restart' ? { hostLossPolicy: 'RESTART' } : {}),
  });
  const nameOf = (disk: string): string => `${resourceGroup}/disks/${disk}`;
  return {
    name,
    group: group.name,
    isQemu: group.guest === 'qemu',
    disks: disks.map((disk) => ({ name: nameOf(disk.id), class: disk.class, key: disk.key })),
  };
};

/** A creation whose call ended early may still create the machine. Until then, a repeated call finds only its disk. */
const isBeingMade = (error: unknown): boolean => error instanceof Rejection && error.reason === 'DISK_ALREADY_EXISTS';

/** Waits until a machine runs. @throws Error with the reason if it failed to start, or is not up in time */
export const untilRunning = async (
  { clients, clock }: Pick<EstateMaker, 'clients' | 'clock'>,
  name: string,
): Promise<void> => {
  const runs = async (): Promise<boolean> => {
    const { powerState, provisioningState, failure } = await clients.compute.getVirtualMachine({ name });
    if (provisioningState === 'FAILED')
      throw new Error(`${name} did not start: ${failure?.message ?? 'no reason given'}`);
    return powerState === 'RUNNING';
  };
  for (const endMs = clock.monotonicMs() + limitMs; !(await runs()); await clock.sleep(pauseMs)) {
    if (clock.monotonicMs() > endMs) throw new Error(`after ${limitMs / 1_000} s still not: ${name} runs`);
  }
};

/** How long a machine may take to run, and the pause between two checks, in milliseconds. */
const limitMs = 120_000;
const pauseMs = 50;

/** Keys that a step with such a cause targets. */
const keysOfCauses = ({ estate, timeline }: Plan, isIt: (cause: Cause) => boolean): ReadonlySet<string> =>
  new Set(
    timeline.flatMap(({ action, targets }) => {
      const cause = findCause(action);
      return cause !== undefined && isIt(cause) ? targets.map((target) => keyOfTarget(estate, target)) : [];
    }),
  );

/** What of a timeline shapes the estate: its keys, those whose vaults use role assignments, and those that may be purged. */
export const keyKindsOf = (plan: Plan) => ({
  names: keysOf(plan),
  byRole: keysOfCauses(plan, ({ model }) => model === 'ROLE_ASSIGNMENT'),
  purged: keysOfCauses(plan, isFinal),
});

/**
 * Creates the estate of an experiment and waits until its machines run: a vault and a set for each key, and the machines of each
 * group. A vault uses role assignments if a cause of the timeline needs that for its key, otherwise access policies.
 * @throws RpcFailure or Rejection of a service, or Error if a part is not ready in time
 */
export const makePlannedEstate = async (maker: EstateMaker, plan: Plan): Promise<MadeEstate> => {
  const { estate } = plan;
  if (estate.kind !== 'planned') throw new Error('only a planned estate can be made');
  const { byRole, purged, names } = keyKindsOf(plan);
  const keys = new Map(
    await Promise.all(
      names.map((name) => makeKey(maker, name, { byRole: byRole.has(name), isPurged: purged.has(name) })),
    ),
  );
  const machines = await Promise.all(
    estate.groups.flatMap((group) =>
      Array.from({ length: group.machines }, (_, n) =>
        insist(maker.clock, () => makeMachine(maker, group, `${group.name}-${n + 1}`, keys), isBeingMade),
      ),
    ),
  );
  await Promise.all(machines.map(({ name }) => insist(maker.clock, () => untilRunning(maker, name))));
  return { resourceGroup: maker.resourceGroup, keys, machines };
};
