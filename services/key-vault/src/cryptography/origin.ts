import { type EventStore, eventReader, type RecordedEvent } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyEvent, KeyOperation } from '../key/events.ts';
import { type KeyVersion, keys } from '../key/key.ts';
import { diskOperations, withheldOf } from '../key/usability.ts';
import type { KeyPermission, VaultEvent } from '../vault/events.ts';
import { evolve, initial, isStanding, type Vault, vaults } from '../vault/vault.ts';

/** What took access away: the commit a refusal goes back to (G10). */
export interface LossOrigin {
  /** Its number: every grant at a lower one is concerned. */
  readonly position: number;
  readonly since: Instant;
  /** Trace context of that commit, not of the request that met the refusal; undefined when it was not traced. */
  readonly traceparent: string | undefined;
}

/** Versions of the streams of a vault and a key at which a decision was taken. */
export interface Seen {
  readonly vaultVersion: number;
  readonly keyVersion: number;
}

/** A refusal in search of its origin. */
export interface RefusedUse {
  readonly seen: Seen;
  readonly reason: string;
  /** Last segment of the vault's name. */
  readonly vault: string;
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  /** Id of the version; absent where none is known. */
  readonly version?: string | undefined;
  /** `principals/<id>` */
  readonly principal: string;
  /** What it lacks; empty where the refusal is not about grants. */
  readonly permissions: readonly KeyPermission[];
  /** What the version is not for; empty where the refusal is not about its operations. */
  readonly operations: readonly KeyOperation[];
}

interface Told<Event> {
  readonly recorded: RecordedEvent;
  readonly event: Event;
}

const vaultEvent = eventReader(vaults);
const keyEvent = eventReader(keys);

/** Finds the origin of a refusal in the stored events; `undefined` where access was never there to be taken. */
export const findOrigin = async (store: EventStore, use: RefusedUse): Promise<LossOrigin | undefined> => {
  const isOfVault =
    use.reason === 'VAULT_DELETED' || use.reason === 'ACCESS_DENIED' || use.reason === 'IDENTITY_DELETED';
  if (isOfVault && use.operations.length === 0) {
    const events = (await store.read(`vault-${use.vault}`)).flatMap((recorded): Told<VaultEvent>[] => {
      const read = vaultEvent(recorded);
      return read && isSeen(recorded, use.seen.vaultVersion, use.reason) ? [{ recorded, event: read.event }] : [];
    });
    if (use.reason === 'VAULT_DELETED') return originAt(events.findLast(({ event }) => event.type === 'VaultDeleted'));
    return use.reason === 'IDENTITY_DELETED' ? identityDeletion(events, use) : grantTaken(events, use);
  }
  const events = (await store.read(`key-${use.key}`)).flatMap((recorded): Told<KeyEvent>[] => {
    const read = keyEvent(recorded);
    return read && isSeen(recorded, use.seen.keyVersion, use.reason) ? [{ recorded, event: read.event }] : [];
  });
  return keyLoss(events, use);
};

/**
 * What a request itself puts on record about a refusal for that reason, after it has read the state. Committed only where
 * the reason still holds then, so the number of such a note is one at which the refusal is true, whatever else came in between.
 * To a refusal for another reason the same event is news that it has not seen.
 */
const notes: Readonly<Record<string, RecordedEvent['type']>> = {
  KEY_EXPIRED: 'KeyVersionExpired',
  ACCESS_DENIED: 'IdentityAnswerChanged',
  IDENTITY_DELETED: 'IdentityAnswerChanged',
};

const isSeen = ({ type, version }: RecordedEvent, seenVersion: number, reason: string): boolean =>
  version <= seenVersion || notes[reason] === type;

const originAt = (
  told: Told<{ readonly at: Instant }> | undefined,
  since?: Instant,
  position?: number,
): LossOrigin | undefined =>
  told && {
    position: position ?? told.recorded.position,
    since: since ?? told.event.at,
    traceparent: told.recorded.cause.traceparent,
  };

