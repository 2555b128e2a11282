/**
 * Sees to it that of all replicas of a service one does this work at a time: `work` begins when it is this one's turn, is
 * told by `signal` when it no longer is, and resolves once nothing of it goes on.
 * @param share names the work, the same in every replica
 */
export type Keep = (share: string, work: (signal: AbortSignal) => Promise<void>) => void;
