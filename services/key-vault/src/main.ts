import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { hostService, watchFolderSpace } from '@interlock/host';
import { rateOf, systemRandom } from '@interlock/runtime';
import { obtainMasterKey, readMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { fileHistoryMarks } from './hold/history-marks.ts';
import { createRsaPool } from './rsa/pool.ts';
import { openFileSealKeyStore } from './sealing/file-seal-key-store.ts';
import { hasPrivateKeys } from './sealing/key-material.ts';
import { requireMasterKeyOf, sealKeyUnderAnother } from './sealing/sealing.ts';
import { keyVaultSpec } from './settings.ts';

await hostService({
  name: 'key-vault',
  env: process.env,
  args: process.argv.slice(2),
  settings: keyVaultSpec,
  assemble: async (seams) => {
    const { settings } = seams;
    const {
      masterKeyFile,
      previousMasterKeyFiles = '',
      rsaWorkers: workers = availableParallelism(),
      legacyPadding,
    } = settings;
    const previousFiles = previousMasterKeyFiles.split(',').filter((file) => file !== '');
    const previous = await Promise.all(previousFiles.map(readMasterKey));
    const sealKeysFolder = join(settings.dataFolder, 'seal-keys');
    const sealKeys = await openFileSealKeyStore(sealKeysFolder, systemRandom);
    void watchFolderSpace({ ...seams, folder: sealKeysFolder });
    // A new master key next to previous ones is a rotation: seal keys under the previous ones can still be opened.
    const findSealed = async (): Promise<string | undefined> => {
      const sealKey = await sealKeyUnderAnother(sealKeys, previous);
      if (sealKey !== undefined) return `the seal key ${sealKey} in ${sealKeysFolder}`;
      const isEmpty = (await sealKeys.ids()).length === 0;
      return isEmpty && (await hasPrivateKeys(seams.store))
        ? `a seal key, which is not in ${sealKeysFolder} either,`
        : undefined;
    };
    const masterKeys = { current: await obtainMasterKey(masterKeyFile, systemRandom, findSealed), previous };
    await requireMasterKeyOf(sealKeys, masterKeys);
    return assemble({
      ...seams,
      settings: {
        ...settings,
        masterKeys,
        sealKeys,
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
