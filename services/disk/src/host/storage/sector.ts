/** Bytes of a logical sector: the unit of encryption, locking and storage. */
export const sectorSize = 4096;

/** Most bytes of a piece. Access is checked before each, so that an access loss stops a long transfer. */
export const pieceSize = 1024 * 1024;

/** Bytes of a GiB. */
export const bytesPerGib = 2 ** 30;
