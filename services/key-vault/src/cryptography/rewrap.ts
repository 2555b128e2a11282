import { setOperations, setPermissions } from '@interlock/access';
import {
  type RewrapKeysRequest,
  type RewrapKeysResponse,
  RewrapRequest,
  type RewrapResponse,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, names, principalOf } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import type { AuditSubjects } from '../audit/draft.ts';
import type { AuditedCall, AuditedItem, AuditLog } from '../audit/log.ts';
import type { RewrapAuthorization } from '../key/events.ts';
import { exists, isAuthorizationValid, isSameAuthorization, type KeyVersion, versionOf } from '../key/key.ts';
import { obstacleOf } from '../key/usability.ts';
import { parseVersion, versionName } from '../names.ts';
import type { ExistingVault } from '../vault/vault.ts';
import { encryptionAlgorithm } from './api.ts';
import type { SettleBatch } from './batch.ts';
import { explained } from './explained.ts';
import {
  type CryptographyParts,
  checkGranted,
  type KeyUse,
  lookAt,
  type ObservedKey,
  refusal,
  useKey,
  useKeyTogether,
} from './use.ts';

/** Obstacles of a source that the owner's authorization overcomes; a purge or a deleted vault it does not. */
const overcome: ReadonlySet<string> = new Set(['KEY_DISABLED', 'KEY_DELETED']);
/** Dates never prevent an unwrap (KV-13, CMK-124). */
const harmless: ReadonlySet<string> = new Set(['KEY_EXPIRED', 'KEY_NOT_YET_VALID']);

/**
 * Moves a wrapped key from one version to another inside the vault: no service outside holds it in plain text, and it is under
 * a customer's key at every moment (CMK-15). A disabled or deleted source needs its owner's recorded authorization. For
 * both versions the identity needs all that an access check requires: an owner who removes any of it has revoked the key
 * (CMK-25), and a caller that controls only the set must not evade that with its own key (CMK-10).
 */
export const rewrapApi = (parts: CryptographyParts & { readonly log: AuditLog; readonly settleBatch: SettleBatch }) => {
  const rewrap = rewrapUse(parts);
  const rewrapTogether = parts.log.auditedTogether('KeyRewrap', (items: readonly AuditedItem<RewrapRequest>[]) =>
    useKeyTogether(parts, rewrap, items),
  );
  return {
    rewrap: parts.log.audited('KeyRewrap', (request: RewrapRequest, call: Call, entry) =>
      useKey(parts, rewrap, { request, call, entry }),
    ),
    async rewrapKeys({ items }: RewrapKeysRequest, call: Call): Promise<RewrapKeysResponse> {
      const outcomes = await parts.settleBatch(
        items,
        call,
        ({ rewrap = RewrapRequest.create() }) => rewrap,
        rewrapTogether,
      );
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome
              ? { $case: 'rewrapped', value: outcome.answer }
              : { $case: 'refused', value: outcome.refused },
        })),
      };
    },
  };
};

/** Between which versions keys may be moved, and as of which epoch. */
interface Movable {
  /** Id of the source's vault. */
  readonly source: string;
  /** The source's vault. */
  readonly owner: ExistingVault;
  readonly target: string;
  readonly diskEncryptionSet: string;
  readonly from: KeyVersion;
  readonly into: KeyVersion;
  readonly epoch: number;
}

const rewrapUse = (parts: CryptographyParts): KeyUse<RewrapRequest, Movable, RewrapResponse> => {
  const { engine, material, clock } = parts;
  return {
    resource: ({ resource, diskEncryptionSet }) => resource || diskEncryptionSet,
    question: ({ sourceKeyVersion, targetKeyVersion, diskEncryptionSet }) =>
      `rewrap ${sourceKeyVersion} ${targetKeyVersion} ${diskEncryptionSet}`,
    judge: (request, call, subjects) => judge(parts, request, call, subjects),
    attributes: ({ target, diskEncryptionSet }) => ({
      [DomainAttribute.keyVersion]: target,
      [DomainAttribute.diskEncryptionSet]: diskEncryptionSet,
    }),
    async perform({ source, owner, target, from, into, epoch }, request, entry) {
      const algorithm = encryptionAlgorithm(request.algorithm);
      // The unwrap is the expensive part.
      parts.limits.admitToVault(source);
      const wrappedKey = await engine.rewrap(material.rsaKey(from, owner), material.rsaKey(into, owner), {
        sourceAlgorithm: algorithm,
        targetAlgorithm: algorithm,
        value: request.wrappedKey,
      });
      entry.alongside(parts.uses.wrappedBy(target, clock.now()));
      return { keyVersion: target, wrappedKey, accessEpoch: epoch };
    },
  };
};

