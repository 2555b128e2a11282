import type { JsonObject } from '@bufbuild/protobuf';
import {
  type DiskClass,
  type EstateDisk,
  type EstateFile,
  type EstateKey,
  type EstateMachine,
  type EstateSet,
  type EstateVault,
  printEstate,
} from '@interlock/lab';
import { UsageError } from '../problems.ts';
import { fullName } from '../request/names.ts';
import { readList } from '../request/pages.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import type { Session } from '../session/session.ts';
import { objectsIn } from '../verbs/before.ts';
import { writeEstate } from './write-estate.ts';

/** What the services have of a group. */
interface Found {
  readonly sets: readonly JsonObject[];
  readonly disks: readonly JsonObject[];
  readonly machines: readonly JsonObject[];
  readonly snapshots: readonly JsonObject[];
  readonly vaults: readonly FoundVault[];
}

interface FoundVault {
  readonly vault: JsonObject;
  readonly keys: readonly { readonly key: JsonObject; readonly versions: readonly JsonObject[] }[];
}

/** Writes the estate of a resource group. What a file cannot hold is listed. @throws UsageError, Rejection, RpcFailure */
export async function exportEstate(file: string | undefined, session: Session): Promise<void> {
  const { settings, terminal, output } = session;
  const { group } = settings.names;
  if (group === undefined) throw new UsageError('name the resource group with --group or INTERLOCK_GROUP');
  const found = await findAll(fullName('resourceGroup', group, settings.names, '--group'), session);
  const remarks: string[] = [];
  const estate = estateOf(found, remarks);
  if (output.isDocument) return output.write(JSON.parse(JSON.stringify({ estate, remarks })));
  writeEstate(
    printEstate(estate, [`Exported by interlock estate export --group ${group}`, ...remarks]),
    file,
    terminal,
  );
  for (const line of remarks) terminal.err(line);
}

async function findAll(parent: string, { caller }: Session): Promise<Found> {
  const list = (
    service: 'compute' | 'disk' | 'disk-encryption-set' | 'key-vault',
    method: string,
    request: JsonObject,
  ) => readList(caller, service, methodOf(contracts[service], method), request);
  const [machines, disks, snapshots, sets, own] = await Promise.all([
    list('compute', 'ListVirtualMachines', { parent }),
    list('disk', 'ListDisks', { parent }),
    list('disk', 'ListSnapshots', { parent }),
    list('disk-encryption-set', 'ListDiskEncryptionSets', { parent }),
    list('key-vault', 'ListVaults', { parent }),
  ]);
  const names = new Set([...own.map(({ name }) => String(name)), ...sets.map((set) => vaultOf(keyVersionOf(set)))]);
  const vaults: FoundVault[] = [];
  for (const name of names) {
    const vault = await caller.call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name });
    const keys = await list('key-vault', 'ListKeys', { parent: name });
    const withVersions = keys.map(async (key) => ({
      key,
      versions: await list('key-vault', 'ListKeyVersions', { parent: String(key.name) }),
    }));
    vaults.push({ vault, keys: await Promise.all(withVersions) });
  }
  return { machines, disks, snapshots, sets, vaults };
}

const contracts = {
  compute: Service.compute,
  disk: Service.disk,
  'disk-encryption-set': Service.diskEncryptionSet,
  'key-vault': Service.keyVault,
} as const;

/** @param remarks receives what the file does not hold */
function estateOf({ sets, disks, machines, snapshots, vaults }: Found, remarks: string[]): EstateFile {
  const [first] = [...sets, ...disks, ...machines, ...vaults.map(({ vault }) => vault)];
  const location = String(first?.location ?? 'westeurope');
  const elsewhere = (one: JsonObject) => (one.location === location ? {} : { location: String(one.location) });
  const versions = new Map(
    vaults.flatMap(({ keys }) =>
      keys.map(({ key, versions: all }) => [String(key.name), all.toSorted(byTime)] as const),
    ),
  );
  if (snapshots.length > 0) remarks.push(`not exported: ${snapshots.length} snapshots: an estate file has disks only`);
  const known = new Set(disks.map(({ name }) => String(name)));
  const setsByName = new Map(sets.map((set) => [String(set.name), set]));
  return {
    location,
    vaults: vaults.map((one): EstateVault => ({ ...elsewhere(one.vault), ...vaultIn(one, versions) })),
    sets: sets.map((set): EstateSet => ({ ...elsewhere(set), ...setIn(set, versions, remarks) })),
    disks: disks.flatMap((disk): EstateDisk | readonly EstateDisk[] => {
      const made = diskIn(disk, setsByName, remarks);
      return made === undefined ? [] : { ...elsewhere(disk), ...made };
    }),
    machines: machines.flatMap((machine): EstateMachine | readonly EstateMachine[] => {
      const made = machineIn(machine, known, remarks);
      return made === undefined ? [] : { ...elsewhere(machine), ...made };
    }),
  };
}

