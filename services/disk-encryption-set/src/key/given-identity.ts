import { Rejection } from '@interlock/event-store';
import { type Authorizer, type Call, names, principalOf, requirePermission } from '@interlock/rpc';
import { callFor, type SetParts } from '../sets.ts';
import { askAccess } from './key-access.ts';

/** What the check of an identity needs. */
export interface GivenIdentityParts extends Pick<SetParts, 'disks' | 'identities'> {
  readonly authorize: Authorizer;
}

/** The identity that a user gives a set. */
export interface GivenIdentity {
  readonly set: string;
  /** `tenants/<t>` of the set. */
  readonly tenant: string;
  /** `principals/<uuid>` */
  readonly principal: string;
  /** The key that it has to use. */
  readonly keyVersion: string;
}

/**
 * Checks that the caller may give a set this identity, and that the identity can use the key already: the first disk would fail
 * otherwise (CMK-40).
 * @throws Rejection INVALID_ARGUMENT NAME_INVALID; PERMISSION_DENIED ACCESS_DENIED; FAILED_PRECONDITION IDENTITY_NOT_ASSIGNABLE,
 *   or the reason for which the identity cannot use the key
 */
export const requireGivenIdentity = async (
  { disks, identities, authorize }: GivenIdentityParts,
  { set, tenant, principal, keyVersion }: GivenIdentity,
  call: Call,
): Promise<void> => {
  names.principal.parse(principal, 'user_assigned_identity');
  await requirePermission(authorize, principalOf(call), 'identity/managedIdentities/assign', tenant);
  const found = await identities.getPrincipal({ name: principal }, callFor(call.cause));
  const isAssignable = found.type === 'MANAGED_IDENTITY' && found.owner === '' && found.state === 'ACTIVE';
  if (!isAssignable || found.tenant !== tenant) throw notAssignable(principal);
  const answer = await askAccess(disks, { set, principal, keyVersion, cause: call.cause });
  if (answer.granted) return;
  const { code, reason, message, metadata } = answer.rejection;
  throw new Rejection(code, reason, message, { ...metadata, key_version: keyVersion, disk_encryption_set: set });
};

const notAssignable = (principal: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_NOT_ASSIGNABLE',
    `user_assigned_identity: ${principal} must be a managed identity of the tenant of the set that belongs to no resource`,
    { field: 'user_assigned_identity', principal },
  );
