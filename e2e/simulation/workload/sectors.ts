/** Sectors at the start of a disk that guests use: few, so that operations overlap. */
export const sectorsInUse = 16;
