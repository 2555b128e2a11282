import type { Duplex } from 'node:stream';
import type { Cause } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { SessionIo } from '../data/session-io.ts';
import { Budget } from './budget.ts';
import { blockSizes, negotiate } from './negotiation.ts';
import { Transmission } from './transmission.ts';

/** Memory of requests of all connections, in bytes: three of the largest. */
const BUDGET_BYTES = 3 * blockSizes.max;
/** Most connections of a host. Each costs some 20 KiB while it is idle. */
const CONNECTIONS_MAX = 4_096;
/** How long a negotiation may take, in milliseconds. */
const NEGOTIATION_MS = 10_000;

/** A place where clients connect. */
export interface NbdListener {
  /** `unix:/path` or `tls://host:port`, as clients reach it. */
  readonly address: string;
  /** Calls `accept` with each connection. @param startTls undefined on a Unix socket */
  listen(accept: (stream: Duplex, startTls: ((stream: Duplex) => Promise<Duplex>) | undefined) => void): Promise<void>;
  close(): Promise<void>;
}

export interface NbdDoorParts {
  readonly io: SessionIo;
  /** Names of disks that are open here. */
  readonly openDisks: () => readonly string[];
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  /** Aborted when the service stops. */
  readonly signal: AbortSignal;
}

/** Open disks as network block devices, on the sessions, leases and fencing that gRPC uses. */
export class NbdDoor {
  readonly #parts: NbdDoorParts;
  readonly #budget = new Budget(BUDGET_BYTES);
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
      this.#parts.log.error('an NBD connection failed', { error });
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
    const { io, openDisks, clock, random, log, signal } = this.#parts;
    const late = clock.alarm(NEGOTIATION_MS, () => stream.destroy());
    const agreed = await negotiate(stream, {
      sessionOf: (name, token) => io.sessionOf(name, token),
      openDisks,
      startTls,
    });
    late.cancel();
    if (agreed === undefined) {
      stream.end();
      return;
    }
    if (agreed.stream !== stream) agreed.stream.on('error', () => undefined);
    const cause: Cause = { correlationId: random.uuid(), causes: [], caller: 'system:nbd' };
    const caller = { cause, signal, remainingMs: () => Number.POSITIVE_INFINITY };
    await new Transmission(agreed, { io, budget: this.#budget, caller, clock, log }).run();
  }
}
