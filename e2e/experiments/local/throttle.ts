import type { Clock } from '@interlock/runtime';
import type { Clients } from '../../cloud/clients.ts';

/** Settings of key-vault with which a flood of uses empties the bucket of a vault. An estate draws a few uses a minute. */
export const throttleSettings = { RATE_LIMIT_VAULT_PER_SECOND: '1', RATE_LIMIT_VAULT_BURST: '100' };

/** Parallel uses until the bucket is empty. */
const burstCount = 25;
/** Pause between two uses once the bucket is empty, in milliseconds: shorter than the refill of one use. */
const floodEveryMs = 200;

/**
 * Uses a key until its vault refuses as throttled, and keeps the bucket of the vault empty until the signal is aborted.
 * @returns when the first use was refused
 */
export const throttle = async (
  { keyVault }: Pick<Clients, 'keyVault'>,
  keyVersion: string,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<number> => {
  const isRefused = (): Promise<boolean> =>
    keyVault
      .wrapKey({ name: keyVersion, plaintextKey: new Uint8Array(32), algorithm: 'RSA_OAEP_256' }, { deadlineMs: 2_000 })
      .then(
        () => false,
        (error: unknown) => {
          if (Object(error).reason === 'THROTTLED') return true;
          throw error;
        },
      );
  const burst = (): Promise<readonly boolean[]> => Promise.all(Array.from({ length: burstCount }, isRefused));
  while (!(await burst()).includes(true)) if (signal.aborted) return clock.now();
  const refusedMs = clock.now();
  const flood = async (): Promise<void> => {
    while (!signal.aborted) {
      // A vault that is down is empty too.
      await isRefused().catch(() => true);
      await clock.sleep(floodEveryMs, signal);
    }
  };
  void flood();
  return refusedMs;
};
