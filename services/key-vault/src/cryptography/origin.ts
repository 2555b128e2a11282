import { type EventStore, eventReader, type RecordedEvent } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { type Ended, expiryOf } from '../key/ends.ts';
import type { KeyOperation } from '../key/events.ts';
import { exists as hasVersions, type Key, versionOf } from '../key/key.ts';
import type { KeyPermission, VaultEvent } from '../vault/events.ts';
import { servesTrusted } from '../vault/network-rules.ts';
import { evolve, exists, initial, type Vault, vaults } from '../vault/vault.ts';

/** The commit that took access away: the cause of a refusal (G10). */
export interface LossOrigin {
  /** Its number: every grant at a lower one is concerned. */
  readonly position: number;
  readonly since: Instant;
  /** Trace context of that commit, not of the refused request; undefined if it was not traced. */
  readonly traceparent: string | undefined;
  /** Id of its event. */
  readonly event: string;
  readonly correlationId: string;
}

/** Versions of the streams of a vault and a key that a judgement was based on. */
export interface Seen {
  readonly vaultVersion: number;
  readonly keyVersion: number;
}

/** A refusal and what it was based on. */
export interface RefusedUse {
  readonly seen: Seen;
  readonly reason: string;
  /** Last segment of the vault's name. */
  readonly vault: string;
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  /** The key at `seen.keyVersion`. */
  readonly state: Key;
  /** Id of the version; absent if it is not known. */
  readonly version?: string | undefined;
  /** `principals/<id>` */
  readonly principal: string;
  /** The missing permissions; empty if the refusal is not about grants. */
  readonly permissions: readonly KeyPermission[];
  /** Whether the network rules of the vault refused the caller. */
  readonly isOfNetwork?: boolean;
  /** The operations that the version does not allow; empty if the refusal is not about its operations. */
  readonly operations: readonly KeyOperation[];
}

interface ReadEvent<Event> {
  readonly recorded: RecordedEvent;
  readonly event: Event;
}

const vaultEvent = eventReader(vaults);

/** The commit behind a refusal; `undefined` if there was no access before. */
export const findOrigin = (store: EventStore, use: RefusedUse): Promise<LossOrigin | undefined> => {
  const isOfVault =
    use.reason === 'VAULT_DELETED' || use.reason === 'ACCESS_DENIED' || use.reason === 'IDENTITY_DELETED';
  return isOfVault && use.operations.length === 0 ? vaultOrigin(store, use) : keyOrigin(store, use);
};

/**
 * The state of the key says since when and by which event. The number is that of the last event of the key that the judgement
 * saw: whatever else ended access is among them, and what was committed later had no part in the refusal.
 */
const keyOrigin = async (store: EventStore, use: RefusedUse): Promise<LossOrigin | undefined> => {
  const ended = endOf(use);
  if (ended === undefined) return undefined;
  const events = await store.read(`key-${use.key}`, ended.by - 1);
  const [cause] = events;
  const last = events.findLast(({ version }) => version <= use.seen.keyVersion) ?? cause;
  if (cause === undefined || last === undefined) return undefined;
  return { position: last.position, since: ended.since, ...identityOf(cause) };
};

const identityOf = ({ id, cause }: RecordedEvent): Pick<LossOrigin, 'traceparent' | 'event' | 'correlationId'> => ({
  traceparent: cause.traceparent,
  event: id,
  correlationId: cause.correlationId,
});

const endOf = ({ reason, state, version: id, operations }: RefusedUse): Ended | undefined => {
  if (reason === 'KEY_PURGED') return 'lastPurge' in state ? state.lastPurge : undefined;
  if (reason === 'KEY_DELETED') {
    return state.status === 'deleted' ? { since: state.deletedAt, by: state.deletedBy } : undefined;
  }
  const version = id === undefined || !hasVersions(state) ? undefined : versionOf(state, id);
  if (version === undefined) return undefined;
  const { ends } = version;
  if (reason === 'KEY_DISABLED') return ends.disabled;
  if (reason === 'KEY_NOT_YET_VALID') return ends.notYetValid;
  if (reason === 'KEY_EXPIRED') return expiryOf(version, Number.POSITIVE_INFINITY);
  const withheld = operations.flatMap((operation) => ends.withheld[operation] ?? []);
  return withheld.toSorted((one, other) => one.by - other.by)[0];
};

const vaultOrigin = async (store: EventStore, use: RefusedUse): Promise<LossOrigin | undefined> => {
  const events = (await store.read(`vault-${use.vault}`)).flatMap((recorded): ReadEvent<VaultEvent>[] => {
    const read = vaultEvent(recorded);
    return read && isPartOf(use, recorded.version, read.event) ? [{ recorded, event: read.event }] : [];
  });
  if (use.reason === 'VAULT_DELETED') return originAt(events.findLast(({ event }) => event.type === 'VaultDeleted'));
  if (use.isOfNetwork) return networkClosed(events);
  return use.reason === 'IDENTITY_DELETED' ? identityDeletion(events, use) : grantTaken(events, use);
};

