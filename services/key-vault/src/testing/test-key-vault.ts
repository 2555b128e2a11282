import type { Random } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import type { KeyVaultSettings } from '../assemble.ts';
import { createRsaPool } from '../rsa/pool.ts';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';

/** Settings of the real key-vault in a cloud of tests: one RSA thread, seal keys in memory, nothing purge protected. */
export const testVaultSettings = (
  random: Pick<Random, 'bytes'>,
  changes: Partial<KeyVaultSettings> = {},
): KeyVaultSettings => ({
  masterKeys: { current: masterKey(random.bytes(32)), previous: [] },
  sealKeys: createMemorySealKeyStore(),
  engine: (sealing) => createRsaPool({ sealing, workers: 1 }),
  vaultUriSuffix: 'vault.interlock.localhost',
  purgeProtectionDefault: false,
  retentionDayMs: 86_400_000,
  ...changes,
});
