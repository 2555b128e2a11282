import { createPublicKey, type JsonWebKey, randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { openConnections, openPostgresStore } from '@interlock/event-store';
import { folderOfDiskHost } from '@interlock/local/services.ts';
import { type Scope, systemClock } from '@interlock/runtime';
import { readMasterKey } from '@interlock/sealing';
import type { Clients } from '../../cloud/clients.ts';
import { makeKeys } from '../../cloud/make-estate.ts';
import { until } from '../../cloud/until.ts';
import { location, ownEstate } from '../../cloud/world.ts';
import { type BenchOptions, openCloud } from '../bench.ts';
import { Fleet } from './fleet.ts';
import type { FleetPlace, FleetSet } from './plan.ts';
import { diskSeeder, type SeededHost } from './seed-disks.ts';
import { createRunning, machineSeeder } from './seed-machines.ts';

/** The sets under the key that the bench disables. */
const lostSets = ['lost-0', 'lost-1', 'lost-2'] as const;

/** Starts a cloud and creates a fleet of which `stopping` machines must stop. Only disks and machines bypass the APIs. */
export const openFleet = async (options: BenchOptions, stopping: number, scope: Scope): Promise<Fleet> => {
  const benchCloud = await openCloud(options, scope);
  const { data } = benchCloud;
  const openStore = async (service: 'key-vault' | 'disk' | 'compute') => {
    const url = benchCloud.cloud.databaseUrls[service];
    const store = await openPostgresStore({ url, clock: systemClock, maxConnections: 4 });
    scope.defer(`store of ${service}`, () => store.close());
    const sql = openConnections(url, { maxConnections: 4, transactionTimeoutMs: 120_000 });
    scope.defer(`database of ${service}`, () => sql.end());
    return { store, sql };
  };
  const [vault, disk, compute] = await Promise.all([openStore('key-vault'), openStore('disk'), openStore('compute')]);
  const { place, keyVersion } = await createPlace(benchCloud.clients);
  const seedMachines = machineSeeder(compute.store, options.vmHosts ?? 0);
  const masterKey = await readMasterKey(data.path('bootstrap', 'disk.master-key'));
  const hosts = Array.from({ length: options.diskHosts || 1 }, (_, host): SeededHost => {
    const volumeFolder = data.path('services', folderOfDiskHost(host), 'volumes');
    mkdirSync(volumeFolder, { recursive: true, mode: 0o700 });
    return { name: `disk-${host}`, volumeFolder };
  });
  // In turn, so that each host has a part of the sets that lose their key.
  const sets = [...place.lost, place.kept];
  const hostOf = (set: FleetSet): SeededHost => hosts[sets.indexOf(set) % hosts.length] as SeededHost;
  const seedDisks = diskSeeder(disk.store, hostOf, masterKey);
  const parts = { place, keyVersion, stopping, vaultStore: vault.store, computeSql: compute.sql, seedMachines };
  const fleet = new Fleet({ ...benchCloud, ...parts });
  const epoch = await vault.store.head();
  await fleet.inChunks(fleet.machines(), async (chunk) => {
    await Promise.all([seedDisks(chunk, epoch), seedMachines(chunk, createRunning, epoch, 1)]);
  });
  // Without statistics the planner assumes that new tables are empty.
  await Promise.all([compute, disk].map(({ sql }) => sql`vacuum (analyze) rows, row_index, events`));
  await fleet.rest();
  return fleet;
};

/** Creates a vault with two keys, three sets under the first and one under the second. */
const createPlace = async (clients: Clients): Promise<{ readonly place: FleetPlace; readonly keyVersion: string }> => {
  const estate = await ownEstate(clients);
  const vault = `kv-${randomUUID().slice(0, 8)}`;
  const made = await makeKeys(estate, {
    location,
    vaults: [{ name: vault, keys: [{ name: 'k1' }, { name: 'k2' }] }],
    sets: [...lostSets.map((name) => ({ name, key: `${vault}/k1` })), { name: 'kept', key: `${vault}/k2` }],
  });
  const setNamed = (name: string) => fleetSet(clients, made.get(name)?.set ?? '');
  const [first, ...others] = lostSets;
  const lost = [await setNamed(first), ...(await Promise.all(others.map(setNamed)))] as const;
  return { place: { group: estate.resourceGroup, lost, kept: await setNamed('kept') }, keyVersion: lost[0].keyVersion };
};

const fleetSet = async ({ keyVault, sets }: Clients, name: string): Promise<FleetSet> => {
  const { activeKey, generation } = await until(`${name} has access to its key`, async () => {
    const found = await sets.getDiskEncryptionSet({ name });
    return found.keyAccess.length > 0 && found.keyAccess.every(({ state }) => state === 'AVAILABLE') && found;
  });
  const keyVersion = activeKey?.keyVersion ?? '';
  const { publicKey } = await keyVault.getKeyVersion({ name: keyVersion });
  const jwk = JSON.parse(publicKey?.jwkJson ?? '{}') as JsonWebKey;
  return {
    name,
    keyVersion,
    generation,
    publicKey: createPublicKey({ key: { kty: jwk.kty ?? '', n: jwk.n ?? '', e: jwk.e ?? '' }, format: 'jwk' }),
  };
};
