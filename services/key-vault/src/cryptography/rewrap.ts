import type { RewrapRequest, RewrapResponse } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, names, principalOf } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { AuditDraft, AuditLog } from '../audit/log.ts';
import { isSameWord, isStanding, versionOf } from '../key/key.ts';
import { obstacleOf } from '../key/usability.ts';
import { parseVersion, versionName } from '../names.ts';
import type { StandingVault } from '../vault/vault.ts';
import { encryptionAlgorithm } from './api.ts';
import { type CryptographyParts, checkOperation, deciding, lookAt, refusal, type Sight } from './use.ts';

/** Obstacles of a source that the owner's word overcomes; a purge or a deleted vault it does not. */
const overcome: ReadonlySet<string> = new Set(['KEY_DISABLED', 'KEY_DELETED']);
/** Dates never lock anybody out of unwrapping (KV-13, CMK-124). */
const harmless: ReadonlySet<string> = new Set(['KEY_EXPIRED', 'KEY_NOT_YET_VALID']);

/**
 * Moves a wrapped key from one version to another inside the vault: nobody ever holds it in plain text, and it is under
 * a customer's key at every moment (CMK-15). A disabled or deleted source needs the recorded word of its owner.
 */
export const rewrapApi = (parts: CryptographyParts & { readonly log: AuditLog }) => ({
  rewrap: parts.log.audited('KeyRewrap', (request: RewrapRequest, call: Call, entry) =>
    deciding(() => rewrap(parts, request, call, entry)),
  ),
});

const rewrap = async (
  parts: CryptographyParts,
  request: RewrapRequest,
  call: Call,
  entry: AuditDraft,
): Promise<RewrapResponse> => {
  const { guard, engine, material, clock } = parts;
  const source = parseVersion(request.sourceKeyVersion, 'source_key_version');
  const target = parseVersion(request.targetKeyVersion, 'target_key_version');
  names.diskEncryptionSet.parse(request.diskEncryptionSet, 'disk_encryption_set');
  const sourceName = versionName(source.key, source.version);
  const targetName = versionName(target.key, target.version);
  entry.forResource(request.resource || request.diskEncryptionSet);
  trace.getActiveSpan()?.setAttributes({
    [DomainAttribute.keyVersion]: targetName,
    [DomainAttribute.diskEncryptionSet]: request.diskEncryptionSet,
  });

  const from = await lookAt(parts, source, entry, true);
  entry.about(source.key, source.version);
  const into = await lookAt(parts, target, entry, true);
  // In one vault the record names the version the key ends under; in two, each record names its own.
  entry.about(target.key, target.version);
  await guard.permit(source.vault, from.vault, source.key, ['unwrapKey'], call);
  await guard.permit(target.vault, into.vault, target.key, ['wrapKey'], call);

  const now = clock.now();
  const targetObstacle = obstacleOf(into.vault, into.key, target.version, now);
  if (targetObstacle) throw refusal(targetName, targetObstacle, into.epoch, 'wrapKey');
  const word = { source: source.version, target: targetName, principal: principalOf(call).name };
  checkSource(from, sourceName, { ...word, diskEncryptionSet: request.diskEncryptionSet }, now);
  checkProtection(from.vault, into.vault);

  const sourceVersion = versionOf(from.key, source.version);
  const targetVersion = versionOf(into.key, target.version);
  if (!sourceVersion || !targetVersion) throw new Error('versions without an obstacle exist');
  checkOperation(sourceName, sourceVersion, 'unwrapKey');
  checkOperation(targetName, targetVersion, 'wrapKey');
  const algorithm = encryptionAlgorithm(request.algorithm);
  const wrappedKey = await engine.rewrap(material.rsaKey(sourceVersion), material.rsaKey(targetVersion), {
    sourceAlgorithm: algorithm,
    targetAlgorithm: algorithm,
    value: request.wrappedKey,
  });
  return { keyVersion: targetName, wrappedKey, accessEpoch: into.epoch };
};

const checkSource = (
  { vault, key, epoch }: Sight,
  name: string,
  word: { source: string; target: string; principal: string; diskEncryptionSet: string },
  now: number,
): void => {
  const obstacle = obstacleOf(vault, key, word.source, now);
  // A deleted vault or key hides behind a date, because reasons have an order: look at it without dates.
  const behindDates = obstacle && harmless.has(obstacle.reason) ? deletion(vault, key) : obstacle;
  if (!behindDates) return;
  const given = isStanding(key) && key.authorizations.some((one) => isSameWord(one, { ...word, authorizedBy: '' }));
  if (given && vault.status === 'active' && overcome.has(behindDates.reason)) return;
  throw refusal(name, behindDates, epoch, 'unwrapKey');
};

const deletion = (vault: StandingVault, key: Sight['key']) => {
  if (key.status === 'deleted') return { reason: 'KEY_DELETED', since: key.deletedAt } as const;
  return vault.status === 'active' ? undefined : ({ reason: 'VAULT_DELETED', since: vault.deletedAt } as const);
};

/** What is under a key that nobody can purge in haste must not end under one that somebody can. */
const checkProtection = (source: StandingVault, target: StandingVault): void => {
  if (!source.purgeProtected || target.purgeProtected) return;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'TARGET_WEAKER_PROTECTED',
    'the vault of the source is purge protected and the vault of the target is not: enable purge protection there first',
  );
};
