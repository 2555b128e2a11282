import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { problemText } from '../hints/failure.ts';
import { whoServes } from '../hints/hints.ts';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';

/** What may be wrong with what was done, found out by asking another service; undefined when nothing is. */
export type Doubt = (
  caller: Pick<Caller, 'call'>,
  request: JsonObject,
  answer: JsonObject,
) => Promise<string | undefined>;

/**
 * Whether a version that was disabled by its own name was the last one enabled: then its key is off as a whole, and
 * enabling the key does not bring that version back.
 */
export const lastVersionDoubt: Doubt = async (caller, { name }) => {
  const [key, version] = String(name).split('/versions/');
  if (key === undefined || version === undefined) return undefined;
  try {
    // A page at a time: versions are as many as there were rotations, and one that is enabled is enough.
    for (let pageToken = ''; ; ) {
      const list = methodOf(Service.keyVault, 'ListKeyVersions');
      const { keyVersions, nextPageToken } = await caller.call('key-vault', list, { parent: key, pageToken });
      const isEnabled = (one: JsonValue) => isObject(one) && one.enabled === true;
      if (!Array.isArray(keyVersions) || keyVersions.some(isEnabled)) return undefined;
      if (typeof nextPageToken !== 'string' || nextPageToken === '') break;
      pageToken = nextPageToken;
    }
  } catch (error) {
    // It is disabled all the same, and whoever may not list versions learns nothing about the others.
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
  const short = key.replace(/^vaults\/([^/]+)\/keys\//, '$1/');
  return `no version of ${short} is enabled any more: the whole key is off. What brings this one back: interlock key enable ${short}/${version}`;
};

/** How identity is asked for what names begin with. */
const roots: Readonly<Record<string, { readonly get: string; readonly missing: string }>> = {
  subscriptions: { get: 'GetSubscription', missing: 'SUBSCRIPTION_NOT_FOUND' },
  tenants: { get: 'GetTenant', missing: 'TENANT_NOT_FOUND' },
};

/**
 * The subscription or tenant that a name begins with, where there is none; services take names below any. Undefined also where
 * identity does not say, or not to this caller: what is asked for is done by then.
 */
export async function missingRoot(caller: Pick<Caller, 'call'>, path: string): Promise<string | undefined> {
  const [name, kind = ''] = /^([a-z]+)\/[^/]+/.exec(path) ?? [];
  const root = roots[kind];
  if (name === undefined || root === undefined) return undefined;
  try {
    await caller.call('identity', methodOf(Service.identity, root.get), { name });
    return undefined;
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    return error instanceof Rejection && error.reason === root.missing ? name : undefined;
  }
}

/**
 * Whether the scope of a role is that of a subscription or tenant, and of a vault, that is there. Identity takes a role on what
 * is still to be made, and does not know vaults; a name mistyped is told here.
 */
export const scopeDoubt: Doubt = async (caller, { scope }) => {
  const missing = await missingRoot(caller, String(scope));
  if (missing !== undefined) return `there is no ${missing}: the role has no effect until one of that name is made`;
  const [, group, name] = /^(subscriptions\/[^/]+\/resourceGroups\/[^/]+)\/(vaults\/[^/]+)/i.exec(String(scope)) ?? [];
  if (group === undefined || name === undefined) return undefined;
  try {
    const vault = await caller.call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name });
    const there = String(vault.resourceGroup);
    if (there.toLowerCase() === group.toLowerCase()) return undefined;
    return `the role has no effect: ${name} lies in ${there}, so its scope is ${there}/${name}`;
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    const isAnswer = error instanceof Rejection;
    if (isAnswer && error.reason === 'VAULT_NOT_FOUND')
      return `there is no ${name}: the role has no effect until a vault of that name is made in ${group}`;
    // Whoever may not see vaults learns nothing about them here either.
    if (isAnswer && error.code === 'PERMISSION_DENIED') return undefined;
    return `the role is given; whether there is ${name} in ${group} is not known: ${problemText(error)} (${whoServes})`;
  }
};

/**
 * Whether a running machine waits for the key vault: it runs, and its reads and writes wait or fail, because a lease of a
 * set of its disks is over and the vault gives no answer. Compute is told of that only when the outage lasts.
 */
export const pausedDoubt: Doubt = (caller, _request, machine) =>
  unlessSilent(async () => {
    if (machine.powerState !== 'RUNNING') return undefined;
    const attached = [machine.osDisk, ...objectsIn(machine.dataDisks)].filter(isObject);
    const getDisk = methodOf(Service.disk, 'GetDisk');
    const disks = await Promise.all(attached.map(({ disk }) => caller.call('disk', getDisk, { name: String(disk) })));
    const setOf = ({ encryption }: JsonObject) =>
      isObject(encryption) ? String(encryption.diskEncryptionSet ?? '') : '';
    const named = [...new Set(disks.map(setOf))].filter((set) => set !== '');
    const leases = await Promise.all(named.map((diskEncryptionSet) => leasesOf(caller, { diskEncryptionSet })));
    return pausedNote(leases.flat());
  });

/** The same of a list: sets below its parent whose reads and writes wait. */
export const allPausedDoubt: Doubt = (caller, { parent }, { virtualMachines }) =>
  unlessSilent(async () => {
    if (!objectsIn(virtualMachines).some(({ powerState }) => powerState === 'RUNNING')) return undefined;
    const leases = await leasesOf(caller, {});
    return pausedNote(leases.filter(({ diskEncryptionSet: set }) => String(set).startsWith(`${String(parent)}/`)));
  });

/** What is asked beside an answer is said where it can be found out; whoever may not ask learns nothing. */
const unlessSilent = async (find: () => Promise<string | undefined>): Promise<string | undefined> => {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return undefined;
    return `whether reads and writes wait for a key vault is not known: ${problemText(error)} (${whoServes})`;
  }
};

const leasesOf = async (caller: Pick<Caller, 'call'>, filter: JsonObject): Promise<readonly JsonObject[]> => {
  const found: JsonObject[] = [];
  for (let pageToken = ''; ; ) {
    const list = methodOf(Service.disk, 'ListLeases');
    const page = await caller.call('disk', list, { ...filter, pageToken });
    found.push(...objectsIn(page.leases));
    if (typeof page.nextPageToken !== 'string' || page.nextPageToken === '') return found;
    pageToken = page.nextPageToken;
  }
};

const pausedNote = (leases: readonly JsonObject[]): string | undefined => {
  const paused = leases.filter(({ state }) => state === 'PAUSED');
  if (paused.length === 0) return undefined;
  const sets = [...new Set(paused.map(({ diskEncryptionSet: set }) => String(set).split('/').at(-1)))].join(', ');
  const since = paused.map((lease) => String(lease.since ?? '')).toSorted()[0];
  return `reads and writes on disks of ${sets} wait, and fail when that takes long: the key vault gives no answer since ${since} (interlock lease list)`;
};

const objectsIn = (value: JsonValue | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? value.filter(isObject) : [];
