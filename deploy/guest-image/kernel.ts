import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import { LauncherError } from '../local/data-folder.ts';

/** Offsets in the header of a kernel image, from the x86 boot protocol of Linux (Documentation/arch/x86/boot.rst). */
const header = { setupSectors: 0x1f1, payloadOffset: 0x248, payloadLength: 0x24c } as const;
const sectorBytes = 512;
/** The payload ends with its uncompressed size, in this number of bytes. */
const sizeBytes = 4;

/**
 * The kernel of an image that is compressed with zstd, as Debian's are, as an ELF file. QEMU starts it directly; the image
 * would decompress itself in emulation, which takes a second.
 * @param path of a bzImage
 * @throws LauncherError if the image is of another kind
 */
export const uncompressedKernel = (path: string): Buffer => {
  const image = readFileSync(path);
  const start = (image.readUInt8(header.setupSectors) + 1) * sectorBytes + image.readUInt32LE(header.payloadOffset);
  const end = start + image.readUInt32LE(header.payloadLength) - sizeBytes;
  try {
    const kernel = zstdDecompressSync(image.subarray(start, end));
    if (kernel.readUInt32BE(0) === 0x7f454c46) return kernel;
    throw new Error('it contains no ELF file');
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new LauncherError(`${path} is no kernel image compressed with zstd: ${cause}`);
  }
};
