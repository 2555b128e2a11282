import type { BlockStore } from '../storage/block-store.ts';
import type { WriteGate } from './write-gate.ts';

/** One use of the sectors of a volume, which several uses of this process share. */
export interface OpenVolume {
  /** Sectors above the infrastructure layer: ciphertext under the DEK. */
  readonly store: BlockStore;
  readonly gate: WriteGate;
  /** Ends this use. The last use closes the file. */
  close(): Promise<void>;
}
