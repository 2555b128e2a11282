import { type CategoryDefinition, type IndexEntry, withSteps } from '@interlock/event-store';
import { names, regionOf, subscriptionOf } from '@interlock/rpc';
import type { SetEvent } from './events.ts';
import { type DiskEncryptionSet, evolve, initial, keyVersionsOf, type SetBody } from './state.ts';

/** Whether a principal remains to be created or deleted. */
export const hasIdentityWork = ({ principal, identity }: SetBody): boolean =>
  identity.retiring.length > 0 || (principal !== '' && !identity.isMade);

/** Sets of one subscription in one region (CMK-140). */
export const regionIndex = (name: string, location: string): IndexEntry => ({
  index: 'region',
  value: `${subscriptionOf(name)}|${regionOf(location)}`,
});

/** Sets that follow the newest version of their key (CMK-81). */
export const followingIndex: IndexEntry = { index: 'following', value: 'newest' };

/** Sets with remaining work: `soon`, or `later` if a user or time must act first. */
export const pendingIndex = (when: 'soon' | 'later'): IndexEntry => ({ index: 'pending', value: when });

const pendingOf = (set: Exclude<DiskEncryptionSet, { status: 'absent' }>): readonly IndexEntry[] => {
  if (set.status === 'deleted') return [];
  const rotation = set.rotation?.progress.status ?? 'finished';
  const isSoon =
    set.status !== 'active' ||
    Object.keys(set.questions).length > 0 ||
    rotation === 'running' ||
    set.following.due !== null ||
    hasIdentityWork(set);
  // A version becomes valid by time alone, without a fact.
  const isEarly = Object.values(set.access).some((one) => one.state === 'lost' && one.reason === 'KEY_NOT_YET_VALID');
  return [
    ...(isSoon ? [pendingIndex('soon')] : []),
    ...(rotation === 'waiting' || isEarly || set.following.error !== null ? [pendingIndex('later')] : []),
  ];
};

/** The question whether a set may use a key version. */
export const questionOf = (keyVersion: string): string => `question/${keyVersion}`;

/**
 * The processes of a set that an event starts or advances: `life` is its creation and deletion, `generation` a change of its key or
 * identity, `rotation` the moves of that change, `identity` the principals to create and delete, `following` the search for a
 * newer version.
 */
function processesOf(event: SetEvent): readonly string[] {
  switch (event.type) {
    case 'SetCreating':
    case 'SetDeleting':
    case 'SetReleased':
      return ['life'];
    case 'SetCreated':
      return ['life', 'following'];
    case 'SetOptionsChanged':
    case 'NewerVersionNoticed':
      return ['following'];
    case 'KeyAssigned':
      return ['generation', 'rotation'];
    case 'IdentityReplaced':
      return ['generation', 'rotation', 'identity'];
    case 'IdentityRemoved':
      return ['identity'];
    case 'RotationProgressed':
    case 'RotationWaiting':
    case 'RotationResumed':
      return ['rotation'];
    case 'KeyAccessQuestioned':
    case 'KeyAccessLost':
    case 'KeyAccessBarred':
      return [questionOf(event.keyVersion)];
    default:
      return [];
  }
}

/** Sets and their indexes: what facts of key-vault and identity name, region, and remaining work. */
export const sets: CategoryDefinition<DiskEncryptionSet, SetEvent> = {
  name: 'set',
  readable: [
    ...(['key', 'tenant', 'location', 'encryptionType', 'principal', 'requestedKey', 'requestedOptions'] as const),
    ...(['requestedIdentity', 'userAssigned'] as const),
    ...([
      'reason',
      'keyVersion',
      'previousKeyVersion',
      'generation',
      'keyExpiry',
      'autoRestart',
      'autoKeyRotation',
      'spread',
    ] as const),
    ...(['epoch', 'since', 'traceId', 'partial', 'granted', 'position', 'code', 'message', 'at'] as const),
    ...(['resourcesCount', 'doneCount'] as const),
  ],
  stateVersion: 9,
  initial,
  evolve: withSteps(evolve, processesOf),
  isGone: ({ status }) => status === 'absent' || status === 'deleted',
  indexes: (set, name) => {
    if (set.status === 'absent' || set.status === 'deleted') return [];
    const versions = keyVersionsOf(set);
    const ids = versions.map((version) => names.keyVersion.parse(version, 'key_version'));
    const keys = new Set(ids.map((id) => names.key.format(id)));
    const vaults = new Set(ids.map((id) => names.vault.format(id)));
    return [
      ...versions.map((value) => ({ index: 'keyVersion', value })),
      ...[...keys].map((value) => ({ index: 'key', value })),
      ...[...vaults].map((value) => ({ index: 'vault', value })),
      ...(set.principal === '' ? [] : [{ index: 'principal', value: set.principal }]),
      regionIndex(name, set.location),
      ...(set.options.autoKeyRotation ? [followingIndex] : []),
      ...pendingOf(set),
    ];
  },
};
