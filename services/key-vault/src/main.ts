import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { hostService } from '@interlock/host';
import { bool, int, optional, systemRandom, text } from '@interlock/runtime';
import { obtainMasterKey, readMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { openFileSealKeyStore } from './file-seal-key-store.ts';
import { fileHistoryMarks } from './hold/file-history-marks.ts';
import type { Rate } from './rate-limit.ts';
import { createRsaPool } from './rsa-pool.ts';

const rate = (description: string) => int(`${description}; 0: no limit`, { min: 0, default: 0 });
const burst = int('Requests at once after a quiet time; 0: as many as in ten seconds (KV-100)', { min: 0, default: 0 });
const rateOf = (perSecond: number, atOnce: number): Rate | undefined =>
  perSecond === 0 ? undefined : { perSecond, burst: atOnce || perSecond * 10 };

await hostService({
  name: 'key-vault',
  env: process.env,
  settings: {
    masterKeyFile: text('File of 32 bytes the seal keys are sealed under; made when missing'),
    previousMasterKeyFiles: optional(text('Earlier master key files, separated by commas: while seal keys move over')),
    dataFolder: text('Folder of this service; must not be in the backups of the database'),
    vaultUriSuffix: text('Host name of vault URLs after the name of the vault', {
      default: 'vault.interlock.localhost',
    }),
    rsaWorkers: int('Threads for RSA', { min: 1, max: 64, default: availableParallelism() }),
    legacyPadding: bool('Whether RSA1_5 may be used', { default: false }),
    purgeProtectionDefault: bool('Whether new vaults are purge protected unasked', { default: false }),
    rateLimitPrincipalPerSecond: rate('Requests a second of one principal, of each kind apart'),
    rateLimitPrincipalBurst: burst,
    rateLimitVaultPerSecond: rate('Uses a second of the keys of one vault'),
    rateLimitVaultBurst: burst,
    hold: optional(
      text('Name of a hold: no key is used until it is confirmed (interlock hold confirm), once for each name'),
    ),
    auditRetentionDays: int('Days for which entries of the record of vaults are kept; 0: for ever', {
      min: 0,
      max: 36_500,
      default: 0,
    }),
    retentionDayMs: int('Length of a day of soft-delete retention', { min: 1, default: 86_400_000 }),
  },
  assemble: async (seams) => {
    const { settings } = seams;
    const { masterKeyFile, previousMasterKeyFiles = '', rsaWorkers: workers, legacyPadding } = settings;
    const previousFiles = previousMasterKeyFiles.split(',').filter((file) => file !== '');
    return assemble({
      ...seams,
      settings: {
        ...settings,
        masterKeys: {
          current: await obtainMasterKey(masterKeyFile, systemRandom),
          previous: await Promise.all(previousFiles.map(readMasterKey)),
        },
        sealKeys: await openFileSealKeyStore(join(settings.dataFolder, 'seal-keys'), systemRandom),
        hold: {
          marks: fileHistoryMarks(join(settings.dataFolder, 'history.json'), systemRandom),
          asked: settings.hold,
        },
        ...(settings.auditRetentionDays === 0 ? {} : { auditRetentionMs: settings.auditRetentionDays * 86_400_000 }),
        rateLimits: {
          principal: rateOf(settings.rateLimitPrincipalPerSecond, settings.rateLimitPrincipalBurst),
          vault: rateOf(settings.rateLimitVaultPerSecond, settings.rateLimitVaultBurst),
        },
        engine: (sealing) => createRsaPool({ sealing, workers, legacyPadding }),
      },
    });
  },
});
