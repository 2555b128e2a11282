/**
 * Runs work in one replica of a service at a time. `work` starts when this replica becomes the owner of the work partition. When
 * it is not the owner any more, `signal` is aborted, and `work` resolves once all of it has ended.
 * @param partition name of the work partition, the same in every replica
 */
export type Keep = (partition: string, work: (signal: AbortSignal) => Promise<void>) => void;
