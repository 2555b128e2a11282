import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type Assemble, openSubscriptions } from '@interlock/host';
import { service } from '@interlock/rpc';
import type { MasterKeys } from '@interlock/sealing';
import { createGuard } from './access/guard.ts';
import { type RateLimits, rateLimit } from './access/rate-limit.ts';
import { auditApi } from './audit/api.ts';
import { auditLog } from './audit/log.ts';
import { auditRetention, retentionShare } from './audit/retention.ts';
import { backgroundWork } from './background/background.ts';
import { cryptographyApi } from './cryptography/api.ts';
import { openSettleBatch } from './cryptography/batch.ts';
import { diskAccessApi } from './cryptography/disk-access.ts';
import { impactPreviewApi } from './cryptography/impact-preview.ts';
import { openJudging } from './cryptography/judging.ts';
import { openLooking } from './cryptography/looking.ts';
import { newerVersionApi } from './cryptography/newer-version.ts';
import { rewrapApi } from './cryptography/rewrap.ts';
import { holdApi } from './hold/api.ts';
import { type HoldTerms, neverOnHold, openHolding } from './hold/holding.ts';
import { meterHold } from './hold/metrics.ts';
import { keyApi } from './key/api.ts';
import { keyBackup } from './key/backup.ts';
import { confirmation } from './key/confirmation.ts';
import { keys as keyStreams } from './key/key.ts';
import { keyMakingApi } from './key/making-api.ts';
import { keyUses } from './key/uses.ts';
import { keyUrls } from './names.ts';
import { toFact } from './published.ts';
import { reactor } from './reactor.ts';
import type { RsaEngine } from './rsa/rsa.ts';
import { keyMaterial } from './sealing/key-material.ts';
import type { SealKeyStore } from './sealing/seal-key-store.ts';
import { createSealing, type Sealing } from './sealing/sealing.ts';
import { vaultApi } from './vault/api.ts';
import { vaultLife } from './vault/life.ts';
import { vaultPurge } from './vault/purge.ts';
import { isStanding, vaults as vaultStreams } from './vault/vault.ts';

/** What key-vault is told from outside. */
export interface KeyVaultSettings {
  readonly masterKeys: MasterKeys;
  readonly sealKeys: SealKeyStore;
  /** Makes the RSA engine: worker threads, or the simulated one. It is closed with the service. */
  readonly engine: (sealing: Sealing) => RsaEngine;
  /** Host name of the vaults' URLs after the vault's own name. */
  readonly vaultUriSuffix: string;
  /** Whether new vaults are purge protected also when nobody says so. */
  readonly purgeProtectionDefault: boolean;
  /** What may be asked of one replica. Without it: as much as it can do. */
  readonly rateLimits?: RateLimits;
  /** What can put it on hold; without it nothing does. */
  readonly hold?: HoldTerms;
  /** How long entries of the vaults' records are kept, in milliseconds; without it for ever. */
  readonly auditRetentionMs?: number;
  /** Length of a day of soft-delete retention, in milliseconds: shorter in tests. */
  readonly retentionDayMs: number;
}

/** Why the handlers judge for themselves: they put every refusal on the vault's record. */
const byGuard = { authenticated: true, why: 'the grants of the vault, by its permission model' } as const;
const byRole = (action: string) =>
  ({ authenticated: true, why: `role with ${action} on the vault; refusals are on its record` }) as const;

