import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { openXts, xtsKeyLength } from '../../../services/disk/src/host/cipher/xts.ts';
import { createXtsMask } from '../../../services/disk/src/host/cipher/xts-mask.ts';
import type { BenchOptions } from '../bench.ts';
import { type Measurement, measurement } from '../measure.ts';

/** MB of data a sample goes through the cipher. */
const sampleMb = 256;

/**
 * MB per second of one core's time that the cipher of a disk encrypts and decrypts, in runs of 4, 64 and 1,024 KiB (`size`), beside
 * what `openssl speed` says of the same mode in sectors of 4 KiB: that is C which makes a key schedule once and never allocates.
 */
export const cipher = async ({ smoke, size }: BenchOptions): Promise<readonly Measurement[]> => {
  if (size !== undefined && size % 4 !== 0) throw new LauncherError('--size of cipher is in KiB: whole sectors of 4.');
  const rounds = smoke ? 1 : 9;
  const floors: number[] = [];
  for (let round = 0; round < rounds; round++) floors.push(await opensslRate(smoke ? 1 : 2));
  return (size === undefined ? [4, 64, 1_024] : [size]).map((kib) => {
    const xts = openXts(randomBytes(xtsKeyLength), createXtsMask());
    const [plain, sealed] = [randomBytes(kib * 1_024), Buffer.alloc(kib * 1_024)];
    const runs = Math.ceil(((smoke ? 1 : sampleMb) * 1e6) / plain.length);
    const rate = (direction: 'encrypt' | 'decrypt') => {
      const since = process.cpuUsage();
      for (let run = 0; run < runs; run++) xts[direction](run, plain, sealed);
      const { user, system } = process.cpuUsage(since);
      return (runs * plain.length) / Math.max(1, user + system);
    };
    const values = Array.from({ length: 1 + rounds }, () => rate('encrypt')).slice(1);
    const decrypted = Array.from({ length: rounds }, () => rate('decrypt'));
    xts.destroy();
    const { value: decrypt } = measurement({ bench: 'cipher', size: kib, unit: 'MB/s' }, decrypted, floors);
    return measurement({ bench: 'cipher', size: kib, unit: 'MB/s' }, values, floors, { decrypt });
  });
};

/** @returns MB per second of CPU time */
const opensslRate = async (seconds: number): Promise<number> => {
  const args = ['speed', '-mr', '-seconds', String(seconds), '-bytes', '4096', '-evp', 'aes-256-xts'];
  const { stdout } = await promisify(execFile)('openssl', args).catch((error: unknown) => {
    throw new LauncherError(
      `"openssl speed" does not run here; cipher measures beside it (apt-get install openssl). ${error}`,
    );
  });
  const bytesPerSecond = Number(/^\+F:\d+:[^:]*:([\d.]+)$/m.exec(stdout)?.[1]);
  if (!(bytesPerSecond > 0)) throw new LauncherError(`"openssl ${args.join(' ')}" printed no rate:\n${stdout}`);
  return bytesPerSecond / 1e6;
};
