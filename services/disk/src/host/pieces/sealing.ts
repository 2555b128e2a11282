import type { SectorCipher, SectorRun } from '../cipher/xts.ts';
import { writtenRuns } from '../storage/block-store.ts';
import { sectorSize } from '../storage/sector.ts';

/**
 * The runs of whole sectors that were written, for `SectorCipher.decryptAll`. A hole is recognized by its ciphertext: all zeros.
 * @param first number of the first sector @param target as long as `source`; may be the same
 */
export const writtenSectors = (first: number, source: Uint8Array, target: Uint8Array): SectorRun[] =>
  Array.from(writtenRuns(source), ([from, to]) => ({
    sector: first + from / sectorSize,
    source: source.subarray(from, to),
    target: target.subarray(from, to),
  }));

/** Decrypts whole sectors; holes stay zeros. As `writtenSectors`. */
export const openSectors = (cipher: SectorCipher, first: number, source: Uint8Array, target: Uint8Array): void => {
  const written = writtenSectors(first, source, target);
  if (target !== source) fillHoles(written, source, target);
  // A cipher is made with its first use.
  if (written.length > 0) cipher.decryptAll(written);
};

const fillHoles = (written: readonly SectorRun[], source: Uint8Array, target: Uint8Array): void => {
  let done = 0;
  for (const run of written) {
    const from = run.source.byteOffset - source.byteOffset;
    target.fill(0, done, from);
    done = from + run.source.length;
  }
  target.fill(0, done);
};
