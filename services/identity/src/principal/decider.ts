import { type CategoryDefinition, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { PrincipalEvent, PrincipalType } from './events.ts';

/** A secret of a principal, by hash; or a certificate. */
export interface Secret {
  readonly hash: string;
  /** X.509, PEM. */
  readonly certificate?: string;
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
 * A user, an application or a managed identity.
 *
 *   absent ──create──▶ active ──delete──▶ deleted
 *
 * A deleted principal stays stored: its id is never used again (CMK-39), and its tokens are refused at the next check.
 */
export type Principal =
  | { readonly status: 'absent' }
  | ({ readonly status: 'active'; readonly secrets: Readonly<Record<string, Secret>> } & Profile)
  | ({ readonly status: 'deleted'; readonly deletedAt: Instant } & Profile);

/** Longest display name, in characters. */
const maxDisplayNameLength = 256;
/** How long another secret must last where one is needed, in ms: there must be time to add a third. */
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
  readable: ['tenant', 'principalType', 'displayName', 'owner', 'workload', 'secretId', 'expiresAt', 'at'],
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

/** Profile of a new principal. */
export type NewPrincipal = Omit<Profile, 'createdAt'>;

/**
 * Creates a principal under the id its creator chose; a repeat has no effect.
 * @throws Rejection INVALID_ARGUMENT DISPLAY_NAME_INVALID; ALREADY_EXISTS PRINCIPAL_ALREADY_EXISTS when the id is taken by
 *   another principal, also a deleted one
 */
export const create =
  (at: Instant, profile: NewPrincipal) =>
  (principal: Principal): readonly PrincipalEvent[] => {
    if (profile.displayName.length === 0 || profile.displayName.length > maxDisplayNameLength) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'DISPLAY_NAME_INVALID',
        `display_name must have 1 to ${maxDisplayNameLength} characters (got ${profile.displayName.length})`,
        { field: 'display_name' },
      );
    }
    if (principal.status === 'absent') return [{ type: 'PrincipalCreated', ...profile, at }];
    if (principal.status === 'deleted') {
      throw taken('principal_id belongs to a deleted principal and cannot be used again: choose another', {
        state: 'DELETED',
      });
    }
    const isSame: Readonly<Record<string, boolean>> = {
      tenant: principal.tenant === profile.tenant,
      type: principal.principalType === profile.principalType,
      display_name: principal.displayName === profile.displayName,
      owner: principal.owner === profile.owner,
      workload: principal.workload === profile.workload,
    };
    const differing = Object.keys(isSame).filter((field) => isSame[field] !== true);
    if (differing.length === 0) return [];
    const differs = differing.join(', ');
    throw taken(`principal_id exists with another ${differs}: choose another`, { differs });
  };

const taken = (message: string, facts: Readonly<Record<string, string>>): Rejection =>
  new Rejection('ALREADY_EXISTS', 'PRINCIPAL_ALREADY_EXISTS', message, { field: 'principal_id', ...facts });

/**
 * Adds a secret to a user or application.
 * @param hash SHA-256 of the secret text or certificate, base64url
 * @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND; FAILED_PRECONDITION PRINCIPAL_HAS_NO_SECRETS for a managed identity,
 *   TOO_MANY_SECRETS; ALREADY_EXISTS SECRET_ALREADY_EXISTS; INVALID_ARGUMENT EXPIRE_TIME_PAST
 */
export const addSecret = (
  at: Instant,
  secretId: string,
  hash: string,
  expiresAt: Instant | undefined,
  certificate?: string,
) => secretAdded(at, secretId, { hash, expiresAt, certificate }, maxSecrets);

interface GivenSecret {
  readonly hash: string;
  readonly expiresAt?: Instant | undefined;
  readonly certificate?: string | undefined;
}

const secretAdded =
  (at: Instant, secretId: string, { hash, expiresAt, certificate }: GivenSecret, most: number) =>
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
    // The id may be `constructor`, which every object has.
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
    const dated = expiresAt === undefined ? {} : { expiresAt };
    return [{ type: 'SecretAdded', secretId, hash, ...dated, ...(certificate && { certificate }), at }];
  };

/**
 * Adds a secret of the bootstrap. A full list loses an expired secret, else the oldest of the bootstrap; else it exceeds its limit,
 * because no caller can remove a secret before the start succeeds.
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
    const given = secretAdded(at, secretId, { hash }, Number.POSITIVE_INFINITY);
    return [...removed, ...given(removed.reduce(evolve, principal))];
  };

/** Id of a bootstrap secret, by its hash: a repeat adds nothing. */
export const bootstrapSecretId = (hash: string): string => `bootstrap-${hash.slice(0, 8)}`;

/**
 * Removes a secret; its tokens stay valid until they expire.
 * @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND; FAILED_PRECONDITION PRINCIPAL_OF_SERVICE for the last lasting secret of a service
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
        `the service ${workload} has no other secret that lasts for a day: give it another in the bootstrap file first, and start it with that`,
        { workload, secret: secretId },
      );
    }
    return [{ type: 'SecretRemoved', secretId, at }];
  };

/**
 * Deletes a principal.
 * @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND; FAILED_PRECONDITION PRINCIPAL_OF_SERVICE
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
        `this is the principal of the service ${workload} and cannot be deleted`,
        { workload },
      );
    }
    return [{ type: 'PrincipalDeleted', tenant, principalType, ...(owner === undefined ? {} : { owner }), at }];
  };

/** Until when a principal can get tokens with a secret: `Infinity` if one does not expire, `-Infinity` without any and for services. */
export const actsUntil = (principal: Principal): Instant =>
  principal.status === 'active' && principal.workload === undefined
    ? lastsUntil(principal.secrets)
    : Number.NEGATIVE_INFINITY;

/** When the last secret expires; `-Infinity` without any. */
const lastsUntil = (secrets: Readonly<Record<string, Secret>>): Instant =>
  Math.max(...Object.values(secrets).map(({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt));

const isCurrent = ({ expiresAt = Number.POSITIVE_INFINITY }: Secret, at: Instant): boolean => expiresAt > at;

/** Whether an unexpired secret has this hash. The texts have 256 random bits, so the time of the comparison reveals nothing. */
export const hasSecret = (principal: Principal, hash: string, at: Instant): boolean =>
  principal.status === 'active' &&
  Object.values(principal.secrets).some(
    (secret) => secret.hash === hash && secret.certificate === undefined && isCurrent(secret, at),
  );

/** Certificates of a principal that have not expired, PEM. */
export const certificatesOf = (principal: Principal, at: Instant): readonly string[] =>
  principal.status === 'active'
    ? Object.values(principal.secrets).flatMap((secret) =>
        secret.certificate !== undefined && isCurrent(secret, at) ? [secret.certificate] : [],
      )
    : [];

const existing = (principal: Principal): Extract<Principal, { status: 'active' }> => {
  if (principal.status === 'active') return principal;
  throw new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', 'the principal does not exist or is deleted');
};
