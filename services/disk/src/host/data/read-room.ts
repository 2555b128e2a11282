import type { Alarm, Clock } from '@interlock/runtime';

/** Memory for the pieces of all reads of a host, in bytes: as many pieces as `Scratch` keeps. */
export const READ_ROOM_BYTES = 32 * 1024 * 1024;

/** After how many milliseconds without progress of its reader a piece may be dropped for another reader. */
const RESTED_MS = 50;

/** Memory for one piece. */
export interface Room {
  /** A part is handed over. Until `resume` the piece may be dropped. */
  rest(): void;
  /** The part was taken. @returns whether the piece is still there */
  resume(): boolean;
  /** The piece is sent, or its read has ended. May be called again. */
  release(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly admit: () => void;
}

interface Resting {
  readonly sinceMs: number;
  readonly drop: () => void;
}

/** The memory that pieces of reads take until they are sent, bounded for the whole host. */
export class ReadRoom {
  readonly #clock: Pick<Clock, 'alarm' | 'monotonicMs'>;
  #freeBytes: number;
  readonly #waiting = new Set<Waiting>();
  /** Readers at rest, the longest first. */
  readonly #resting = new Map<Room, Resting>();
  #nextLook: Alarm | undefined;

  constructor(clock: Pick<Clock, 'alarm' | 'monotonicMs'>, totalBytes = READ_ROOM_BYTES) {
    this.#clock = clock;
    this.#freeBytes = totalBytes;
  }

  /**
   * Waits for memory, first come, first served. If no memory is free, the piece whose reader has rested longest is dropped; that
   * reader reads it again when it resumes.
   * @param bytes at most a piece
   * @param drop frees the memory of the piece; called only while the reader rests
   * @param signalOf called only if the read has to wait
   * @throws Error when the signal is aborted before there is memory
   */
  async take(bytes: number, drop: () => void, signalOf: () => AbortSignal): Promise<Room> {
    if (this.#waiting.size === 0 && this.#freeBytes >= bytes) {
      this.#freeBytes -= bytes;
      return this.#roomOf(bytes, drop);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const own: Waiting = { bytes, admit: resolve };
    const signal = signalOf();
    const leave = (): void => {
      if (this.#waiting.delete(own)) reject(new Error('the read ended before there was memory for it'));
    };
    signal.addEventListener('abort', leave, { once: true });
    this.#waiting.add(own);
    this.#admit();
    if (signal.aborted) leave();
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
    return this.#roomOf(bytes, drop);
  }

  #roomOf(bytes: number, dropPiece: () => void): Room {
    let isThere = true;
    const free = (): void => {
      this.#resting.delete(room);
      if (isThere) this.#freeBytes += bytes;
      isThere = false;
    };
    const drop = (): void => {
      free();
      dropPiece();
    };
    const room: Room = {
      rest: () => {
        this.#resting.set(room, { sinceMs: this.#clock.monotonicMs(), drop });
      },
      resume: () => {
        this.#resting.delete(room);
        return isThere;
      },
      release: () => {
        free();
        this.#admit();
      },
    };
    return room;
  }

  #admit(): void {
    for (const first of this.#waiting) {
      while (this.#freeBytes < first.bytes && this.#dropOne()) {
        // Until there is enough memory.
      }
      if (this.#freeBytes < first.bytes) break;
      this.#freeBytes -= first.bytes;
      this.#waiting.delete(first);
      first.admit();
    }
    // A reader may come to rest later without giving memory back.
    if (this.#waiting.size === 0) this.#nextLook?.cancel();
    this.#nextLook = this.#waiting.size === 0 ? undefined : (this.#nextLook ?? this.#lookLater());
  }

  #lookLater(): Alarm {
    return this.#clock.alarm(RESTED_MS, () => {
      this.#nextLook = undefined;
      this.#admit();
    });
  }

  #dropOne(): boolean {
    const oldest = this.#resting.values().next().value;
    if (oldest === undefined || this.#clock.monotonicMs() - oldest.sinceMs < RESTED_MS) return false;
    oldest.drop();
    return true;
  }
}
