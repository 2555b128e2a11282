import { type CategoryDefinition, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { PrincipalEvent, PrincipalType } from './events.ts';

/** A secret of a principal, by hash. */
export interface Secret {
  readonly hash: string;
  readonly createdAt: Instant;
  readonly expiresAt?: Instant;
}

interface Profile {
  readonly tenant: string;
  readonly principalType: PrincipalType;
  readonly displayName: string;
  readonly owner?: string;
  readonly workload?: string;
  readonly createdAt: Instant;
}

/**
 * Somebody who can be granted access.
 *
 *   absent ──create──▶ active ──delete──▶ deleted
 *
 * A deleted principal stays on record: its id is never given to another (CMK-39), and its tokens end at the next check.
 */
export type Principal =
  | { readonly status: 'absent' }
  | ({ readonly status: 'active'; readonly secrets: Readonly<Record<string, Secret>> } & Profile)
  | ({ readonly status: 'deleted'; readonly deletedAt: Instant } & Profile);

/** Longest display name, in characters. */
const maxDisplayNameLength = 256;
/** For how long another secret must last where one is taken away that somebody cannot do without, in milliseconds: there must be time to give a third. */
export const reserveMs = 86_400_000;

/** Most secrets of one principal: enough to overlap during a rotation, few enough to stay visible. */
const maxSecrets = 10;

export const initial: Principal = { status: 'absent' };

export const evolve = (principal: Principal, event: PrincipalEvent): Principal => {
  switch (event.type) {
    case 'PrincipalCreated': {
      const { type: _type, at, ...profile } = event;
      return { status: 'active', ...profile, createdAt: at, secrets: {} };
    }
    case 'SecretAdded': {
      if (principal.status !== 'active') return principal;
      const { type: _type, secretId, at, ...secret } = event;
      return { ...principal, secrets: { ...principal.secrets, [secretId]: { ...secret, createdAt: at } } };
    }
    case 'SecretRemoved': {
      if (principal.status !== 'active') return principal;
      const { [event.secretId]: _removed, ...secrets } = principal.secrets;
      return { ...principal, secrets };
    }
    case 'PrincipalDeleted': {
      if (principal.status !== 'active') return principal;
      const { status: _status, secrets: _secrets, ...profile } = principal;
      return { status: 'deleted', ...profile, deletedAt: event.at };
    }
  }
};

/** How principals are stored and listed: by tenant, and by the resource that owns them. */
export const principals: CategoryDefinition<Principal, PrincipalEvent> = {
  name: 'principal',
  stateVersion: 1,
  initial,
  evolve,
  indexes: (principal) =>
    principal.status === 'active'
      ? [
          { index: 'tenant', value: principal.tenant },
          ...(principal.owner === undefined ? [] : [{ index: 'owner', value: principal.owner }]),
        ]
      : [],
};

/** What a new principal is to be. */
export type NewPrincipal = Omit<Profile, 'createdAt'>;

/**
 * Creates a principal under the id its creator chose; the same wish again decides nothing.
 * @throws Rejection INVALID_ARGUMENT DISPLAY_NAME_INVALID; ALREADY_EXISTS PRINCIPAL_ALREADY_EXISTS when the id is taken by
 *   something else, also by a deleted principal
 */
export const create =
  (at: Instant, wish: NewPrincipal) =>
  (principal: Principal): readonly PrincipalEvent[] => {
    if (wish.displayName.length === 0 || wish.displayName.length > maxDisplayNameLength) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'DISPLAY_NAME_INVALID',
        `display_name must have 1 to ${maxDisplayNameLength} characters, not ${wish.displayName.length}`,
        { field: 'display_name' },
      );
    }
    if (principal.status === 'absent') return [{ type: 'PrincipalCreated', ...wish, at }];
    if (principal.status === 'deleted') {
      throw taken(
        'this principal id was that of a principal that is deleted, and is given to no other: choose another',
        {
          state: 'DELETED',
        },
      );
    }
    const isSame: Readonly<Record<string, boolean>> = {
      tenant: principal.tenant === wish.tenant,
      type: principal.principalType === wish.principalType,
      display_name: principal.displayName === wish.displayName,
      owner: principal.owner === wish.owner,
      workload: principal.workload === wish.workload,
    };
    const differing = Object.keys(isSame).filter((field) => isSame[field] !== true);
    if (differing.length === 0) return [];
    const differs = differing.join(', ');
    throw taken(`this principal id is taken by one with another ${differs}: choose another`, { differs });
  };

const taken = (message: string, facts: Readonly<Record<string, string>>): Rejection =>
  new Rejection('ALREADY_EXISTS', 'PRINCIPAL_ALREADY_EXISTS', message, { field: 'principal_id', ...facts });

/**
 * Gives a user or application one more secret.
 * @param hash SHA-256 of the secret text, base64url
 * @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND; FAILED_PRECONDITION PRINCIPAL_HAS_NO_SECRETS for a managed identity,
 *   TOO_MANY_SECRETS; ALREADY_EXISTS SECRET_ALREADY_EXISTS; INVALID_ARGUMENT EXPIRE_TIME_PAST
 */
export const addSecret = (at: Instant, secretId: string, hash: string, expiresAt: Instant | undefined) =>
  giveSecret(at, secretId, hash, expiresAt, maxSecrets);