const keyLoss = (events: readonly Told<KeyEvent>[], use: RefusedUse): LossOrigin | undefined => {
  // Whatever else ended the use of this version is in what the refusal saw: the number is that of the last.
  const position = events.findLast(({ event }) => endsUse(event, use.version))?.recorded.position;
  switch (use.reason) {
    case 'KEY_DISABLED':
      return originAt(
        events.findLast(({ event }) => isDisabling(event, use.version)),
        undefined,
        position,
      );
    case 'KEY_DELETED':
      return originAt(
        events.findLast(({ event }) => event.type === 'KeyDeleted'),
        undefined,
        position,
      );
    case 'KEY_PURGED':
      return originAt(events.findLast(({ event }) => event.type === 'KeyPurged'));
    case 'KEY_NOT_YET_VALID': {
      const { told } = notValidSince(events, use.version) ?? {};
      return originAt(told, undefined, position);
    }
    case 'KEY_EXPIRED': {
      const { told, since } = expiredSince(events, use.version) ?? {};
      return originAt(told, since, position);
    }
    case 'ACCESS_DENIED':
    case 'KEY_OPERATION_NOT_ALLOWED':
      return originAt(operationsTaken(events, use), undefined, position);
    default:
      return undefined;
  }
};

/** Where access by the dates of a version ended. */
interface DatesEnd {
  readonly told: Told<KeyEvent>;
  readonly since: Instant;
}

/** An event about the dates of a version, with those it gives. */
const datesSet = (events: readonly Told<KeyEvent>[], version: string | undefined) =>
  events.flatMap((told) => {
    const dates = datesOf(told.event, version);
    return dates === undefined ? [] : [{ told, ...dates }];
  });

/** Since when a version is over: another date that is over as well, set meanwhile, takes nothing away any more. */
const expiredSince = (events: readonly Told<KeyEvent>[], version: string | undefined): DatesEnd | undefined => {
  let found: DatesEnd | undefined;
  /** The date that counted up to the event that is looked at. */
  let before: DatesEnd | undefined;
  for (const { told, expiresAt } of datesSet(events, version)) {
    const { type, at } = told.event;
    const isNewLife = type === 'KeyRestored';
    if (isNewLife || expiresAt === undefined || (expiresAt > at && type !== 'KeyVersionExpired')) found = undefined;
    else if (type === 'KeyVersionExpired') found ??= { told, since: expiresAt };
    else if (before !== undefined && before.since <= at) found ??= before;
    // An end set into the past takes access away when it is set.
    if (expiresAt !== undefined && expiresAt <= at) found ??= { told, since: at };
    before = expiresAt === undefined ? undefined : { told, since: expiresAt };
  }
  return found ?? (before && { ...before, since: Math.max(before.since, before.told.event.at) });
};

/** Since when a version is not valid yet: a later beginning in place of one that has not come takes nothing away any more. */
const notValidSince = (events: readonly Told<KeyEvent>[], version: string | undefined): DatesEnd | undefined => {
  let found: DatesEnd | undefined;
  let beginsAt: Instant = Number.NEGATIVE_INFINITY;
  for (const { told, notBefore = Number.NEGATIVE_INFINITY } of datesSet(events, version)) {
    // An end that came says nothing of the beginning, which has come before it.
    if (told.event.type === 'KeyVersionExpired') continue;
    const { type, at } = told.event;
    if (type === 'KeyRestored' || beginsAt <= at) found = undefined;
    found = notBefore > at ? (found ?? { told, since: at }) : undefined;
    beginsAt = notBefore;
  }
  return found;
};

/** The event since which not all of the operations were there. */
const operationsTaken = (
  events: readonly Told<KeyEvent>[],
  { version, operations }: RefusedUse,
): Told<KeyEvent> | undefined => {
  let taken: Told<KeyEvent> | undefined;
  for (const told of events) {
    const set = operationsSetBy(told.event, version);
    if (set === undefined) continue;
    taken = withheldOf(set, operations).length === 0 ? undefined : (taken ?? told);
  }
  return taken;
};

/** What a version is for since an event; undefined where that is about something else. */
const operationsSetBy = (event: KeyEvent, version: string | undefined): Pick<KeyVersion, 'operations'> | undefined => {
  if (event.type === 'KeyRestored') return event.versions.find((one) => one.version === version);
  const isAboutOperations = event.type === 'KeyOperationsSet' || event.type === 'KeyVersionCreated';
  return isAboutOperations && event.version === version ? event : undefined;
};

