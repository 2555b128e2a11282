import { pieceSize } from '../storage/sector.ts';
import { ownBytes } from './budget.ts';

/** Memory of many short messages, and of one longer or long message with its head, in bytes. */
const sizes = { shared: 256 * 1024, step: ownBytes + 4_096, whole: pieceSize + 4_096 } as const;
/** Longest message that shares its memory, in bytes. */
const sharedMax = 32 * 1024;
/** How many buffers of each kind are kept for later. */
const keptMax = { shared: 16, step: 32, whole: 16 } as const;

/** Part of a buffer, for one message. */
export interface ReplyRoom {
  readonly bytes: Buffer;
  /** The client took it. */
  readonly release: () => void;
}

/** A buffer that replies share, and how many of them the client has not taken. */
interface Shared {
  readonly bytes: Buffer;
  used: number;
  untaken: number;
}

/**
 * Memory for replies and for payloads, used again once it is given back. Fresh memory for each reply costs page faults and the garbage
 * collector a third of the time of a short read.
 */
export class ReplyMemory {
  #current: Shared | undefined;
  readonly #shared: Buffer[] = [];
  readonly #kept = { step: [] as Buffer[], whole: [] as Buffer[] };

  take(length: number): ReplyRoom {
    if (length <= sharedMax) return this.#part(length);
    if (length > sizes.whole) return { bytes: Buffer.allocUnsafeSlow(length), release: () => undefined };
    const kind = length <= sizes.step ? 'step' : 'whole';
    const kept = this.#kept[kind];
    const bytes = kept.pop() ?? Buffer.allocUnsafeSlow(sizes[kind]);
    const release = (): void => void (kept.length < keptMax[kind] && kept.push(bytes));
    return { bytes: bytes.subarray(0, length), release };
  }

  #part(length: number): ReplyRoom {
    if (this.#current === undefined || this.#current.used + length > sizes.shared) {
      this.#current = { bytes: this.#shared.pop() ?? Buffer.allocUnsafeSlow(sizes.shared), used: 0, untaken: 0 };
    }
    const shared = this.#current;
    const bytes = shared.bytes.subarray(shared.used, shared.used + length);
    shared.used += length;
    shared.untaken += 1;
    return { bytes, release: () => this.#taken(shared) };
  }

  #taken(shared: Shared): void {
    shared.untaken -= 1;
    if (shared.untaken > 0) return;
    if (shared === this.#current) shared.used = 0;
    else if (this.#shared.length < keptMax.shared) this.#shared.push(shared.bytes);
  }
}
