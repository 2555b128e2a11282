import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type Assemble, openSubscriptions, type Seams } from '@interlock/host';
import { clientAddressOf, service } from '@interlock/rpc';
import type { MasterKeys } from '@interlock/sealing';
import { createGuard } from './access/guard.ts';
import { RateLimit, type RateLimits } from './access/rate-limit.ts';
import { auditApi } from './audit/api.ts';
import { AuditLog } from './audit/log.ts';
import { auditRetention, retentionShare } from './audit/retention.ts';
import { authorization } from './authorization.ts';
import { backgroundWork } from './background/background.ts';
import { cryptographyApi } from './cryptography/api.ts';
import { openSettleBatch } from './cryptography/batch.ts';
import { diskAccessApi } from './cryptography/disk-access.ts';
import { impactPreviewApi } from './cryptography/impact-preview.ts';
import { openJudging } from './cryptography/judging.ts';
import { openKeyStateReads } from './cryptography/key-states.ts';
import { newerVersionApi } from './cryptography/newer-version.ts';
import { rewrapApi } from './cryptography/rewrap.ts';
import { holdApi } from './hold/api.ts';
import { type HoldTerms, meterHold, openHolding } from './hold/holding.ts';
import { keyReadApi, keyRemovalApi } from './key/api.ts';
import { KeyBackup } from './key/backup.ts';
import { Confirmation } from './key/confirmation.ts';
import { keys as keyStreams } from './key/key.ts';
import { keyBackupApi, keyMakingApi } from './key/making-api.ts';
import { openDueRotation, rotationApi } from './key/rotation-api.ts';
import { keyUpdateApi } from './key/update-api.ts';
import { KeyUses } from './key/uses.ts';
import { keyUrls } from './names.ts';
import { toFact } from './published.ts';
import { reactor } from './reactor.ts';
import type { RsaEngine } from './rsa/rsa.ts';
import { KeyMaterial } from './sealing/key-material.ts';
import type { SealKeyStore } from './sealing/seal-key-store.ts';
import { Sealing } from './sealing/sealing.ts';
import { vaultApi } from './vault/api.ts';
import { VaultLife } from './vault/life.ts';
import { vaultPurge } from './vault/purge.ts';
import { exists, vaults as vaultStreams } from './vault/vault.ts';

/** Settings of key-vault. */
export interface KeyVaultSettings {
  readonly masterKeys: MasterKeys;
  readonly sealKeys: SealKeyStore;
  /** Makes the RSA engine: worker threads, or the simulated one. It is closed with the service. */
  readonly engine: (sealing: Sealing) => RsaEngine;
  /** Host name of the vaults' URLs after the vault's own name. */
  readonly vaultUriSuffix: string;
  /** Whether new vaults are purge protected when the request does not say so. */
  readonly purgeProtectionDefault: boolean;
  /** Limits of one replica; absent: none. */
  readonly rateLimits?: RateLimits;
  /** What can put key-vault on hold; absent: nothing. */
  readonly hold?: HoldTerms;
  /** How long audit entries are kept, in milliseconds; absent: for ever. */
  readonly auditRetentionMs?: number;
  /** What gateways prove the addresses of their clients with; absent: the address of a client is that of its connection. */
  readonly clientAddressKey?: string | undefined;
  /** Length of a day of soft-delete retention, in milliseconds: shorter in tests. */
  readonly retentionDayMs: number;
}

/** Opens the parts of key-vault. */
const openParts = async (seams: Seams<KeyVaultSettings>) => {
  const { store, clock, random, log: logger, settings, authorize, scope } = seams;
  const vaults = await seams.openCategory(vaultStreams);
  const keys = await seams.openCategory(keyStreams);
  const urls = keyUrls(settings.vaultUriSuffix);
  const sealing = new Sealing({ store: settings.sealKeys, masterKeys: settings.masterKeys, random });
  const engine = settings.engine(sealing);
  scope.defer('RSA engine', () => engine.close());
  const holding = await openHolding({ store, clock, random, log: logger, terms: settings.hold });
  const { rateLimits = {} } = settings;
  const limits = new RateLimit(rateLimits, clock);
  const { countWindowMs = 10_000 } = rateLimits;
  const vaultExists = async (vault: string): Promise<boolean> => exists((await vaults.load(vault)).state);
  const uses = new KeyUses(store);
  const material = new KeyMaterial({ store, keys, sealing, engine, clock });
  return {
    ...settings,
    store,
    clock,
    random,
    authorize,
    vaults,
    keys,
    urls,
    sealing,
    engine,
    holding,
    limits,
    uses,
    material,
    guard: createGuard({ clock, vaults, authorize }),
    log: new AuditLog({ store, clock, random, log: logger, urls, limits, countWindowMs, vaultExists }),
    backup: new KeyBackup({ masterKeys: settings.masterKeys, sealing, material, random }),
    purgeVault: vaultPurge({ store, clock, vaults, keys, material }),
    subscriptions: openSubscriptions(seams.client('identity', IdentityServiceDefinition)),
    confirm: new Confirmation(keys, uses),
    life: new VaultLife(store),
    settleBatch: openSettleBatch(logger),
    judging: openJudging(urls),
    look: openKeyStateReads({ store: holding, vaults, keys }),
  };
};

/** Assembles key-vault. */
export const assemble: Assemble<KeyVaultSettings> = async (seams) => {
  const { store, clock, log: logger, tracer, meter, partitions, scope, forgetPermissions, settings } = seams;
  const parts = await openParts(seams);
  const { vaults, holding, log, urls, auditRetentionMs: retentionMs } = parts;
  scope.defer('hold metrics', meterHold(meter, holding));
  if (retentionMs !== undefined) {
    partitions.keep(retentionShare, auditRetention({ store, clock, log: logger, retentionMs }));
  }
  const implementation = {
    ...vaultApi(parts),
    ...keyReadApi(parts),
    ...keyRemovalApi(parts),
    ...keyUpdateApi(parts),
    ...keyMakingApi(parts),
    ...rotationApi(parts),
    ...keyBackupApi(parts),
    ...cryptographyApi(parts),
    ...diskAccessApi(parts),
    ...newerVersionApi(parts),
    ...impactPreviewApi(parts),
    ...rewrapApi(parts),
    ...auditApi(parts),
    ...holdApi(parts),
  };
  return {
    services: [service({ definition: KeyVaultServiceDefinition, implementation, authorization })],
    onRefused: (refusal) => log.refused(refusal),
    peerOf: (context) => clientAddressOf(settings.clientAddressKey, context),
    toFact: toFact(urls),
    // A hold does not make the service unready: an operator must reach it, and revocations must reach the sets (decision 0012).
    findings: () => [{ name: 'inUse', isThere: holding.current() === undefined, counts: false }],
    reactions: [{ source: 'identity', handlers: reactor({ clock, vaults, forgetPermissions }) }],
    background: backgroundWork({
      ...parts,
      log: logger,
      tracer,
      writeCounts: (signal) => log.writeCounts(signal),
      rotateDue: openDueRotation(parts),
    }),
  };
};
