/** Sectors at the beginning of a disk that guests use: few, so that operations meet. */
export const sectorsInUse = 16;
