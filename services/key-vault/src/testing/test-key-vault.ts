import type { Random } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import type { KeyVaultSettings } from '../assemble.ts';
import { createRsaPool } from '../rsa/pool.ts';
import { SimulatedRsa } from '../rsa/simulated-rsa.ts';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';

/** The real engine of RSA, on two threads. For tests of what RSA itself computes, or of its threads. */
export const rsaThreads: KeyVaultSettings['engine'] = (sealing) => createRsaPool({ sealing, workers: 2 });

/**
 * Settings of the real key-vault in a cloud of tests: seal keys in memory, nothing purge protected, and the RSA of the simulation,
 * which `rsa.contract.test.ts` holds to the same results and refusals. The making of real keys took a third of the time of such tests.
 */
export const testVaultSettings = (random: Random, changes: Partial<KeyVaultSettings> = {}): KeyVaultSettings => ({
  masterKeys: { current: masterKey(random.bytes(32)), previous: [] },
  sealKeys: createMemorySealKeyStore(),
  engine: (sealing) => new SimulatedRsa({ sealing, random }),
  vaultUriSuffix: 'vault.interlock.localhost',
  purgeProtectionDefault: false,
  retentionDayMs: 86_400_000,
  ...changes,
});
