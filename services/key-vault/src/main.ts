import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { hostService } from '@interlock/host';
import { bool, int, optional, systemRandom, text } from '@interlock/runtime';
import { obtainMasterKey, readMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { openFileSealKeyStore } from './file-seal-key-store.ts';
import { createRsaPool } from './rsa-pool.ts';

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
        engine: (sealing) => createRsaPool({ sealing, workers, legacyPadding }),
      },
    });
  },
});
