import type { OpenVolume } from '../pieces/open-volume.ts';
import { WriteGate } from '../pieces/write-gate.ts';
import type { BlockStore } from '../storage/block-store.ts';

/** A volume with these sectors and one user. */
export const volumeOver = (store: BlockStore): OpenVolume => ({
  store,
  gate: new WriteGate(),
  close: () => store.close(),
});
