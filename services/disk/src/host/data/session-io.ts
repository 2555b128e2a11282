import { Rejection } from '@interlock/event-store';
import type { Call } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Background } from '../background.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { Ownership } from '../owner/ownership.ts';
import type { AccessCheck } from '../pieces/encrypted-disk.ts';
import { flushFailed } from '../storage/flushes.ts';
import type { Holders } from './holders.ts';
import type { Regaining } from './regaining.ts';
import { checkPiece, type Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** What a read, write or flush needs of its caller. */
export type IoCaller = Pick<Call, 'cause' | 'signal' | 'remainingMs'>;

export interface SessionIoParts {
  readonly sessions: Sessions;
  readonly holders: Pick<Holders, 'check'>;
  readonly regaining: Regaining;
  readonly ownership: Pick<Ownership, 'isHeld' | 'leftMs' | 'regained'>;
  /** Work that yields to reads and writes. */
  readonly background: Pick<Background, 'noteGuest'>;
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly clock: Clock;
}

/** The one path of data into and out of an open disk: gRPC and NBD use it. Access is checked before each piece and before each response (G1). */
export class SessionIo {
  readonly #parts: SessionIoParts;

  constructor(parts: SessionIoParts) {
    this.#parts = parts;
  }

  /** The session of an access token whose time is not over. @throws as `Sessions.of`, and as `Session.refuseEnded` */
  async sessionOf(name: string, token: string | undefined): Promise<Session> {
    const session = await this.#parts.sessions.of(name, token);
    session.refuseEnded(this.#parts.clock.now());
    this.#parts.background.noteGuest();
    return session;
  }

  /** @param bytes how many the caller holds in memory while it waits */
  checkOf(session: Session, caller: IoCaller, bytes: number): AccessCheck {
    const { holders, ownership, regaining, clock } = this.#parts;
    const { cause } = caller;
    const io = () => ({ bytes, remainingMs: () => caller.remainingMs(), signal: caller.signal, cause });
    const gate = { ownership, now: () => clock.now(), regain: () => regaining(session, io()) };
    return () => {
      const holding = holders.check(session);
      return holding === undefined ? checkPiece(session, gate) : holding.then(() => checkPiece(session, gate));
    };
  }

  /**
   * For how long a session may be used from now on without another check, in milliseconds; 0 or less: not now.
   * @throws as `Holders.check`
   */
  async usableMs(session: Session): Promise<number> {
    const { holders, ownership, clock } = this.#parts;
    await holders.check(session);
    if (session.isEnded) return 0;
    const untilExpiryMs = (session.expiresAt ?? Number.POSITIVE_INFINITY) - clock.now();
    return Math.min(session.dekLeftMs(), ownership.leftMs(), untilExpiryMs);
  }

  /**
   * Writes one message or request. The caller checks again before it acknowledges.
   * @throws Rejection OUT_OF_RANGE BEYOND_END_OF_DISK; INVALID_ARGUMENT OFFSET_INVALID; as the check
   */
  async write(session: Session, offset: number, data: Uint8Array, caller: IoCaller): Promise<void> {
    checkRange(session.name, offset, data.length, session.disk.size());
    const check = this.checkOf(session, caller, data.length);
    try {
      await session.disk.write(offset, data, check);
    } catch (error) {
      throw await explained(error, check);
    }
  }

  /**
   * Needs no key: what was acknowledged before an access loss must reach stable storage after it.
   * @throws Rejection DATA_LOSS FLUSH_FAILED also if writes were lost since the disk was opened
   */
  async flush(session: Session, caller: IoCaller): Promise<void> {
    const { clock } = this.#parts;
    session.refuseEnded(clock.now());
    if (session.mayLackWrites) throw flushFailed(new Error('the machine of the disk host ended before it had flushed'));
    try {
      await this.#flushWhileOwned(session, caller);
    } catch (error) {
      // The access ended while the storage worked.
      if (error instanceof Rejection && error.reason === 'STORE_CLOSED') session.refuseEnded(clock.now());
      throw error;
    }
  }

  /** Waits for the host's lease on its volumes as reads and writes do, also if it is lost during the flush. */
  async #flushWhileOwned(session: Session, caller: IoCaller): Promise<void> {
    const { clock, terms, ownership } = this.#parts;
    const endMs = clock.monotonicMs() + Math.min(terms.ioPauseTimeoutMs, caller.remainingMs());
    for (;;) {
      await ownership.regained(Math.max(0, endMs - clock.monotonicMs()), caller.signal);
      try {
        return await session.disk.flush();
      } catch (error) {
        if (!(error instanceof Rejection && error.reason === 'DISK_HOST_LEASE_OVER')) throw error;
      }
    }
  }
}

/** If the DEK was dropped during a piece, its caller receives the reason of that. */
export const explained = async (error: unknown, check: AccessCheck): Promise<unknown> => {
  if (!(error instanceof Rejection && (error.reason === 'DEK_DROPPED' || error.reason === 'STORE_CLOSED')))
    return error;
  await check();
  return new Rejection(
    'UNAVAILABLE',
    'KEY_ACCESS_RETURNED',
    'access was lost and is restored: repeat the call',
    {},
    { cause: error },
  );
};

/** @throws Rejection PERMISSION_DENIED ACCESS_IS_READ_ONLY */
export const refuseReadOnly = ({ level, name }: Session): void => {
  if (level === 'write') return;
  throw new Rejection(
    'PERMISSION_DENIED',
    'ACCESS_IS_READ_ONLY',
    `the access to ${name} is for reading: begin one for writing`,
    { disk: name },
  );
};

/** @throws Rejection OUT_OF_RANGE BEYOND_END_OF_DISK; INVALID_ARGUMENT OFFSET_INVALID */
export const checkRange = (name: string, offset: number, length: number, size: number): void => {
  if (offset < 0) {
    throw new Rejection('INVALID_ARGUMENT', 'OFFSET_INVALID', 'offset_bytes must be 0 or more', {
      field: 'offset_bytes',
    });
  }
  if (offset + length <= size) return;
  throw new Rejection(
    'OUT_OF_RANGE',
    'BEYOND_END_OF_DISK',
    `bytes ${offset} to ${offset + length} reach beyond the end of ${name} at ${size}`,
    { disk: name, offset: String(offset), length: String(length), size: String(size) },
  );
};
