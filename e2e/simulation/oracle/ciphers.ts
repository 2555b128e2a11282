import type { SectorCipher } from '../../../services/disk/src/host/cipher/xts.ts';

/** Which open disks have their DEK in memory: each cipher holds it from its making to its destruction. */
export interface CipherWatch {
  readonly watch: (cipher: SectorCipher, disk: string) => SectorCipher;
  has(disk: string): boolean;
  /** The process is gone, and with it its memory. */
  forgetAll(): void;
}

export const openCipherWatch = (): CipherWatch => {
  const alive = new Map<string, Set<SectorCipher>>();
  return {
    watch(cipher, disk) {
      const own = alive.get(disk) ?? new Set();
      alive.set(disk, own);
      own.add(cipher);
      return {
        encrypt: (...piece) => cipher.encrypt(...piece),
        decrypt: (...piece) => cipher.decrypt(...piece),
        destroy: () => {
          own.delete(cipher);
          cipher.destroy();
        },
      };
    },
    has: (disk) => (alive.get(disk)?.size ?? 0) > 0,
    forgetAll: () => alive.clear(),
  };
};
