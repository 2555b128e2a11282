import { type CategoryDefinition, type IndexEntry, type Stepping, withSteps } from '@interlock/event-store';
import { subscriptionOf } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { NewVault, VaultEvent } from './events.ts';

/** A vault that is not purged. */
export interface Profile extends NewVault {
  /** As created, to recognise a repeated creation: these may have changed since. */
  readonly asCreated: Pick<NewVault, 'permissionModel' | 'accessPolicies' | 'purgeProtected'>;
  readonly createdAt: Instant;
  /** Position in identity's feed of the newest recorded change, by role assignment, principal or answer. */
  readonly grantChanges: Readonly<Record<string, number>>;
  /** Uses that identity refused at its last answer: `answerOf(principal, key)`. */
  readonly refusedAnswers?: readonly string[];
  /** How often it was deleted: a deletion cancels earlier owner's authorizations (CMK-10). Absent: never. */
  readonly deletionCount?: number;
}

/** Name of identity's answer about a principal and a key in `grantChanges`. */
export const answerOf = (principal: string, key: string): string => `answers/${principal}/${key}`;

/** Position of the newest recorded change at identity: older answers of identity are outdated. */
export const identityKnownTo = ({ grantChanges }: Pick<Profile, 'grantChanges'>): number => {
  let newest = 0;
  for (const source in grantChanges) newest = Math.max(newest, grantChanges[source] ?? 0);
  return newest;
};

/**
 * A place for keys.
 *
 *   absent ──create──▶ active ──delete──▶ deleted ──purge──▶ purging ──keys gone──▶ purged ──create──▶ active
 *                         ◀────recover───────┘
 *
 * While `purging` the keys are purged one by one; the name is free when no key is left.
 */
export type Vault = Stepping &
  (
    | { readonly status: 'absent' }
    | ({ readonly status: 'active' } & Profile)
    | ({ readonly status: 'deleted'; readonly deletedAt: Instant; readonly purgeAt: Instant } & Profile)
    | ({ readonly status: 'purging'; readonly deletedAt: Instant; readonly purgeAt: Instant } & Profile)
    | { readonly status: 'purged'; readonly purgedAt: Instant }
  );

export type ActiveVault = Extract<Vault, { status: 'active' }>;
/** A vault that has grants and keys, usable or not. */
export type ExistingVault = Extract<Vault, { status: 'active' | 'deleted' | 'purging' }>;

export const initial: Vault = { status: 'absent' };

export const evolve = (vault: Vault, event: VaultEvent): Vault => {
  switch (event.type) {
    case 'VaultCreated': {
      const { type: _type, at, ...created } = event;
      const { permissionModel, accessPolicies, purgeProtected } = created;
      const asCreated = { permissionModel, accessPolicies, purgeProtected };
      return { status: 'active', ...created, asCreated, createdAt: at, grantChanges: {} };
    }
    case 'PurgeProtectionEnabled':
      return vault.status === 'active' ? { ...vault, purgeProtected: true } : vault;
    case 'AccessPolicySet': {
      if (vault.status !== 'active') return vault;
      return { ...vault, accessPolicies: { ...vault.accessPolicies, [event.principal]: event.permissions } };
    }
    case 'AccessPolicyRemoved': {
      if (vault.status !== 'active') return vault;
      const { [event.principal]: _removed, ...accessPolicies } = vault.accessPolicies;
      return { ...vault, accessPolicies };
    }
    case 'NetworkRulesSet':
      return vault.status === 'active' ? { ...vault, networkRules: event.networkRules } : vault;
    case 'PermissionModelSet':
      return vault.status === 'active' ? { ...vault, permissionModel: event.permissionModel } : vault;
    case 'GrantsChanged': {
      if (!exists(vault)) return vault;
      return { ...vault, grantChanges: withChange(vault.grantChanges, event.source, event.position) };
    }
    case 'IdentityAnswerChanged': {
      if (!exists(vault)) return vault;
      const answer = answerOf(event.principal, event.key);
      const others = (vault.refusedAnswers ?? []).filter((refused) => refused !== answer);
      const grantChanges = withChange(vault.grantChanges, answer, event.position);
      return { ...vault, grantChanges, refusedAnswers: event.removed ? [...others, answer] : others };
    }
    case 'VaultDeleted': {
      if (vault.status !== 'active') return vault;
      const deletionCount = (vault.deletionCount ?? 0) + 1;
      return { ...vault, status: 'deleted', deletedAt: event.at, purgeAt: event.purgeAt, deletionCount };
    }
    case 'VaultRecovered': {
      if (vault.status !== 'deleted') return vault;
      const { deletedAt: _deletedAt, purgeAt: _purgeAt, ...profile } = vault;
      return { ...profile, status: 'active' };
    }
    case 'VaultPurgeStarted':
      return vault.status === 'deleted' ? { ...vault, status: 'purging' } : vault;
    case 'VaultPurged':
      return vault.status === 'purging' ? { status: 'purged', purgedAt: event.at } : vault;
  }
};

/** Changes at identity that a vault remembers. A fact that is delivered twice is among the newest. */
const grantChangesMax = 256;

/** Adds a change and drops the oldest: otherwise a vault would grow with every change of a role. */
const withChange = (seen: Profile['grantChanges'], source: string, position: number): Profile['grantChanges'] => {
  const changes = { ...seen, [source]: position };
  const all = Object.entries(changes);
  if (all.length <= grantChangesMax) return changes;
  return Object.fromEntries(all.toSorted(([, one], [, other]) => other - one).slice(0, grantChangesMax));
};

export const exists = (vault: Vault): vault is ExistingVault =>
  vault.status === 'active' || vault.status === 'deleted' || vault.status === 'purging';

/** When the service itself must purge the vault, or continue to (KV-63); `undefined`: never. */
export const dueTime = (vault: Vault): Instant | undefined => {
  if (vault.status === 'deleted') return vault.purgeAt;
  return vault.status === 'purging' ? 0 : undefined;
};

/** How vaults are stored and listed: by resource group, subscription and tenant, by principals in policies, by due work. */
export const vaults: CategoryDefinition<Vault, VaultEvent> = {
  name: 'vault',
  readable: [
    ...(['resourceGroup', 'tenant', 'location', 'sku', 'permissionModel', 'accessPolicies', 'retentionDays'] as const),
    ...([
      'purgeProtected',
      'networkRules',
      'principal',
      'permissions',
      'source',
      'position',
      'key',
      'removed',
      'purgeAt',
      'at',
    ] as const),
  ],
  stateVersion: 1,
  initial,
  evolve: withSteps(evolve, ({ type }) => (type === 'VaultDeleted' ? ['purge'] : [])),
  indexes: (vault) => {
    if (!exists(vault)) return [];
    const places = [vault.resourceGroup, subscriptionOf(vault.resourceGroup)];
    const entry =
      (index: string) =>
      (value: string): IndexEntry => ({ index, value });
    return [
      ...(vault.status === 'active' ? places.map(entry('in')) : []),
      ...places.map(entry('in_or_deleted')),
      entry('tenant')(vault.tenant),
      ...Object.keys(vault.accessPolicies).map(entry('principal')),
      ...(dueTime(vault) === undefined ? [] : [entry('due')('pending')]),
    ];
  },
};
