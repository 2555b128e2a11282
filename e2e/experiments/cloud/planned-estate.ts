import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { DiskForMachine, Workload } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { Rejection } from '@interlock/event-store';
import {
  type Cause,
  type DiskClass,
  type DiskRecord,
  findCause,
  isFinal,
  keyOfTarget,
  keysOf,
  type Plan,
  type PlannedGroup,
} from '@interlock/lab';
import type { Clock } from '@interlock/runtime';
import type { Clients } from '../../cloud/clients.ts';
import { encryptionRole, type KeyPlace } from '../../cloud/key-state.ts';
import { allowSet } from '../../cloud/world.ts';
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

/** Class of a disk as requests name it. */
export const skuOf = (name: DiskClass): DiskSku => name.toUpperCase().replaceAll('-', '_') as DiskSku;

/** How long one part of an estate may take, and the pause between two checks, in milliseconds. */
const limitMs = 120_000;
const pauseMs = 50;

/** Repeats a call until the response is neither undefined nor false. @throws Error that names what did not happen in time */
const until = async <Answer>(
  clock: Clock,
  what: string,
  look: () => Promise<Answer | undefined | false>,
): Promise<Answer> => {
  for (const endMs = clock.monotonicMs() + limitMs; ; await clock.sleep(pauseMs)) {
    const answer = await look();
    if (answer !== undefined && answer !== false) return answer;
    if (clock.monotonicMs() > endMs) throw new Error(`after ${limitMs / 1_000} s still not: ${what}`);
  }
};

/** Creates a vault with a key, and a set that may use it. On a busy machine a new key may take longer than a call. */
const makeKey = async (
  maker: EstateMaker,
  keyName: string,
  { byRole, isPurged }: { readonly byRole: boolean; readonly isPurged: boolean },
): Promise<KeyPlace> => {
  const { clients, clock, resourceGroup, location, owner, tag, uuid } = maker;
  const { identity, keyVault, sets } = clients;
  const [requestId, roleAssignmentId] = [uuid(), uuid()];
  const call = <Result>(work: () => Promise<Result>): Promise<Result> => insist(clock, work);
  const newVault = {
    vaultId: ['kv', keyName, tag].filter((part) => part !== '').join('-'),
    resourceGroup,
    location,
    permissionModel: byRole ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY',
    softDeleteRetentionDays: 7,
    purgeProtectionEnabled: !isPurged,
  } as const;
  const all = { principal: owner, keyPermissions: ['ALL' as const] };
  const { name: parent } = await call(() => keyVault.createVault({ ...newVault, accessPolicies: [all] }));
  const newKey = { parent, keyId: keyName, keySizeBits: 2048, requestId };
  const { keyUrl } = await call(() => keyVault.createKey(newKey));
  const newSet = { parent: resourceGroup, diskEncryptionSetId: keyName, location, keyUrl };
  const { name: set } = await call(() => sets.createDiskEncryptionSet(newSet));
  const principal = await until(clock, `the set ${set} is made`, async () => {
    const { provisioningState, identity: own } = await call(() => sets.getDiskEncryptionSet({ name: set }));
    return provisioningState === 'SUCCEEDED' && own?.principal;
  });
  const newRole = { roleAssignmentId, principal, role: encryptionRole, scope: `${resourceGroup}/${parent}` };
  if (byRole) await call(() => identity.createRoleAssignment(newRole));
  else await call(() => allowSet({ keyVault }, parent, principal));
  return { resourceGroup, vault: parent, key: `${parent}/keys/${keyName}`, set };
};

/** Creates a machine, which starts automatically. May be repeated. */
const makeMachine = async (
  { clients, resourceGroup, location, workload }: EstateMaker,
  group: PlannedGroup,
  id: string,
  keys: ReadonlyMap<string, KeyPlace>,
): Promise<MadeMachine> => {
  const disks = group.disks.map((disk, n) => ({ ...disk, id: `${id}-d${n}` }));
  const diskOf = ({ id: diskId, class: name, key }: (typeof disks)[number], n: number): DiskForMachine => {
    const set = keys.get(key)?.set;
    const encryption =
      set === undefined
        ? ({ type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' } as const)
        : ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set } as const);
    return {
      source: { $case: 'newDisk', value: { diskId, sku: skuOf(name), sizeGib: 1, encryption } },
      lun: Math.max(0, n - 1),
      deleteWithVm: false,
    };
  };
  const [osDisk, ...dataDisks] = disks.map(diskOf);
  if (osDisk === undefined) throw new Error(`the group ${group.name} needs an OS disk: its list of disks is empty`);
  const { name } = await clients.compute.createVirtualMachine({
    parent: resourceGroup,
    virtualMachineId: id,
    location,
    osDisk,
    dataDisks,
    ultraSsdEnabled: disks.some((disk) => disk.class === 'ultra'),
    ...(workload === undefined ? {} : { workload }),
    guest: group.guest === 'qemu' ? 'QEMU' : 'PROCESS',
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
  await until(clock, `${name} runs`, async () => {
    const { powerState, provisioningState, failure } = await clients.compute.getVirtualMachine({ name });
    if (provisioningState === 'FAILED')
      throw new Error(`${name} did not start: ${failure?.message ?? 'no reason given'}`);
    return powerState === 'RUNNING';
  });
};

/** Keys that a step with such a cause targets. */
const keysOfCauses = ({ estate, timeline }: Plan, isIt: (cause: Cause) => boolean): ReadonlySet<string> =>
  new Set(
    timeline.flatMap(({ action, targets }) => {
      const cause = findCause(action);
      return cause !== undefined && isIt(cause) ? targets.map((target) => keyOfTarget(estate, target)) : [];
    }),
  );

/**
 * Creates the estate of an experiment and waits until its machines run: a vault and a set for each key, and the machines of each
 * group. A vault uses role assignments if a cause of the timeline needs that for its key, otherwise access policies.
 * @throws RpcFailure or Rejection of a service, or Error if a part is not ready in time
 */
export const makePlannedEstate = async (maker: EstateMaker, plan: Plan): Promise<MadeEstate> => {
  const { estate } = plan;
  if (estate.kind !== 'planned') throw new Error('only a planned estate can be made');
  const byRole = keysOfCauses(plan, ({ model }) => model === 'ROLE_ASSIGNMENT');
  const purged = keysOfCauses(plan, isFinal);
  const names = keysOf(plan);
  const places = await Promise.all(
    names.map((name) => makeKey(maker, name, { byRole: byRole.has(name), isPurged: purged.has(name) })),
  );
  const keys = new Map(names.map((name, n) => [name, places[n]] as const).filter(isMade));
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

const isMade = (entry: readonly [string, KeyPlace | undefined]): entry is readonly [string, KeyPlace] =>
  entry[1] !== undefined;
