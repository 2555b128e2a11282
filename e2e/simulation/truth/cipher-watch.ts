import type { SectorCipher } from '../../../services/disk/src/host/cipher/xts.ts';

/** The open disks whose DEK is in memory: a cipher holds it until it is destroyed. */
export class CipherWatch {
  readonly #alive = new Map<string, Set<SectorCipher>>();

  /** The cipher, observed. */
  watch(cipher: SectorCipher, disk: string): SectorCipher {
    const own = this.#alive.get(disk) ?? new Set();
    this.#alive.set(disk, own);
    own.add(cipher);
    return {
      encrypt: (...piece) => cipher.encrypt(...piece),
      decrypt: (...piece) => cipher.decrypt(...piece),
      encryptAll: (runs) => cipher.encryptAll(runs),
      decryptAll: (runs) => cipher.decryptAll(runs),
      destroy: () => {
        own.delete(cipher);
        cipher.destroy();
      },
    };
  }

  has(disk: string): boolean {
    return (this.#alive.get(disk)?.size ?? 0) > 0;
  }

  /** The process ended, so its memory is lost. */
  forgetAll(): void {
    this.#alive.clear();
  }
}
