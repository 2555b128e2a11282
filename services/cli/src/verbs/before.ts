import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { problemText } from '../hints/failure.ts';
import { whoServes } from '../hints/hints.ts';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service, type ServiceName } from '../request/schema.ts';

/** What is looked at with. */
export interface Look {
  readonly caller: Pick<Caller, 'call'>;
  readonly request: JsonObject;
  /** Switches of the verb that were given. */
  readonly switches: ReadonlySet<string>;
  /** A name as people type it. */
  readonly short: (name: string) => string;
}

/** What is sent then. */
export interface Seen {
  readonly request: JsonObject;
  /** A line for people about what it takes away. */
  readonly note?: string;
  /** What could not be looked at, and so what the answer may not mean. */
  readonly doubt?: string;
}

/**
 * What a verb looks at before it asks: where a request says everything there is to be, and people say what is to change.
 * @throws Rejection of whoever is asked
 */
export type Before = (look: Look) => Promise<Seen>;

/**
 * What is there is answered like what was made: that nothing was made is said.
 * @param get the RPC that shows it
 * @param nameIn its name, by the request that makes it
 */
export const existingBefore =
  (service: Workload, contract: ServiceName, get: string, nameIn: (request: JsonObject) => string): Before =>
  async ({ caller, request, short }) => {
    const name = nameIn(request);
    try {
      await caller.call(service, methodOf(contract, get), { name });
      return { request, note: `${short(name)} was there already, and is as it was` };
    } catch (error) {
      // Not there, or not to be seen by this caller: what it asks for decides.
      if (error instanceof Rejection && !error.retryable()) return { request };
      throw error;
    }
  };

/** A policy replaces what a principal might do before: `--add` keeps that, and either way both are said. */
export const grantBefore: Before = async ({ caller, request, switches, short }) => {
  const policy = isObject(request.accessPolicy) ? request.accessPolicy : {};
  const isAdding = switches.has('add');
  const vault = await vaultSeen({ caller, request }, isAdding);
  if (vault === undefined) return { request };
  const had = permissionsIn(vault, policy.principal);
  const wanted = textsIn(policy.keyPermissions);
  const all = [...new Set([...had, ...wanted])];
  const keyPermissions = !isAdding ? wanted : all.includes('ALL') ? ['ALL'] : all;
  const who = short(String(policy.principal ?? ''));
  const note = isByRole(vault)
    ? `the policy of ${who} is ${typed(keyPermissions)}, and has no effect${byRole}`
    : grantNote(who, had, keyPermissions);
  return {
    // What is added to must be what was seen.
    request: {
      ...request,
      ...(isAdding && request.etag === undefined ? { etag: String(vault.etag) } : {}),
      accessPolicy: { ...policy, keyPermissions },
    },
    note,
  };
};

/** What goes with a policy is not in the answer any more: it is said, and that there was nothing to take. */
export const revokeBefore: Before = async ({ caller, request, short }) => {
  const vault = await vaultSeen({ caller, request });
  if (vault === undefined) return { request };
  const had = permissionsIn(vault, request.principal);
  const who = short(String(request.principal ?? ''));
  const note = had.length === 0 ? `nothing to take: ${who} has no policy here` : `taken from ${who}: ${typed(had)}`;
  return { request, note: `${note}${isByRole(vault) ? byRole : ''}` };
};

/** Whether policies have no effect in a vault. */
const isByRole = ({ permissionModel }: JsonObject): boolean => permissionModel === 'ROLE_ASSIGNMENT';
const byRole = '; what it may do in this vault is said by roles: interlock role assignments';

/** The vault as it is; undefined for whoever may change rights and not see them, unless it has to be seen. */
async function vaultSeen(
  { caller, request }: Pick<Look, 'caller' | 'request'>,
  isNeeded = false,
): Promise<JsonObject | undefined> {
  const method = methodOf(Service.keyVault, 'GetVault');
  try {
    return await caller.call('key-vault', method, { name: request.name ?? '' });
  } catch (error) {
    if (isNeeded || !(error instanceof Rejection) || error.code !== 'PERMISSION_DENIED') throw error;
    return undefined;
  }
}

const permissionsIn = ({ accessPolicies }: JsonObject, principal: JsonValue | undefined): readonly string[] =>
  textsIn(objectsIn(accessPolicies).find((policy) => policy.principal === principal)?.keyPermissions);

function grantNote(who: string, had: readonly string[], has: readonly string[]): string {
  if (had.length === 0) return `${who} may: ${typed(has)}`;
  const gone =
    had.includes('ALL') && !has.includes('ALL')
      ? ['ALL']
      : has.includes('ALL')
        ? []
        : had.filter((one) => !has.includes(one));
  const change = `${who} might before: ${typed(had)}; may now: ${typed(has)}`;
  return gone.length === 0 ? change : `${change}. Taken away: ${typed(gone)} (--add keeps what was there)`;
}

/** Dates of a version are set together: the one that is not named stays, unless `--clear` takes it away. */
export const datesBefore: Before = async ({ caller, request, switches }) => {
  if (switches.has('clear') || (request.notBefore !== undefined && request.expireTime !== undefined))
    return { request };
  const method = methodOf(Service.keyVault, 'GetKeyVersion');
  const { notBefore, expireTime, etag } = await caller.call('key-vault', method, { name: request.name ?? '' });
  return {
    request: {
      ...(notBefore === undefined ? {} : { notBefore }),
      ...(expireTime === undefined ? {} : { expireTime }),
      ...(etag === undefined ? {} : { etag }),
      ...request,
    },
  };
};

/**
 * A list of what is under a set that is not there is no empty list. Lists are read most where something is down, so a service
 * of sets that gives no answer, or none to this caller, keeps nobody from reading them: it is said with the list.
 * @throws Rejection DISK_ENCRYPTION_SET_NOT_FOUND, or whatever else that service has against the question
 */
export const setBefore: Before = async ({ caller, request }) => {
  const { diskEncryptionSet: name } = request;
  if (typeof name !== 'string' || name === '') return { request };
  const method = methodOf(Service.diskEncryptionSet, 'GetDiskEncryptionSet');
  try {
    await caller.call('disk-encryption-set', method, { name });
    return { request };
  } catch (error) {
    const isDown = error instanceof RpcFailure || (error instanceof Rejection && error.retryable());
    if (!isDown && !(error instanceof Rejection && error.code === 'PERMISSION_DENIED')) throw error;
    const doubt = `whether there is a set ${name} is not known: ${problemText(error)}`;
    return { request, doubt: isDown ? `${doubt} (${whoServes})` : doubt };
  }
};

const objectsIn = (value: JsonValue | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? value.filter(isObject) : [];
const textsIn = (value: JsonValue | undefined): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
/** As flags have them. */
const typed = (permissions: readonly string[]): string =>
  permissions.map((one) => one.toLowerCase().replaceAll('_', '-')).join(',');