const isDisabling = (event: KeyEvent, version: string | undefined): boolean => {
  if (event.type === 'KeyRestored') return event.versions.some((one) => one.version === version && !one.enabled);
  if (event.type === 'KeyVersionCreated') return event.version === version && !event.enabled;
  return event.type === 'KeyVersionDisabled' && event.version === version;
};

/** The window of use an event gives to a version, or the end of it that came. */
const datesOf = (
  event: KeyEvent,
  version: string | undefined,
): { readonly notBefore?: Instant; readonly expiresAt?: Instant } | undefined => {
  if (event.type === 'KeyRestored') return event.versions.find((one) => one.version === version);
  const isAboutDates =
    event.type === 'KeyVersionDatesSet' || event.type === 'KeyVersionExpired' || event.type === 'KeyVersionCreated';
  return isAboutDates && event.version === version ? event : undefined;
};

const endsUse = (event: KeyEvent, version: string | undefined): boolean =>
  event.type === 'KeyDeleted' ||
  event.type === 'KeyPurged' ||
  isDisabling(event, version) ||
  datesOf(event, version) !== undefined ||
  withheldOf(operationsSetBy(event, version) ?? { operations: diskOperations }, diskOperations).length > 0;

/** Identity's own word is the best origin; what a request here met first is one as long as that has not arrived. */
const identityDeletion = (events: readonly Told<VaultEvent>[], { principal }: RefusedUse): LossOrigin | undefined => {
  const taken = events.filter(
    ({ event }) =>
      (event.type === 'GrantsChanged' || event.type === 'IdentityAnswerChanged') &&
      event.principal === principal &&
      event.removed,
  );
  const named =
    taken.findLast(({ event }) => event.type === 'GrantsChanged' && event.source === principal) ??
    // In a vault with roles nothing names the principal but its roles, which go with it.
    taken.findLast(({ event }) => event.type === 'GrantsChanged') ??
    taken.at(-1);
  return originAt(named, undefined, taken.at(-1)?.recorded.position);
};

/** The last event after which the principal lacked what it held before, under the permission model in force. */
const grantTaken = (
  events: readonly Told<VaultEvent>[],
  { principal, key, permissions }: RefusedUse,
): LossOrigin | undefined => {
  let vault: Vault = initial;
  let byPolicy: Told<VaultEvent> | undefined;
  /** Everything that took roles away since any were last given, and before that: what was given may be another role. */
  let byRole: readonly Told<VaultEvent>[] = [];
  let byRoleBefore: readonly Told<VaultEvent>[] = [];
  const holdsPolicy = (state: Vault): boolean => {
    const held = isStanding(state) ? (state.accessPolicies[principal] ?? []) : [];
    return held.includes('all') || permissions.every((permission) => held.includes(permission));
  };
  for (const told of events) {
    const { event } = told;
    const before = vault;
    vault = evolve(vault, event);
    if (event.type === 'VaultCreated') {
      byPolicy = undefined;
      byRole = [];
      byRoleBefore = [];
    }
    if (holdsPolicy(vault)) byPolicy = undefined;
    else if (holdsPolicy(before) || isSwitchTo('access_policy', event)) byPolicy = told;
    if (isSwitchTo('role_assignment', event)) {
      byRole = [told];
      byRoleBefore = [];
    }
    if (event.type === 'VaultDeleted') byRole = [...byRole, told];
    if (event.type === 'GrantsChanged' || event.type === 'IdentityAnswerChanged') {
      const isAboutIt = event.principal === principal && (event.key === undefined || event.key === key);
      if (isAboutIt && event.removed) byRole = [...byRole, told];
      // A role that was given says nothing of whether it suffices; a yes of identity to all that is needed does.
      if (isAboutIt && !event.removed) {
        byRoleBefore = event.type === 'GrantsChanged' ? [...byRoleBefore, ...byRole] : [];
        byRole = [];
      }
    }
  }
  if (!isStanding(vault)) return undefined;
  if (vault.permissionModel === 'access_policy') return originAt(byPolicy);
  const taken = byRole.length > 0 ? byRole : byRoleBefore;
  const newest = taken.at(-1);
  const named = taken.findLast(({ event }) => event.type !== 'IdentityAnswerChanged') ?? newest;
  return originAt(named, undefined, newest?.recorded.position);
};

const isSwitchTo = (model: 'access_policy' | 'role_assignment', event: VaultEvent): boolean =>
  event.type === 'PermissionModelSet' && event.permissionModel === model;
