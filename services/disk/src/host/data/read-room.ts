import type { Alarm, Clock } from '@interlock/runtime';

/** Memory that the pieces of all reads of a host may take, in bytes: as many pieces as `Scratch` keeps for them. */
export const READ_ROOM_BYTES = 32 * 1024 * 1024;

/** How long a reader must leave an answer untaken before its piece may be dropped for another reader, in milliseconds. */
const RESTED_MS = 50;

/** The memory that pieces of reads have until they are answered, bounded for the whole host. */
export interface ReadRoom {
  /**
   * Waits for room, first come, first served. Where there is none, the piece of the reader that has left its answer untaken for
   * longest is dropped; that one reads it again when it goes on.
   * @param bytes at most a piece
   * @param drop gives the memory of the piece back; called only while `rest` lasts
   * @param signal asked for only where the read has to wait
   * @throws Error when the signal is aborted before there is room
   */
  take(bytes: number, drop: () => void, signal: () => AbortSignal): Promise<Room>;
}

/** Room for one piece. */
export interface Room {
  /** An answer is handed over: until `goOn` the piece may be dropped. */
  rest(): void;
  /** The answer was taken. @returns whether the piece is still there */
  goOn(): boolean;
  /** The piece is answered, or its read has ended. May be called again. */
  giveBack(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

/** All of it is free. */
export const readRoom = (clock: Pick<Clock, 'alarm' | 'monotonicMs'>, totalBytes = READ_ROOM_BYTES): ReadRoom => {
  let freeBytes = totalBytes;
  const waiting = new Set<Waiting>();
  /** Rooms whose readers rest, those that have rested for longest first. */
  const resting = new Map<{ drop: () => void }, number>();
  let next: Alarm | undefined;

  const letIn = (): void => {
    for (const first of waiting) {
      while (freeBytes < first.bytes && dropOne()) {
        // Until there is room.
      }
      if (freeBytes < first.bytes) break;
      freeBytes -= first.bytes;
      waiting.delete(first);
      first.go();
    }
    // A reader may come to rest without giving anything back.
    if (waiting.size === 0) next?.cancel();
    next = waiting.size === 0 ? undefined : (next ?? clock.alarm(RESTED_MS, look));
  };
  const look = (): void => {
    next = undefined;
    letIn();
  };
  const dropOne = (): boolean => {
    const [oldest] = resting;
    if (oldest === undefined || clock.monotonicMs() - oldest[1] < RESTED_MS) return false;
    oldest[0].drop();
    return true;
  };

  const taken = (bytes: number, dropPiece: () => void): Room => {
    let isThere = true;
    const giveBack = (): void => {
      resting.delete(own);
      if (!isThere) return;
      isThere = false;
      freeBytes += bytes;
    };
    const own = {
      drop: () => {
        giveBack();
        dropPiece();
      },
    };
    return {
      rest: () => {
        resting.set(own, clock.monotonicMs());
      },
      goOn: () => {
        resting.delete(own);
        return isThere;
      },
      giveBack: () => {
        giveBack();
        letIn();
      },
    };
  };

  return {
    async take(bytes, drop, signalOf) {
      if (waiting.size === 0 && freeBytes >= bytes) {
        freeBytes -= bytes;
        return taken(bytes, drop);
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const own: Waiting = { bytes, go: resolve };
      const signal = signalOf();
      const leave = (): void => {
        if (waiting.delete(own)) reject(new Error('the read ended before there was memory for it'));
      };
      signal.addEventListener('abort', leave, { once: true });
      waiting.add(own);
      letIn();
      if (signal.aborted) leave();
      try {
        await promise;
      } finally {
        signal.removeEventListener('abort', leave);
      }
      return taken(bytes, drop);
    },
  };
};
