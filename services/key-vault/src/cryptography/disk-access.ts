import { setOperations, setPermissions } from '@interlock/access';
import type { KeyAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import type {
  AuthorizeRewrapRequest,
  CheckAccessRequest,
  KeyForEncryption,
  ResolveKeyForEncryptionRequest,
  RewrapAuthorization,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import { type Call, names, principalOf, subscriptionOf } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { deniedToOtherTenant } from '../access/other-tenant.ts';
import type { AuditDraft } from '../audit/draft.ts';
import type { AuditLog } from '../audit/log.ts';
import { authorizeRewrap } from '../key/decider.ts';
import { isSameAuthorization, type KeyVersion, versionOf } from '../key/key.ts';
import { obstacleOf } from '../key/usability.ts';
import { operationOnWire } from '../key/wire.ts';
import { type KeyId, type KeyUrls, parseVersion, type VersionId, versionName } from '../names.ts';
import { vaultDeleted } from '../vault/decider.ts';
import type { KeyPermission } from '../vault/events.ts';
import type { ExistingVault } from '../vault/vault.ts';
import { encryptionAlgorithm } from './api.ts';
import { explained } from './explained.ts';
import { type CryptographyParts, checkGranted, deciding, lookAt, refusal } from './use.ts';

type Parts = CryptographyParts & {
  readonly log: AuditLog;
  readonly urls: KeyUrls;
  readonly subscriptions: Pick<Subscriptions, 'has'>;
};

/** The calls of disks and sets besides wrap and unwrap. */
export const diskAccessApi = (parts: Parts) => {
  const { log } = parts;
  return {
    checkAccess: log.audited('KeyCheckAccess', (request: CheckAccessRequest, call: Call, entry) =>
      checkAccess(parts, request, call, entry),
    ),
    resolveKeyForEncryption: log.audited('KeyResolve', (request: ResolveKeyForEncryptionRequest, call: Call, entry) =>
      resolveKey(parts, request, call, entry),
    ),
    authorizeRewrap: log.audited('KeyRewrapAuthorize', (request: AuthorizeRewrapRequest, call: Call, entry) =>
      authorizeMove(parts, request, call, entry),
    ),
  };
};

const checkAccess = async (
  parts: Parts,
  request: CheckAccessRequest,
  call: Call,
  entry: AuditDraft,
): Promise<KeyAccess> => {
  const { clock, guard, engine, material } = parts;
  const id = parseVersion(request.keyVersion, 'key_version');
  const keyVersion = versionName(id.key, id.version);
  entry.forResource(request.resource);
  trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, keyVersion);
  return deciding(async function decide(): Promise<KeyAccess> {
    const observed = await lookAt(parts, id, call, entry, 'FAILED_PRECONDITION');
    const { epoch, vault, key } = observed;
    entry.about(id.key, id.version);
    const { turned, version } = await explained(parts, id, call, observed, async () => {
      const obstacle = obstacleOf(vault, key, id.version, clock.now(), request.allowExpired);
      const refused = obstacle && refusal(keyVersion, obstacle, 'checkAccess');
      const turned = await guard.permit(id.vault, vault, id.key, setPermissions, call, refused);
      if (refused) throw refused;
      const present = versionOf(key, id.version);
      if (!present) throw new Error('a version without an obstacle exists');
      checkGranted(keyVersion, present, setOperations);
      return { turned, version: present };
    });
    // Access is restored after a recorded refusal: the grant needs a number above that record.
    if (turned === 'returned') return decide();
    if (request.wrappedProbe.length > 0) {
      const algorithm = encryptionAlgorithm(request.algorithm);
      const job = { algorithm, value: request.wrappedProbe, urgent: true };
      const unwrapped = await engine.unwrap(material.rsaKey(version, vault), job);
      unwrapped.fill(0);
      entry.renewing(epoch);
    }
    return {
      keyVersion,
      accessEpoch: epoch,
      enabled: true,
      notBefore: version.notBefore === undefined ? undefined : new Date(version.notBefore),
      expireTime: version.expiresAt === undefined ? undefined : new Date(version.expiresAt),
    };
  });
};

/** A set of another tenant learns nothing of the vault, not even whether it exists (CMK-24, KV-82). */
const lookForSet = async (parts: Parts, id: VersionId, set: string, call: Call, entry: AuditDraft) => {
  const observed = await lookAt(parts, id, call, entry, 'FAILED_PRECONDITION').catch((error: unknown) => {
    const isMissing = error instanceof Rejection && error.reason === 'VAULT_NOT_FOUND';
    throw isMissing ? deniedToOtherTenant(set, id.vault) : error;
  });
  const { tenant, resourceGroup } = observed.vault;
  const subscription = subscriptionOf(set);
  const isOwn = subscriptionOf(resourceGroup) === subscription || (await parts.subscriptions.has(tenant, subscription));
  if (!isOwn) throw deniedToOtherTenant(set, id.vault);
  return observed;
};

const resolveKey = async (
  parts: Parts,
  request: ResolveKeyForEncryptionRequest,
  call: Call,
  entry: AuditDraft,
): Promise<KeyForEncryption> => {
  const { clock, urls } = parts;
  const id = urls.parse(request.keyUrl);
  const keyVersion = versionName(id.key, id.version);
  names.diskEncryptionSet.parse(request.resource, 'resource');
  entry.forResource(request.resource);
  const observed = await lookForSet(parts, id, request.resource, call, entry);
  const { vault, key } = observed;
  entry.about(id.key, id.version);
  const version = await explained(parts, id, call, observed, async () => {
    if (vault.status !== 'active') throw vaultDeleted(id.vault);
    const found = versionOf(key, id.version);
    // A disabled or expired version is described, not refused: the caller reports what is wrong with it.
    if (found && key.status === 'active') return found;
    const obstacle = obstacleOf(vault, key, id.version, clock.now());
    throw refusal(keyVersion, obstacle ?? { reason: 'KEY_VERSION_NOT_FOUND' }, 'resolve');
  });
  return keyForEncryption(urls, id, vault, version);
};

const authorizeMove = async (
  parts: Parts,
  request: AuthorizeRewrapRequest,
  call: Call,
  entry: AuditDraft,
): Promise<RewrapAuthorization> => {
  const { clock, keys, guard } = parts;
  const source = parseVersion(request.sourceKeyVersion, 'source_key_version');
  const target = parseVersion(request.targetKeyVersion, 'target_key_version');
  names.principal.parse(request.principal, 'principal');
  names.diskEncryptionSet.parse(request.diskEncryptionSet, 'disk_encryption_set');
  const targetKeyVersion = versionName(target.key, target.version);
  // The service of the set calls for the owner, from its own address.
  const { caller, cause } = call;
  entry.forResource(request.diskEncryptionSet);
  return deciding(async () => {
    const observed = await lookAt(parts, source, call, entry, 'FAILED_PRECONDITION');
    const { epoch, seen, vault, key } = observed;
    entry.about(source.key, source.version);
    await guard.permit(source.vault, vault, source.key, ownerPermissions(key, source.version), { caller, cause });
    if (vault.status !== 'active') throw vaultDeleted(source.vault);
    const authorization = {
      source: source.version,
      target: targetKeyVersion,
      principal: request.principal,
      diskEncryptionSet: request.diskEncryptionSet,
      authorizedBy: principalOf(call).name,
      vaultDeletionCount: vault.deletionCount ?? 0,
    };
    // Only for the key that was judged: one deleted since needs another permission, and cancels authorizations.
    const expected = seen.keyVersion;
    const decide = authorizeRewrap(clock.now(), authorization);
    const { state } = await keys.transact(source.key, decide, call.cause, { expected });
    const given =
      'authorizations' in state
        ? state.authorizations.findLast((one) => isSameAuthorization(one, authorization))
        : undefined;
    if (!given) throw new Error('a given authorization is stored');
    return {
      sourceKeyVersion: versionName(source.key, source.version),
      targetKeyVersion,
      principal: given.principal,
      diskEncryptionSet: given.diskEncryptionSet,
      authorizedBy: given.authorizedBy,
      authorizeTime: new Date(given.at),
      sourceAccessEpoch: epoch,
    };
  }, isOfOlderState);
};

const isOfOlderState = (error: unknown): boolean => error instanceof Rejection && error.reason === 'ETAG_MISMATCH';

/** The public facts about a version and its vault. */
export const keyForEncryption = (
  urls: KeyUrls,
  { vault: vaultId, key }: KeyId,
  vault: ExistingVault,
  version: KeyVersion,
): KeyForEncryption => ({
  keyVersion: versionName(key, version.version),
  keyUrl: urls.version(key, version.version),
  vault: `vaults/${vaultId}`,
  resourceGroup: vault.resourceGroup,
  subscription: subscriptionOf(vault.resourceGroup),
  tenant: vault.tenant,
  location: vault.location,
  vaultSku: vault.sku === 'premium' ? 'PREMIUM' : 'STANDARD',
  softDeleteRetentionDays: vault.retentionDays,
  purgeProtectionEnabled: vault.purgeProtected,
  keyType: 'RSA',
  keySizeBits: version.bits,
  enabled: version.enabled,
  notBefore: version.notBefore === undefined ? undefined : new Date(version.notBefore),
  expireTime: version.expiresAt === undefined ? undefined : new Date(version.expiresAt),
  keyOperations: version.operations.map((operation) => operationOnWire[operation]),
});

/** The owner who authorizes could have made the source usable instead: by `update`, `recover`, or both (CMK-10). */
const ownerPermissions = (key: Parameters<typeof versionOf>[0], version: string): readonly KeyPermission[] => {
  const isDisabled = versionOf(key, version)?.enabled === false;
  if (key.status !== 'deleted') return ['update'];
  return isDisabled ? ['recover', 'update'] : ['recover'];
};
