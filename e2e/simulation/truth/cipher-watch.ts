import type { SectorCipher } from '../../../services/disk/src/host/cipher/xts.ts';

/** The open disks whose DEK is in the memory of a disk host: a cipher holds it until it is destroyed. */
export class CipherWatch {
  /** By disk and host. */
  readonly #alive = new Map<string, Map<string, Set<SectorCipher>>>();

  /** The cipher, observed. @param host unique name of the host that has it */
  watch(cipher: SectorCipher, disk: string, host: string): SectorCipher {
    const ofDisk = this.#alive.get(disk) ?? new Map<string, Set<SectorCipher>>();
    this.#alive.set(disk, ofDisk);
    const own = ofDisk.get(host) ?? new Set();
    ofDisk.set(host, own);
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

  /** The hosts that have a cipher of the disk. */
  holders(disk: string): readonly string[] {
    const ofDisk = this.#alive.get(disk);
    return ofDisk === undefined ? [] : [...ofDisk].flatMap(([host, ciphers]) => (ciphers.size > 0 ? host : []));
  }

  /** The process of a host ended, so its memory is lost. */
  forget(host: string): void {
    for (const ofDisk of this.#alive.values()) ofDisk.delete(host);
  }
}