function vaultIn(
  { vault, keys }: FoundVault,
  versions: ReadonlyMap<string, readonly JsonObject[]>,
): Omit<EstateVault, 'location'> {
  const all = keys.map(({ key }): EstateKey => {
    const states = (versions.get(String(key.name)) ?? []).map(({ enabled }) =>
      enabled === true ? 'enabled' : 'disabled',
    );
    const bits = Number(key.keySizeBits);
    return {
      name: last(key.name),
      ...(bits === 3072 || bits === 4096 ? { bits } : {}),
      ...(states.length === 1 && states[0] === 'enabled' ? {} : { versions: states }),
    };
  });
  return {
    name: last(vault.name),
    ...(vault.permissionModel === 'ROLE_ASSIGNMENT' ? { permissions: 'roles' } : {}),
    keys: all,
  };
}

function setIn(
  set: JsonObject,
  versions: ReadonlyMap<string, readonly JsonObject[]>,
  remarks: string[],
): Omit<EstateSet, 'location'> {
  const version = keyVersionOf(set);
  const [, vault, , key] = version.split('/');
  const all = (versions.get(`vaults/${vault}/keys/${key}`) ?? []).map(({ name }) => name);
  const number = all.indexOf(version) + 1;
  if (all.length === 0)
    remarks.push(
      `changed: set ${last(set.name)}: its key ${vault}/${key} is deleted; add it to the vault before an import`,
    );
  const lost = objectsIn(set.keyAccess).find(({ keyVersion, state }) => keyVersion === version && state === 'LOST');
  if (lost !== undefined && lost.reason !== 'KEY_DISABLED')
    remarks.push(`changed: set ${last(set.name)} has lost its key (${String(lost.reason)}); the copy may use it`);
  return {
    name: last(set.name),
    key: `${vault}/${key}`,
    ...(number > 0 && number < all.length ? { version: number } : {}),
    ...(/PLATFORM_AND_CUSTOMER/.test(String(set.encryptionType)) ? { encryption: 'platform-and-customer-keys' } : {}),
    ...(set.autoKeyRotationEnabled === true ? { autoKeyRotation: true } : {}),
    ...(set.autoRestart === true ? { autoRestart: true } : {}),
    ...(set.keyExpiry === 'NEXT_START' ? { keyExpiry: 'next-start' } : {}),
  };
}

function diskIn(
  disk: JsonObject,
  sets: ReadonlyMap<string, JsonObject>,
  remarks: string[],
): Omit<EstateDisk, 'location'> | undefined {
  const name = last(disk.name);
  const encryption = isObject(disk.encryption) ? disk.encryption : {};
  const setName = String(encryption.diskEncryptionSet ?? '');
  const set = sets.get(setName);
  if (setName !== '' && set === undefined) {
    remarks.push(`not exported: disk ${name}: its set ${setName} is in another resource group`);
    return undefined;
  }
  if (set !== undefined && disk.keyVersion !== keyVersionOf(set))
    remarks.push(`changed: disk ${name} is under an older key version than its set; the copy is under that of its set`);
  return {
    name,
    class: String(disk.sku).toLowerCase().replaceAll('_', '-') as DiskClass,
    gib: Number(disk.sizeGib),
    ...(set === undefined ? {} : { set: last(set.name) }),
  };
}

function machineIn(
  machine: JsonObject,
  disks: ReadonlySet<string>,
  remarks: string[],
): Omit<EstateMachine, 'location'> | undefined {
  const name = last(machine.name);
  const os = isObject(machine.osDisk) ? String(machine.osDisk.disk) : '';
  const data = objectsIn(machine.dataDisks);
  const away = [os, ...data.map(({ disk }) => String(disk))].find((disk) => !disks.has(disk));
  if (away !== undefined) {
    remarks.push(`not exported: machine ${name}: its disk ${away} is in another resource group`);
    return undefined;
  }
  // A machine that a lost key has stopped is written as running: the file has the state that its user wants.
  const isRunning =
    machine.powerState === 'RUNNING' || machine.powerState === 'STARTING' || machine.stopCause === 'KEY_LOST';
  return {
    name,
    osDisk: last(os),
    ...(data.length === 0
      ? {}
      : { dataDisks: data.map(({ lun, disk }) => ({ lun: Number(lun ?? 0), disk: last(disk) })) }),
    ...guestIn(machine),
    ...(isRunning ? {} : { running: false }),
  };
}

const guestIn = ({ guest }: JsonObject): Pick<EstateMachine, 'guest'> => {
  if (guest === 'QEMU') return { guest: 'qemu' };
  return guest === 'IDLE' ? { guest: 'idle' } : {};
};

const last = (name: unknown): string => String(name).split('/').at(-1) ?? '';
const vaultOf = (keyVersion: string): string => keyVersion.split('/').slice(0, 2).join('/');
const keyVersionOf = ({ activeKey }: JsonObject): string => (isObject(activeKey) ? String(activeKey.keyVersion) : '');
const byTime = (one: JsonObject, other: JsonObject): number =>
  Date.parse(String(one.createTime)) - Date.parse(String(other.createTime));
