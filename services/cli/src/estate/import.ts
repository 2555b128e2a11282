import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { EstateFile } from '@interlock/lab';
import { UsageError } from '../problems.ts';
import { limiterOf } from '../request/limiter.ts';
import { fullName } from '../request/names.ts';
import { methodOf, Service } from '../request/schema.ts';
import { reportingInterrupts } from '../session/endings.ts';
import type { Session } from '../session/session.ts';
import { differences } from './differences.ts';
import type { ImportOptions, ImportParts } from './import-parts.ts';
import { KeyImport } from './key-import.ts';
import { ResourceImport } from './resource-import.ts';
import { estateIn, refused } from './write-estate.ts';

/** How many resources are made at once. */
const PARALLEL_MAX = 8;

/**
 * Makes the estate of a file in a resource group. It first reads what exists: a resource with the same properties stays, one
 * with others is an error before anything is made. A repeated import continues where an earlier one ended.
 * @throws UsageError, Rejection, RpcFailure, NotSettled
 */
export async function importEstate(file: string, options: ImportOptions, session: Session): Promise<void> {
  const { terminal, output, settings } = session;
  const { group } = settings.names;
  if (group === undefined) throw new UsageError('name the resource group with --group or INTERLOCK_GROUP');
  const estate = suffixed(estateIn(file, terminal), options.vaultSuffix);
  const parent = fullName('resourceGroup', group, settings.names, '--group');
  const existing = await existingOf(estate, parent, session);
  const wrong = differences(estate, parent, existing);
  if (wrong.length > 0) throw refused(wrong, terminal);
  const made: string[] = [];
  const parts: ImportParts = {
    ...options,
    estate,
    parent,
    session,
    existing,
    made: (what) => {
      made.push(what);
      if (!output.isDocument) terminal.out(`made ${what}`);
    },
    note: (text) => terminal.err(text),
  };
  await reportingInterrupts('what was made stays; repeat the command to continue', terminal, () => makeAll(parts));
  const { vaults, sets, disks, machines } = estate;
  const all = vaults.length + vaults.flatMap(({ keys }) => keys).length + sets.length + disks.length + machines.length;
  if (output.isDocument) output.write({ made, existed: existing.size });
  else
    terminal.err(
      `${made.length === 0 ? 'nothing to do' : `${made.length} changes`}: ${all} resources of ${file} are in ${group}`,
    );
}

async function makeAll(parts: ImportParts): Promise<void> {
  const { estate } = parts;
  const keys = new KeyImport(parts);
  const resources = new ResourceImport(parts, keys);
  await each(estate.vaults, (vault) => keys.vault(vault));
  await each(estate.sets, (set) => resources.set(set));
  await each(estate.disks, (disk) => resources.disk(disk));
  await each(estate.machines, (machine) => resources.machine(machine));
  // Last: disks cannot be made under a version that is disabled.
  await each(estate.vaults, (vault) => keys.disableVersions(vault));
}

async function each<One>(all: readonly One[], work: (one: One) => Promise<void>): Promise<void> {
  const limited = limiterOf(PARALLEL_MAX);
  await Promise.all(all.map((one) => limited(() => work(one))));
}

/** Names of vaults are unique in the whole cloud: a copy needs other names than the original. */
function suffixed(estate: EstateFile, suffix: string): EstateFile {
  if (suffix === '') return estate;
  const vaults = estate.vaults.map((vault) => ({ ...vault, name: `${vault.name}-${suffix}` }));
  const long = vaults.find(({ name }) => !/^[A-Za-z][A-Za-z0-9-]{2,23}$/.test(name));
  if (long !== undefined)
    throw new UsageError(
      `--vault-suffix makes "${long.name}", and the name of a vault has 3 to 24 letters, digits and hyphens`,
    );
  const sets = estate.sets.map((set) => ({ ...set, key: set.key.replace('/', `-${suffix}/`) }));
  return { ...estate, vaults, sets };
}

/** Every resource of the estate that exists, by full name. */
async function existingOf(
  { vaults, sets, disks, machines }: EstateFile,
  parent: string,
  { caller }: Session,
): Promise<ReadonlyMap<string, JsonObject>> {
  const found = new Map<string, JsonObject>();
  const look = async (
    service: 'key-vault' | 'disk-encryption-set' | 'disk' | 'compute',
    method: string,
    name: string,
  ) => {
    const contract = {
      'key-vault': Service.keyVault,
      'disk-encryption-set': Service.diskEncryptionSet,
      disk: Service.disk,
      compute: Service.compute,
    };
    try {
      found.set(name, await caller.call(service, methodOf(contract[service], method), { name }));
    } catch (error) {
      if (!(error instanceof Rejection && error.code === 'NOT_FOUND')) throw error;
    }
  };
  await each(vaults, (one) => look('key-vault', 'GetVault', `vaults/${one.name}`));
  const keys = vaults.flatMap(({ name, keys: all }) => all.map((key) => `vaults/${name}/keys/${key.name}`));
  await each(
    keys.filter((key) => found.has(key.split('/keys/')[0] ?? '')),
    (key) => look('key-vault', 'GetKey', key),
  );
  await each(sets, ({ name }) =>
    look('disk-encryption-set', 'GetDiskEncryptionSet', `${parent}/diskEncryptionSets/${name}`),
  );
  await each(disks, ({ name }) => look('disk', 'GetDisk', `${parent}/disks/${name}`));
  await each(machines, ({ name }) => look('compute', 'GetVirtualMachine', `${parent}/virtualMachines/${name}`));
  return found;
}
