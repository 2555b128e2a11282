import { pieceSize } from '../storage/sector.ts';

/** Memory of many short replies, and of one long reply with its head, in bytes. */
const sizes = { shared: 256 * 1024, whole: pieceSize + 4_096 } as const;
/** Longest reply that shares its memory, in bytes. */
const sharedMax = 32 * 1024;
/** Most memory of each kind that is kept for later. */
const keptMax = { shared: 16, whole: 8 } as const;

/** Part of a buffer, for one reply. */
export interface ReplyRoom {
  readonly bytes: Buffer;
  /** The client took it. */
  readonly giveBack: () => void;
}

/** A buffer that replies share, and how many of them the client has not taken. */
interface Shared {
  readonly bytes: Buffer;
  used: number;
  untaken: number;
}

/**
 * Memory for replies that is used again once their clients took them. Fresh memory for each reply costs page faults and the garbage
 * collector a third of the time of a short read.
 */
export class ReplyMemory {
  #current: Shared | undefined;
  readonly #shared: Buffer[] = [];
  readonly #whole: Buffer[] = [];

  take(length: number): ReplyRoom {
    if (length <= sharedMax) return this.#part(length);
    if (length > sizes.whole) return { bytes: Buffer.allocUnsafeSlow(length), giveBack: () => undefined };
    const whole = this.#whole.pop() ?? Buffer.allocUnsafeSlow(sizes.whole);
    const giveBack = (): void => void (this.#whole.length < keptMax.whole && this.#whole.push(whole));
    return { bytes: whole.subarray(0, length), giveBack };
  }

  #part(length: number): ReplyRoom {
    if (this.#current === undefined || this.#current.used + length > sizes.shared) {
      this.#current = { bytes: this.#shared.pop() ?? Buffer.allocUnsafeSlow(sizes.shared), used: 0, untaken: 0 };
    }
    const shared = this.#current;
    const bytes = shared.bytes.subarray(shared.used, shared.used + length);
    shared.used += length;
    shared.untaken += 1;
    return { bytes, giveBack: () => this.#taken(shared) };
  }

  #taken(shared: Shared): void {
    shared.untaken -= 1;
    if (shared.untaken > 0) return;
    if (shared === this.#current) shared.used = 0;
    else if (this.#shared.length < keptMax.shared) this.#shared.push(shared.bytes);
  }
}
