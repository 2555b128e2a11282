import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import type { Random } from '@interlock/runtime';
import { type MasterKey, nonceLength, seal, unseal } from '@interlock/sealing';
import type { SlotMac } from '../header/disk-header-format.ts';

/** The key of the platform: it wraps DEKs of disks without a set, and keys of lower layers. Rule CMK-17. */
export interface PlatformKey {
  /** Its name in a header, in place of a customer's key version. */
  readonly name: string;
  /** AES-256-GCM under the master key. The caller clears `plaintext`. */
  seal(purpose: string, plaintext: Uint8Array): Uint8Array;
  /** @returns the plaintext in a new buffer, which the caller clears; undefined if `sealed` was changed or has another purpose */
  unseal(purpose: string, sealed: Uint8Array): Uint8Array | undefined;
  /** Authenticates the header slots of one volume. */
  slotMac(volumeId: string): SlotMac;
}

/** What the key that authenticates headers is derived for. The string is part of the format of every header. */
const slotPurpose = 'interlock disk header v2: slot authentication';

/** The algorithm of platform wraps, as headers name it. */
export const platformAlgorithm = 'AES-256-GCM';

/** Makes it from the master key of this service. */
export const platformKey = (master: MasterKey, random: Pick<Random, 'bytes'>): PlatformKey => {
  const derived = new Uint8Array(hkdfSync('sha256', master.key, '', slotPurpose, 32));
  const slotKey = createSecretKey(derived);
  derived.fill(0);
  return {
    name: `platform/${master.id}`,
    seal: (purpose, plaintext) => seal(master.key, random.bytes(nonceLength), purpose, plaintext),
    unseal: (purpose, sealed) => unseal(master.key, purpose, sealed),
    slotMac: (volumeId) => (bytes) => createHmac('sha256', slotKey).update(`${volumeId}\0`).update(bytes).digest(),
  };
};
