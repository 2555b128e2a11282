import { randomBytes } from 'node:crypto';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { openXts, xtsKeyLength } from '../../../services/disk/src/host/cipher/xts.ts';
import { createXtsMask } from '../../../services/disk/src/host/cipher/xts-mask.ts';
import type { Bench } from '../bench.ts';
import { measurement, median, rounded } from '../measure.ts';
import { opensslSpeed } from '../openssl-speed.ts';

/** MB that a sample encrypts or decrypts. */
const sampleMb = 256;

/**
 * MB per second of CPU time that the disk service's cipher encrypts (value) and decrypts, in runs of 4, 64 and 1,024 KiB (`size`).
 * Floor: `openssl speed` of the same mode in sectors of 4 KiB, which makes one key schedule and never allocates.
 */
export const cipher: Bench = async ({ smoke, size }) => {
  if (size !== undefined && size % 4 !== 0)
    throw new LauncherError(`--size of cipher is in KiB, a multiple of the sector of 4 KiB (got ${size}).`);
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
    // The first one warms up.
    const encrypted = Array.from({ length: 1 + rounds }, () => rate('encrypt')).slice(1);
    const decrypt = rounded(median(Array.from({ length: rounds }, () => rate('decrypt'))));
    xts.destroy();
    return measurement({ bench: 'cipher', size: kib, unit: 'MB/s' }, encrypted, floors, { decrypt });
  });
};

/** @returns MB per second of CPU time */
const opensslRate = async (seconds: number): Promise<number> => {
  const output = await opensslSpeed(['-mr', '-seconds', String(seconds), '-bytes', '4096', '-evp', 'aes-256-xts']);
  const bytesPerSecond = Number(/^\+F:\d+:[^:]*:([\d.]+)$/m.exec(output)?.[1]);
  if (!(bytesPerSecond > 0)) throw new LauncherError(`openssl speed printed no rate for aes-256-xts:\n${output}`);
  return bytesPerSecond / 1e6;
};
