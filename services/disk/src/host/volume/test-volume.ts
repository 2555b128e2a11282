import type { BlockStore } from '../storage/block-store.ts';
import type { OpenVolume } from './volumes.ts';
import { WriteGate } from './write-gate.ts';

/** A volume with these sectors and one user. */
export const volumeOver = (store: BlockStore): OpenVolume => ({
  store,
  gate: new WriteGate(),
  close: () => store.close(),
});
