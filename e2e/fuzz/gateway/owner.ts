import type { FuzzTarget } from './requests.ts';

/** Group of all estates. */
export const ownerGroup = 'g1';
/** Name of the set, the disk, the snapshot and the machine of each estate. There are several because requests delete them. */
export const estateNames = ['e1', 'e2', 'e3', 'e4', 'e5', 'e6'] as const;
/** The vault of an estate: vaults of all groups share their names. */
export const vaultOf = (estate: string): string => `kv-${estate}`;
/** Key of each vault. */
export const ownerKey = 'k1';

/** One request of the owner. */
export interface OwnerRequest {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly host: string;
  readonly path: string;
  readonly token: string;
  readonly body?: unknown;
}

/** Sends a request. @returns the parsed body of a success; undefined for a refusal: the fuzzer may have deleted what it needs */
export type Ask = (request: OwnerRequest) => Promise<unknown>;

interface Shown {
  readonly key?: { readonly kid?: string };
  readonly identity?: { readonly principalId?: string };
}

/**
 * Makes one estate: group, vault, key, granted set, disk, snapshot and running machine. Without it, requests for keys, sets, disks and
 * machines would only learn that these do not exist. What the fuzzer deleted is recovered or made again.
 * @returns the kinds that it could make
 */
export const makeEstate = async (estate: string, target: FuzzTarget, ask: Ask): Promise<readonly string[]> => {
  const { host, tokens, vocabulary } = target;
  const [subscription = ''] = vocabulary.byName.subscription ?? [];
  const [tenantId = ''] = vocabulary.byName.tenantId ?? [];
  const [objectId = ''] = vocabulary.byName.objectId ?? [];
  const group = `/subscriptions/${subscription}/resourceGroups/${ownerGroup}`;
  const location = 'westeurope';
  const made: string[] = [];
  const idOf = (type: string, name = estate): string => `${group}/providers/${type}/${name}`;
  const put = async (path: string, version: string, body: object): Promise<Shown | undefined> => {
    const request = { method: 'PUT', host, path: `${path}?api-version=${version}`, token: tokens.management } as const;
    const shown = await ask({ ...request, body: { location, ...body } });
    if (shown !== undefined) made.push(path.replace(/.*\/(\w+)\/[^/]*$/, '$1'));
    return shown as Shown | undefined;
  };
  const policyOf = (principal: string, keys: readonly string[]) => ({
    tenantId,
    objectId: principal,
    permissions: { keys },
  });

  await put(group, '2022-12-01', {});
  const vaultId = idOf('Microsoft.KeyVault/vaults', vaultOf(estate));
  const vault = {
    tenantId,
    sku: { family: 'A', name: 'standard' },
    accessPolicies: [policyOf(objectId, ['all', 'purge'])],
    publicNetworkAccess: 'Enabled',
    // Sets need it. The last vault has none, so that something can be purged.
    ...(estate === estateNames.at(-1) ? {} : { enablePurgeProtection: true }),
  };
  await put(vaultId, '2024-11-01', { properties: { ...vault, createMode: 'recover' } });
  await put(vaultId, '2024-11-01', { properties: vault });
  const vaultHost = target.vaultHost.replace('{vault}', vaultOf(estate));
  const inVault = { method: 'POST', host: vaultHost, token: tokens.vault } as const;
  await ask({ ...inVault, path: `/deletedkeys/${ownerKey}/recover?api-version=7.4` });
  const create = {
    ...inVault,
    path: `/keys/${ownerKey}/create?api-version=7.4`,
    body: { kty: 'RSA', key_size: 2_048 },
  };
  const keyUrl = ((await ask(create)) as Shown | undefined)?.key?.kid;
  if (keyUrl === undefined) return made;
  made.push('key');

  const setId = idOf('Microsoft.Compute/diskEncryptionSets');
  const identity = { type: 'SystemAssigned' };
  const set = await put(setId, '2025-07-01', {
    identity,
    properties: { activeKey: { keyUrl, sourceVault: { id: vaultId } } },
  });
  const policy = policyOf(set?.identity?.principalId ?? '', ['get', 'wrapKey', 'unwrapKey']);
  await put(`${vaultId}/accessPolicies/add`, '2024-11-01', { properties: { accessPolicies: [policy] } });
  const encryption = { type: 'EncryptionAtRestWithCustomerKey', diskEncryptionSetId: setId };
  const diskId = idOf('Microsoft.Compute/disks');
  const sku = { name: 'Premium_LRS' };
  const empty = { creationData: { createOption: 'Empty' }, diskSizeGB: 1, encryption };
  await put(diskId, '2025-07-01', { sku, properties: empty });
  const copy = { creationData: { createOption: 'Copy', sourceResourceId: diskId } };
  await put(idOf('Microsoft.Compute/snapshots'), '2025-07-01', { properties: copy });
  const osDisk = { osType: 'Linux', createOption: 'Attach', managedDisk: { id: diskId } };
  const machine = { hardwareProfile: { vmSize: 'Standard_D2s_v5' }, storageProfile: { osDisk } };
  await put(idOf('Microsoft.Compute/virtualMachines'), '2025-07-01', { properties: machine });
  return made;
};
