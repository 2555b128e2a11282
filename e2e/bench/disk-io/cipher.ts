import { randomBytes } from 'node:crypto';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { openXts, xtsKeyLength } from '../../../services/disk/src/host/cipher/xts.ts';
import { createXtsMask } from '../../../services/disk/src/host/cipher/xts-mask.ts';
import { benchOf } from '../bench.ts';
import { median, rounded } from '../measure.ts';
import { opensslSpeed } from '../openssl-speed.ts';

/** MB that a sample encrypts or decrypts. */
const sampleMb = 256;

/**
 * MB per second of CPU time that the disk service's cipher encrypts (value) and decrypts, in runs of 4, 64 and 1,024 KiB (`size`).
 * Floor: `openssl speed` of the same mode in sectors of 4 KiB, which makes one key schedule and never allocates.
 */
export const cipher = benchOf(
  {
    name: 'cipher',
    unit: 'MB/s',
    sizes: [4, 64, 1_024],
    accepts: (size) => size % 4 === 0 || 'in KiB, a multiple of the sector of 4 KiB',
  },
  async ({ size: kib, usually, rounds }) => {
    const xts = openXts(randomBytes(xtsKeyLength), createXtsMask());
    const [plain, sealed] = [randomBytes(kib * 1_024), Buffer.alloc(kib * 1_024)];
    const runs = Math.ceil((usually(sampleMb) * 1e6) / plain.length);
    const rate = (direction: 'encrypt' | 'decrypt') => {
      const since = process.cpuUsage();
      for (let run = 0; run < runs; run++) xts[direction](run, plain, sealed);
      const { user, system } = process.cpuUsage(since);
      return (runs * plain.length) / Math.max(1, user + system);
    };
    const samples = await rounds(9, async () => [rate('encrypt'), rate('decrypt'), await opensslRate()] as const);
    xts.destroy();
    const decrypt = rounded(median(samples.map(([, decrypted]) => decrypted)));
    return {
      values: samples.map(([value]) => value),
      floors: samples.map(([, , floor]) => floor),
      details: { decrypt },
    };
  },
);

/** @returns MB per second of CPU time */
const opensslRate = async (): Promise<number> => {
  const output = await opensslSpeed(['-mr', '-seconds', '1', '-bytes', '4096', '-evp', 'aes-256-xts']);
  const bytesPerSecond = Number(/^\+F:\d+:[^:]*:([\d.]+)$/m.exec(output)?.[1]);
  if (!(bytesPerSecond > 0)) throw new LauncherError(`openssl speed printed no rate for aes-256-xts:\n${output}`);
  return bytesPerSecond / 1e6;
};
