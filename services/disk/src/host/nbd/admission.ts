import type { Duplex } from 'node:stream';

/** Most connections of a host, and most that have not opened a disk yet: altogether, and of one address. */
export const connectionsMax = { all: 1_024, new: 256, newPerAddress: 64 } as const;
/** Most connections of one disk. Clients use 16 at most. */
export const connectionsPerDiskMax = 64;

/**
 * Limits connections. One that has not opened a disk is worth the least: if there are too many of those, the one that has been silent for
 * the longest time ends, of the address that has the most. A client that opens its disk at once is not affected by others that hold
 * connections open.
 */
export class Admission {
  readonly #all = new Set<Duplex>();
  /** Connections that have opened no disk, by address, the most silent first. */
  readonly #new = new Map<string, Set<Duplex>>();
  readonly #perDisk = new Map<string, number>();
  #newCount = 0;

  /** @param address of the client; undefined on a Unix socket @returns false: the connection must not be served */
  enter(stream: Duplex, address: string | undefined): boolean {
    if (this.#all.size >= connectionsMax.all && !this.#endMostSilent()) return false;
    this.#all.add(stream);
    const own = this.#new.get(address ?? '') ?? new Set();
    this.#new.set(address ?? '', own.add(stream));
    this.#newCount += 1;
    if (address !== undefined && own.size > connectionsMax.newPerAddress) this.#endMostSilent(own);
    else if (this.#newCount > connectionsMax.new) this.#endMostSilent();
    return true;
  }

  /** The connection sent an option. */
  noteOption(stream: Duplex): void {
    for (const own of this.#new.values()) if (own.delete(stream)) own.add(stream);
  }

  /** The connection opens a disk. @returns false if the disk has too many; otherwise call `closeDisk` at the end */
  openDisk(disk: string): boolean {
    const count = this.#perDisk.get(disk) ?? 0;
    if (count >= connectionsPerDiskMax) return false;
    this.#perDisk.set(disk, count + 1);
    return true;
  }

  closeDisk(disk: string): void {
    const count = (this.#perDisk.get(disk) ?? 0) - 1;
    if (count > 0) this.#perDisk.set(disk, count);
    else this.#perDisk.delete(disk);
  }

  /** The connection has opened a disk. */
  settle(stream: Duplex): void {
    for (const [address, own] of this.#new) {
      if (!own.delete(stream)) continue;
      this.#newCount -= 1;
      if (own.size === 0) this.#new.delete(address);
      return;
    }
  }

  /** The connection is closed. */
  leave(stream: Duplex): void {
    this.settle(stream);
    this.#all.delete(stream);
  }

  /** Ends every connection. */
  close(): void {
    for (const stream of this.#all) stream.destroy();
  }

  /** @returns false if there is none */
  #endMostSilent(of = this.#largest()): boolean {
    const [silent] = of ?? [];
    if (silent === undefined) return false;
    this.leave(silent);
    silent.destroy();
    return true;
  }

  #largest(): ReadonlySet<Duplex> | undefined {
    let largest: ReadonlySet<Duplex> | undefined;
    for (const own of this.#new.values()) if (own.size > (largest?.size ?? 0)) largest = own;
    return largest;
  }
}