/**
 * Whether an event of the vault is part of a refusal: what the judgement saw, and the note of identity's reply that a refusal
 * for a grant itself stores afterwards. The note is committed only if the reason still holds, so its number is true.
 */
const isPartOf = ({ seen, reason }: RefusedUse, version: number, { type }: VaultEvent): boolean =>
  version <= seen.vaultVersion || (reason !== 'VAULT_DELETED' && type === 'IdentityAnswerChanged');

const originAt = (read: ReadEvent<{ readonly at: Instant }> | undefined, position?: number): LossOrigin | undefined =>
  read && {
    position: position ?? read.recorded.position,
    since: read.event.at,
    ...identityOf(read.recorded),
  };

/** The rules that closed the network, and the number of the newest: grants at lower ones are concerned. */
const networkClosed = (events: readonly ReadEvent<VaultEvent>[]): LossOrigin | undefined => {
  let closed: ReadEvent<VaultEvent> | undefined;
  let newest: ReadEvent<VaultEvent> | undefined;
  for (const read of events) {
    if (read.event.type !== 'NetworkRulesSet') continue;
    newest = read;
    closed = servesTrusted(read.event.networkRules) ? undefined : (closed ?? read);
  }
  return originAt(closed ?? newest, newest?.recorded.position);
};

/** The fact of identity is the best origin; until it arrives, the note of the request that was refused first. */
const identityDeletion = (
  events: readonly ReadEvent<VaultEvent>[],
  { principal }: RefusedUse,
): LossOrigin | undefined => {
  const taken = events.filter(
    ({ event }) =>
      (event.type === 'GrantsChanged' || event.type === 'IdentityAnswerChanged') &&
      event.principal === principal &&
      event.removed,
  );
  const named =
    taken.findLast(({ event }) => event.type === 'GrantsChanged' && event.source === principal) ??
    // In a vault with roles only role assignments name the principal, and they are deleted with it.
    taken.findLast(({ event }) => event.type === 'GrantsChanged') ??
    taken.at(-1);
  return originAt(named, taken.at(-1)?.recorded.position);
};

/** The last event after which the principal lacked what it held before, under the permission model in force. */
const grantTaken = (
  events: readonly ReadEvent<VaultEvent>[],
  { principal, key, permissions }: RefusedUse,
): LossOrigin | undefined => {
  let vault: Vault = initial;
  let byPolicy: ReadEvent<VaultEvent> | undefined;
  /** The events that took roles away since a role was last given, and before that: the given role may be another one. */
  let byRole: readonly ReadEvent<VaultEvent>[] = [];
  let byRoleBefore: readonly ReadEvent<VaultEvent>[] = [];
  const holdsPolicy = (state: Vault): boolean => {
    const held = exists(state) ? (state.accessPolicies[principal] ?? []) : [];
    return held.includes('all') || permissions.every((permission) => held.includes(permission));
  };
  for (const read of events) {
    const { event } = read;
    const before = vault;
    vault = evolve(vault, event);
    if (event.type === 'VaultCreated') {
      byPolicy = undefined;
      byRole = [];
      byRoleBefore = [];
    }
    if (holdsPolicy(vault)) byPolicy = undefined;
    else if (holdsPolicy(before) || isSwitchTo('access_policy', event)) byPolicy = read;
    if (isSwitchTo('role_assignment', event)) {
      byRole = [read];
      byRoleBefore = [];
    }
    if (event.type === 'VaultDeleted') byRole = [...byRole, read];
    if (event.type === 'GrantsChanged' || event.type === 'IdentityAnswerChanged') {
      const isAboutIt = event.principal === principal && (event.key === undefined || event.key === key);
      if (isAboutIt && event.removed) byRole = [...byRole, read];
      // A role that was given may not suffice; a grant of identity for everything that is needed does.
      if (isAboutIt && !event.removed) {
        byRoleBefore = event.type === 'GrantsChanged' ? [...byRoleBefore, ...byRole] : [];
        byRole = [];
      }
    }
  }
  if (!exists(vault)) return undefined;
  if (vault.permissionModel === 'access_policy') return originAt(byPolicy);
  const taken = byRole.length > 0 ? byRole : byRoleBefore;
  const newest = taken.at(-1);
  const named = taken.findLast(({ event }) => event.type !== 'IdentityAnswerChanged') ?? newest;
  return originAt(named, newest?.recorded.position);
};

const isSwitchTo = (model: 'access_policy' | 'role_assignment', event: VaultEvent): boolean =>
  event.type === 'PermissionModelSet' && event.permissionModel === model;
