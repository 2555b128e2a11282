import type { Cause } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
import type { Session } from './session.ts';

/** DEKs unwrapped at the same time for sessions that no read or write waits for. */
const idleFetchesMax = 64;

/** What pinning needs. */
export interface UnpinnedParts {
  readonly keyAccess: Pick<KeyAccess, 'listen'>;
  /** Unwraps the DEK of a session (`Sessions.fetchDek`). */
  readonly fetchDek: (session: Session, cause: Cause) => Promise<void>;
  readonly log: Logger;
}

/**
 * Pinnable sessions of the previous process that have no DEK yet. Each gets it as soon as the lease of its key is held, even before
 * a read: otherwise there would be no DEK to keep during a loss (CMK-102).
 */
export class Unpinned {
  readonly #parts: UnpinnedParts;
  /** Each with the cause of this process's start. */
  readonly #sessions = new Map<Session, Cause>();

  constructor(parts: UnpinnedParts) {
    this.#parts = parts;
    // Outside of the check that was granted: its deadline may pass before the last DEK is unwrapped.
    parts.keyAccess.listen({ held: (key) => outsideOfCalls(() => void this.#pinUnder(key)) });
  }

  /** Adds a session, and pins it at once if its lease is held. */
  add(session: Session, cause: Cause): void {
    this.#sessions.set(session, cause);
    if (session.lease?.isHeld()) outsideOfCalls(() => void this.#pin(session, cause));
  }

  /** Removes a session that ends. */
  delete(session: Session): void {
    this.#sessions.delete(session);
  }

  /** If this fails, the next grant of the lease or the next read or write tries again. */
  async #pin(session: Session, cause: Cause): Promise<void> {
    try {
      if (!session.hasDek && !session.isEnded) await this.#parts.fetchDek(session, cause);
    } catch (error) {
      this.#parts.log.warn('an ultra disk has no data key yet', { disk: session.name, error });
    }
    if (session.hasDek || session.isEnded) this.#sessions.delete(session);
  }

  async #pinUnder({ set, keyVersion }: SetKeyVersion): Promise<void> {
    const found = [...this.#sessions].filter(
      ([{ lease }]) => lease?.key.set === set && lease.key.keyVersion === keyVersion,
    );
    for (let first = 0; first < found.length; first += idleFetchesMax) {
      const batch = found.slice(first, first + idleFetchesMax);
      await Promise.all(batch.map(([session, cause]) => this.#pin(session, cause)));
    }
  }
}
