import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';

/**
 * Completes a request with the current state of its resource: the request of an RPC replaces everything, a user names a change.
 * @param switches of the verb that were given
 * @throws Rejection of the service that is read
 */
export type Before = (
  request: JsonObject,
  switches: ReadonlySet<string>,
  caller: Pick<Caller, 'call'>,
) => Promise<JsonObject>;

/** Keeps the permissions that the principal has, unless `--replace` removes them. */
export const addPermissions: Before = async (request, switches, { call }) => {
  const policy = request.accessPolicy;
  if (switches.has('replace') || !isObject(policy)) return request;
  const vault = await call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name: request.name ?? '' });
  const current = policyOf(vault, policy.principal);
  const all = [...new Set([...textsIn(current?.keyPermissions), ...textsIn(policy.keyPermissions)])];
  const keyPermissions = all.includes('ALL') ? ['ALL'] : all;
  // The etag makes sure that the permissions are added to the policy that was read.
  return { etag: String(vault.etag), ...request, accessPolicy: { ...policy, keyPermissions } };
};

/** Keeps the date that is not named, unless `--clear` removes it. */
export const keepDates: Before = async (request, switches, { call }) => {
  if (switches.has('clear') || (request.notBefore !== undefined && request.expireTime !== undefined)) return request;
  const version = await call('key-vault', methodOf(Service.keyVault, 'GetKeyVersion'), { name: request.name ?? '' });
  const kept = ['notBefore', 'expireTime', 'etag'].filter((field) => version[field] !== undefined);
  return { ...Object.fromEntries(kept.map((field) => [field, version[field] ?? ''])), ...request };
};

/** The objects in a list of a response. */
export const objectsIn = (value: JsonValue | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? value.filter(isObject) : [];
/** The texts in a list of a response. */
export const textsIn = (value: JsonValue | undefined): readonly string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];

/** The access policy of a principal in a vault. */
export const policyOf = ({ accessPolicies }: JsonObject, principal: JsonValue | undefined): JsonObject | undefined =>
  objectsIn(accessPolicies).find((one) => one.principal === principal);

/** A cordon is a drain that only refuses what is new. */
export const cordonOnly: Before = async (request) => ({ ...request, cordonOnly: true });