/** Between which versions a set's keys may move. */
const judge = async (
  parts: CryptographyParts,
  request: Pick<RewrapRequest, 'sourceKeyVersion' | 'targetKeyVersion' | 'diskEncryptionSet'>,
  call: AuditedCall,
  subjects: AuditSubjects,
): Promise<Movable> => {
  const { guard, clock } = parts;
  const source = parseVersion(request.sourceKeyVersion, 'source_key_version');
  const target = parseVersion(request.targetKeyVersion, 'target_key_version');
  names.diskEncryptionSet.parse(request.diskEncryptionSet, 'disk_encryption_set');
  const sourceName = versionName(source.key, source.version);
  const targetName = versionName(target.key, target.version);

  const looks = [
    lookAt(parts, source, call, subjects, 'FAILED_PRECONDITION'),
    lookAt(parts, target, call, subjects, 'FAILED_PRECONDITION'),
  ] as const;
  // Both are known before either refuses: each vault records the rewrap, also if the other vault is gone (G9).
  await Promise.allSettled(looks);
  subjects.about(source.key, source.version);
  // In one vault the audit entry names the target version; in two vaults each entry names its own version.
  subjects.about(target.key, target.version);
  const [from, into] = await Promise.all(looks);
  const ofSource = await explained(parts, source, call, from, () =>
    guard.permit(source.vault, from.vault, source.key, setPermissions, call),
  );
  const now = clock.now();
  const ofTarget = await explained(parts, target, call, into, async () => {
    const turned = await guard.permit(target.vault, into.vault, target.key, setPermissions, call);
    const obstacle = obstacleOf(into.vault, into.key, target.version, now);
    if (obstacle) throw refusal(targetName, obstacle, 'wrapKey');
    return turned;
  });
  // As in an access check: the grant needs an epoch above the record that access is restored.
  if (ofSource === 'returned' || ofTarget === 'returned') return judge(parts, request, call, subjects);
  const word = {
    source: source.version,
    target: targetName,
    principal: principalOf(call).name,
    diskEncryptionSet: request.diskEncryptionSet,
  };
  await explained(parts, source, call, from, async () => checkSource(from, sourceName, word, now));
  checkProtection(from.vault, into.vault, targetName);

  const sourceVersion = versionOf(from.key, source.version);
  const targetVersion = versionOf(into.key, target.version);
  if (!sourceVersion || !targetVersion) throw new Error('versions without an obstacle exist');
  await explained(parts, source, call, from, async () => checkGranted(sourceName, sourceVersion, setOperations));
  await explained(parts, target, call, into, async () => checkGranted(targetName, targetVersion, setOperations));
  const { diskEncryptionSet } = request;
  const { epoch } = into;
  return {
    source: source.vault,
    owner: from.vault,
    target: targetName,
    diskEncryptionSet,
    from: sourceVersion,
    into: targetVersion,
    epoch,
  };
};

const checkSource = (
  { vault, key }: ObservedKey,
  name: string,
  word: Omit<RewrapAuthorization, 'authorizedBy'>,
  now: number,
): void => {
  const obstacle = obstacleOf(vault, key, word.source, now);
  // Dates precede a deleted vault or key in the order of reasons, so the deletion is checked without dates.
  const behindDates = obstacle && harmless.has(obstacle.reason) ? deletion(vault, key) : obstacle;
  if (!behindDates) return;
  const isGiven =
    exists(key) &&
    key.authorizations.some(
      (one) => isSameAuthorization(one, { ...word, authorizedBy: '' }) && isAuthorizationValid(one, vault),
    );
  if (isGiven && vault.status === 'active' && overcome.has(behindDates.reason)) return;
  throw refusal(name, behindDates, 'unwrapKey');
};

const deletion = (vault: ExistingVault, key: ObservedKey['key']) => {
  if (key.status === 'deleted') return { reason: 'KEY_DELETED', since: key.deletedAt } as const;
  return vault.status === 'active' ? undefined : ({ reason: 'VAULT_DELETED', since: vault.deletedAt } as const);
};

/** Data under a key with purge protection must not move under a key without it. */
const checkProtection = (source: ExistingVault, target: ExistingVault, targetName: string): void => {
  if (!source.purgeProtected || target.purgeProtected) return;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'TARGET_WEAKER_PROTECTED',
    'the vault of the source is purge protected and the vault of the target is not: enable purge protection there first',
    { key_version: targetName },
  );
};
