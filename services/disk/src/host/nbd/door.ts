import type { Duplex } from 'node:stream';
import type { Clock, Logger } from '@interlock/runtime';
import type { SessionIo } from '../data/session-io.ts';
import { Budget } from './budget.ts';
import type { LogError } from './errors.ts';
import type { Exports, SessionExports } from './export.ts';
import { blockSizes, negotiate } from './negotiation.ts';
import { ReplyMemory } from './reply-memory.ts';
import { Transmission } from './transmission.ts';

/** Memory of requests of all connections, in bytes: three of the largest. */
const BUDGET_BYTES = 3 * blockSizes.max;
/** Most connections of a host. Each costs some 20 KiB while it is idle. */
const CONNECTIONS_MAX = 4_096;
/** How long a negotiation may take, in milliseconds. */
const NEGOTIATION_MS = 10_000;

/** A place where clients connect. */
export interface NbdListener {
  /** Calls `accept` with each connection. @param startTls undefined on a Unix socket */
  listen(accept: (stream: Duplex, startTls: ((stream: Duplex) => Promise<Duplex>) | undefined) => void): Promise<void>;
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
}

/** Open disks as network block devices, on the sessions, leases and fencing that gRPC uses. */
export class NbdDoor {
  readonly #parts: NbdDoorParts;
  readonly #budget = new Budget(BUDGET_BYTES);
  readonly #memory = new ReplyMemory();
  readonly #streams = new Set<Duplex>();

  constructor(parts: NbdDoorParts) {
    this.#parts = parts;
  }

  /** Serves one connection. Never rejects. */
  async serve(stream: Duplex, startTls?: (stream: Duplex) => Promise<Duplex>): Promise<void> {
    if (this.#streams.size >= CONNECTIONS_MAX) {
      stream.destroy();
      return;
    }
    this.#streams.add(stream);
    // A client that resets its connection ends it; nothing else follows from it.
    stream.on('error', () => undefined);
    try {
      await this.#converse(stream, startTls);
    } catch (error) {
      this.#parts.logError('an NBD connection failed', { error: String(error) });
      stream.destroy();
    } finally {
      this.#streams.delete(stream);
    }
  }

  /** Ends every connection. */
  close(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  async #converse(stream: Duplex, startTls: ((stream: Duplex) => Promise<Duplex>) | undefined): Promise<void> {
    const { exports, clock, logError } = this.#parts;
    const late = clock.alarm(NEGOTIATION_MS, () => stream.destroy());
    const agreed = await negotiate(stream, { exports, startTls });
    late.cancel();
    if (agreed === undefined) {
      stream.end();
      return;
    }
    if (agreed.stream !== stream) agreed.stream.on('error', () => undefined);
    await new Transmission(agreed, { budget: this.#budget, memory: this.#memory, clock, logError }).run();
  }
}
