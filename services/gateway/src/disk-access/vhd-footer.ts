/** Length of the footer that ends a fixed VHD, in bytes. */
export const footerBytes = 512;

/** Seconds from the Unix epoch to 2000-01-01, where times of a VHD begin. */
const vhdEpochS = 946_684_800;
const sectorBytes = 512;

/** Cylinders, heads and sectors per track of a disk, by the rule of the VHD specification (appendix "CHS Calculation"). */
const geometryOf = (sizeBytes: number): readonly [cylinders: number, heads: number, sectors: number] => {
  const sectors = Math.min(Math.floor(sizeBytes / sectorBytes), 65_535 * 16 * 255);
  if (sectors >= 65_535 * 16 * 63) return [Math.floor(sectors / 255 / 16), 16, 255];
  let perTrack = 17;
  let tracks = Math.floor(sectors / perTrack);
  let heads = Math.max(4, Math.floor((tracks + 1_023) / 1_024));
  if (tracks >= heads * 1_024 || heads > 16) {
    perTrack = 31;
    heads = 16;
    tracks = Math.floor(sectors / perTrack);
  }
  if (tracks >= heads * 1_024) {
    perTrack = 63;
    heads = 16;
    tracks = Math.floor(sectors / perTrack);
  }
  return [Math.floor(tracks / heads), heads, perTrack];
};

/** The footer of a fixed VHD: cookie, size, geometry, checksum; all numbers big-endian. @param id UUID of the disk @param madeAt Unix time in milliseconds */
export const vhdFooter = (sizeBytes: number, id: string, madeAt: number): Buffer => {
  const footer = Buffer.alloc(footerBytes);
  const [cylinders, heads, sectors] = geometryOf(sizeBytes);
  footer.write('conectix', 0, 'latin1');
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x0001_0000, 12);
  footer.writeBigUInt64BE(0xffff_ffff_ffff_ffffn, 16);
  footer.writeUInt32BE(Math.max(0, Math.floor(madeAt / 1_000) - vhdEpochS), 24);
  footer.write('intl', 28, 'latin1');
  footer.writeUInt32BE(0x0001_0000, 32);
  footer.write('Wi2k', 36, 'latin1');
  footer.writeBigUInt64BE(BigInt(sizeBytes), 40);
  footer.writeBigUInt64BE(BigInt(sizeBytes), 48);
  footer.writeUInt16BE(cylinders, 56);
  footer.writeUInt8(heads, 58);
  footer.writeUInt8(sectors, 59);
  // 2: fixed.
  footer.writeUInt32BE(2, 60);
  Buffer.from(id.replaceAll('-', ''), 'hex').copy(footer, 68, 0, 16);
  // The checksum is the complement of the sum of all bytes, taken while its own field is zero.
  const sum = footer.reduce((total, byte) => total + byte, 0);
  footer.writeUInt32BE(~sum >>> 0, 64);
  return footer;
};
