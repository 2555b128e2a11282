/** Bytes of a logical sector: the unit of encryption, of locking and of every store. */
export const sectorSize = 4096;

/** Most bytes handled in one go: a piece. Access is checked again before each (design: lost keys stop long transfers). */
export const pieceSize = 1024 * 1024;
