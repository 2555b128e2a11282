/** Most disks opened in one call: as many as the vault takes in one. */
export const opensMax = 256;
/** Most disks closed in one call: some 250 bytes each in the request, and one commit. */
export const closingsMax = 1_000;
/** Most disks and snapshots of one `RewrapDeks`: as many as the vault takes in one call. */
export const rewrapsMax = 256;
/** Most disks and snapshots described in one call: as many as a page of a list has. */
export const describedMax = 1_000;