const giveSecret =
  (at: Instant, secretId: string, hash: string, expiresAt: Instant | undefined, most: number) =>
  (principal: Principal): readonly PrincipalEvent[] => {
    const active = existing(principal);
    if (active.principalType === 'managed_identity') {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'PRINCIPAL_HAS_NO_SECRETS',
        'a managed identity has no secrets: only its resource can use it',
      );
    }
    if (expiresAt !== undefined && expiresAt <= at) {
      throw new Rejection('INVALID_ARGUMENT', 'EXPIRE_TIME_PAST', 'expire_time must lie in the future', {
        field: 'expire_time',
      });
    }
    // Ids are words of their creator, and every object has a `constructor`.
    const known = Object.hasOwn(active.secrets, secretId) ? active.secrets[secretId] : undefined;
    if (known?.hash === hash) return [];
    if (known) {
      throw new Rejection(
        'ALREADY_EXISTS',
        'SECRET_ALREADY_EXISTS',
        `secret ${secretId} exists and its text cannot be shown again: choose another secret_id`,
        {
          field: 'secret_id',
          secret: secretId,
        },
      );
    }
    if (Object.keys(active.secrets).length >= most) {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'TOO_MANY_SECRETS',
        `a principal has at most ${maxSecrets} secrets: remove one first`,
      );
    }
    return [{ type: 'SecretAdded', secretId, hash, ...(expiresAt === undefined ? {} : { expiresAt }), at }];
  };

/**
 * Gives a secret that the bootstrap names. Where there is no room for another one, one goes that has expired, else the oldest of the
 * bootstrap's, and else it is one more than there may be: nobody could take one away before the start has succeeded, and nobody at all
 * where it is the only one to act with.
 * @throws Rejection as `addSecret` does, but not TOO_MANY_SECRETS
 */
export const addBootstrapSecret =
  (at: Instant, hash: string) =>
  (principal: Principal): readonly PrincipalEvent[] => {
    const secrets = Object.entries(existing(principal).secrets);
    const secretId = bootstrapSecretId(hash);
    const isRoomWanted = secrets.length >= maxSecrets && !secrets.some(([id]) => id === secretId);
    const expired = secrets.filter(([, secret]) => !isCurrent(secret, at));
    const ofBootstrap = secrets
      .filter(([id]) => id.startsWith(bootstrapSecretId('')))
      .sort(([, a], [, b]) => a.createdAt - b.createdAt);
    const [leaving] = isRoomWanted ? [...expired, ...ofBootstrap] : [];
    const removed: readonly PrincipalEvent[] =
      leaving === undefined ? [] : [{ type: 'SecretRemoved', secretId: leaving[0], at }];
    const given = giveSecret(at, secretId, hash, undefined, Number.POSITIVE_INFINITY);
    return [...removed, ...given(removed.reduce(evolve, principal))];
  };

/** Of a secret that the bootstrap names: by its hash, so that a bootstrap with a new one adds that one, the same again adds nothing. */
export const bootstrapSecretId = (hash: string): string => `bootstrap-${hash.slice(0, 8)}`;

/**
 * Takes a secret away; tokens already issued with it run to their end.
 * @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND; FAILED_PRECONDITION PRINCIPAL_OF_SERVICE for the last lasting one of a service, which
 *   could be used no more as soon as its tokens end
 */
export const removeSecret =
  (at: Instant, secretId: string) =>
  (principal: Principal): readonly PrincipalEvent[] => {
    const { secrets, workload } = existing(principal);
    if (!Object.hasOwn(secrets, secretId)) return [];
    const { [secretId]: _removed, ...left } = secrets;
    const [before, after] = [lastsUntil(secrets), lastsUntil(left)];
    if (workload !== undefined && before > at && after < before && after <= at + reserveMs) {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'PRINCIPAL_OF_SERVICE',
        `the service ${workload} has no other secret that lasts for a day, and without one could be used no more: give it another one in the bootstrap file first, and start it with that`,
        { workload, secret: secretId },
      );
    }
    return [{ type: 'SecretRemoved', secretId, at }];
  };

/**
 * Deletes a principal for good.
 * @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND when it never existed; FAILED_PRECONDITION PRINCIPAL_OF_SERVICE: nothing
 *   gives a service another one, so that it could never act again
 */
export const remove =
  (at: Instant) =>
  (principal: Principal): readonly PrincipalEvent[] => {
    if (principal.status === 'deleted') return [];
    const { tenant, principalType, owner, workload } = existing(principal);
    if (workload !== undefined) {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'PRINCIPAL_OF_SERVICE',
        `this is what the service ${workload} acts as, and cannot be deleted: without it the service could never be used again`,
        { workload },
      );
    }
    return [{ type: 'PrincipalDeleted', tenant, principalType, ...(owner === undefined ? {} : { owner }), at }];
  };

/**
 * Until when the principal is somebody who can get a token with a secret: for ever with one that does not expire, and at no time
 * (`-Infinity`) without any. Those of the services are nobody's.
 */
export const actsUntil = (principal: Principal): Instant =>
  principal.status === 'active' && principal.workload === undefined
    ? lastsUntil(principal.secrets)
    : Number.NEGATIVE_INFINITY;

/** When the last of some secrets ends; at no time (`-Infinity`) where there is none. */
const lastsUntil = (secrets: Readonly<Record<string, Secret>>): Instant =>
  Math.max(...Object.values(secrets).map(({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt));

const isCurrent = ({ expiresAt = Number.POSITIVE_INFINITY }: Secret, at: Instant): boolean => expiresAt > at;

/**
 * Whether one of the principal's secrets has this hash and has not expired. The hashes are of 256-bit random texts, so
 * comparing them tells nothing about the text.
 */
export const hasSecret = (principal: Principal, hash: string, at: Instant): boolean =>
  principal.status === 'active' &&
  Object.values(principal.secrets).some((secret) => secret.hash === hash && isCurrent(secret, at));

const existing = (principal: Principal): Extract<Principal, { status: 'active' }> => {
  if (principal.status === 'active') return principal;
  throw new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', 'no such principal, or it is deleted');
};
