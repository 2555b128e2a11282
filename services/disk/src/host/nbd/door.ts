import type { Duplex } from 'node:stream';
import type { Clock, Logger } from '@interlock/runtime';
import type { SessionIo } from '../data/session-io.ts';
import { Admission } from './admission.ts';
import { Budget } from './budget.ts';
import { ended } from './ending.ts';
import type { LogError } from './errors.ts';
import type { Exports, SessionExports } from './export.ts';
import { negotiate } from './negotiation.ts';
import { ReplyMemory } from './reply-memory.ts';
import { Transmission } from './transmission.ts';

/**
 * Memory that requests of all connections share, in bytes. Beside it each connection has a little of its own. Over TLS there is half:
 * a reply that the client has not taken is held twice, as it was and encrypted.
 */
const poolBytes = { plaintext: 16 * 1024 * 1024, tls: 8 * 1024 * 1024 } as const;
/** How long a negotiation may take, in milliseconds. */
const NEGOTIATION_MS = 10_000;

/** How a connection arrived. Nothing is known about one on a Unix socket. */
export interface Arrival {
  /** Wraps the connection in TLS. @throws Error if that fails; the connection is destroyed then */
  readonly startTls?: (() => Promise<Duplex>) | undefined;
  /** Address of the client. */
  readonly address?: string | undefined;
}

/** A place where clients connect. */
export interface NbdListener {
  /** Calls `accept` with each connection. */
  listen(accept: (stream: Duplex, arrival: Arrival) => void): Promise<void>;
  close(): Promise<void>;
}

/** Serves open disks at an address. */
export interface NbdServer {
  /** `unix:/path` or `tls://host:port`, as clients reach it. */
  readonly address: string;
  /** Whether another thread uses the DEKs. */
  readonly isThreaded: boolean;
  /** Listens. @returns ends every connection, and stops */
  start(parts: NbdServerParts): Promise<() => Promise<void>>;
}

/** What a server needs of its host. */
export interface NbdServerParts {
  readonly exports: SessionExports;
  readonly io: SessionIo;
  readonly clock: Pick<Clock, 'alarm'>;
  readonly log: Logger;
}

export interface NbdDoorParts {
  readonly exports: Exports;
  readonly clock: Pick<Clock, 'alarm'>;
  readonly logError: LogError;
  /** Default: plaintext. */
  readonly transport?: keyof typeof poolBytes;
}

/** Open disks as network block devices, on the sessions, leases and fencing that gRPC uses. */
export class NbdDoor {
  readonly #parts: NbdDoorParts;
  readonly #budget: Budget;
  readonly #memory = new ReplyMemory();
  readonly #admission = new Admission();

  constructor(parts: NbdDoorParts) {
    this.#parts = parts;
    this.#budget = new Budget(poolBytes[parts.transport ?? 'plaintext']);
  }

  /** Serves one connection. Resolves when it is closed. Never rejects. */
  async serve(stream: Duplex, arrival: Arrival = {}): Promise<void> {
    // A client that resets its connection ends it; nothing else follows from it.
    stream.on('error', () => undefined);
    if (!this.#admission.enter(stream, arrival.address)) {
      stream.destroy();
      return;
    }
    try {
      await this.#converse(stream, arrival);
    } catch (error) {
      this.#parts.logError('an NBD connection failed', { error: String(error) });
    } finally {
      stream.destroy();
      this.#admission.leave(stream);
    }
  }

  /** Ends every connection. */
  close(): void {
    this.#admission.close();
  }

  async #converse(stream: Duplex, { startTls }: Arrival): Promise<void> {
    const { exports, clock, logError } = this.#parts;
    const late = clock.alarm(NEGOTIATION_MS, () => stream.destroy());
    const admission = this.#admission;
    const onOption = (): void => admission.noteOption(stream);
    const { agreed, stream: last, reader } = await negotiate(stream, { exports, admission, startTls, onOption });
    late.cancel();
    if (agreed !== undefined) {
      admission.settle(stream);
      const share = this.#budget.share();
      try {
        await new Transmission(agreed, { share, memory: this.#memory, clock, logError }).run();
      } finally {
        agreed.opened.release();
        admission.closeDisk(agreed.opened.name);
      }
    }
    reader.release();
    await ended(last, clock);
  }
}