/** Puts key-vault together. */
export const assemble: Assemble<KeyVaultSettings> = async (seams) => {
  const {
    store,
    openCategory,
    clock,
    random,
    log: logger,
    tracer,
    meter,
    settings,
    authorize,
    forgetPermissions,
    client,
    shares,
    scope,
  } = seams;
  const vaults = await openCategory(vaultStreams);
  const keys = await openCategory(keyStreams);
  const urls = keyUrls(settings.vaultUriSuffix);
  const sealing = createSealing({ store: settings.sealKeys, masterKeys: settings.masterKeys, random });
  const engine = settings.engine(sealing);
  scope.defer('RSA engine', () => engine.close());

  const terms = settings.hold;
  const holding = terms ? await openHolding({ store, clock, random, log: logger, terms }) : neverOnHold(store);
  scope.defer('hold metrics', meterHold(meter, holding));
  const guard = createGuard({ clock, vaults, authorize });
  const vaultExists = async (vault: string): Promise<boolean> => isStanding((await vaults.load(vault)).state);
  const { rateLimits = {} } = settings;
  const limits = rateLimit(rateLimits, clock);
  const { countWindowMs = 10_000 } = rateLimits;
  const log = auditLog({ store, clock, random, log: logger, urls, limits, countWindowMs, vaultExists });
  const { auditRetentionMs: retentionMs } = settings;
  if (retentionMs !== undefined)
    shares.keep(retentionShare, auditRetention({ store, clock, log: logger, retentionMs }));
  const material = keyMaterial({ store, keys, sealing, engine, clock });
  const backup = keyBackup({ masterKeys: settings.masterKeys, sealing, material, random });
  const purgeVault = vaultPurge({ store, clock, vaults, keys, material });
  const subscriptions = openSubscriptions(client('identity', IdentityServiceDefinition));
  const uses = keyUses(store);
  const confirm = confirmation({ keys, uses });
  const parts = {
    ...settings,
    limits,
    uses,
    confirm,
    life: vaultLife(store),
    store,
    clock,
    random,
    vaults,
    keys,
    settleBatch: openSettleBatch(logger),
    holding,
    judging: openJudging(urls),
    look: openLooking({ store: holding, vaults, keys }),
    guard,
    authorize,
    log,
    urls,
    engine,
    material,
  };

  const api = service({
    definition: KeyVaultServiceDefinition,
    implementation: {
      ...vaultApi({ ...parts, subscriptions, purgeVault }),
      ...keyApi(parts),
      ...keyMakingApi({ ...parts, backup }),
      ...cryptographyApi(parts),
      ...diskAccessApi({ ...parts, subscriptions }),
      ...newerVersionApi(parts),
      ...impactPreviewApi(parts),
      ...rewrapApi(parts),
      ...auditApi(parts),
      ...holdApi(parts),
    },
    authorization: {
      createVault: byRole('keyVault/vaults/write'),
      getVault: byRole('keyVault/vaults/read'),
      listVaults: { action: 'keyVault/vaults/read', scope: ({ parent }) => parent },
      enablePurgeProtection: byRole('keyVault/vaults/write'),
      setAccessPolicy: byRole('keyVault/vaults/write'),
      removeAccessPolicy: byRole('keyVault/vaults/write'),
      setPermissionModel: byRole('keyVault/vaults/write, and identity/roleAssignments/write to leave roles'),
      deleteVault: byRole('keyVault/vaults/delete'),
      recoverVault: byRole('keyVault/vaults/write'),
      purgeVault: byRole('keyVault/vaults/purge'),
      createKey: byGuard,
      importKey: byGuard,
      getKey: byGuard,
      getKeyVersion: byGuard,
      listKeys: byGuard,
      listKeyVersions: byGuard,
      disableKey: byGuard,
      enableKey: byGuard,
      enableKeyVersion: byGuard,
      disableKeyVersion: byGuard,
      setKeyVersionDates: byGuard,
      setKeyOperations: byGuard,
      setKeyTags: byGuard,
      rotateKey: byGuard,
      deleteKey: byGuard,
      recoverKey: byGuard,
      purgeKey: byGuard,
      getDeletedKey: byGuard,
      listDeletedKeys: byGuard,
      backupKey: byGuard,
      restoreKey: byGuard,
      encrypt: byGuard,
      decrypt: byGuard,
      wrapKey: byGuard,
      unwrapKey: byGuard,
      unwrapKeys: byGuard,
      sign: byGuard,
      verify: byGuard,
      checkAccess: byGuard,
      resolveKeyForEncryption: { workload: ['disk-encryption-set'] },
      findNewerKeyVersion: { workload: ['disk-encryption-set'] },
      authorizeImpactPreview: { workload: ['disk-encryption-set'] },
      authorizeRewrap: byGuard,
      rewrap: byGuard,
      rewrapKeys: byGuard,
      listAuditEntries: byRole('keyVault/vaults/read'),
      getHold: { action: 'platform/hold/read', scope: () => '/' },
      confirmKeyStates: { action: 'platform/hold/write', scope: () => '/' },
    },
  });

  return {
    services: [api],
    onRefused: log.refused,
    toFact: toFact(urls),
    // An operator has to reach it, and sets have to hear what is taken away meanwhile: so it stays ready (decision 0012).
    findings: () => [{ name: 'inUse', isThere: holding.current() === undefined, counts: false }],
    reactions: [{ source: 'identity', handlers: reactor({ clock, vaults, forgetPermissions }) }],
    background: backgroundWork({ ...parts, log: logger, tracer, sealing, purgeVault, writeCounts: log.writeCounts }),
  };
};
