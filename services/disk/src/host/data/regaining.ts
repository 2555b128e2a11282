import type { Cause } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { type KeyUse, vaultUnreachable } from '../keys/key-reasons.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { Leases } from '../keys/leases.ts';
import { type DekUser, regainDek } from '../keys/regain-dek.ts';
import type { Ownership } from '../owner/ownership.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** One read or write that waits. */
export interface PausedIo {
  /** Bytes it holds in memory meanwhile. */
  readonly bytes: number;
  /** Milliseconds until its own deadline. */
  remainingMs(): number;
  /** Aborted when its caller is gone. */
  readonly signal: AbortSignal;
  readonly cause: Cause;
}

/**
 * Pauses a read or write until the DEK of its disk may be used again: for at most `IO_PAUSE_TIMEOUT_MS` or its own deadline.
 * The host's lease on its volumes comes first.
 * @throws Rejection UNAVAILABLE KEY_VAULT_UNREACHABLE, also if too many wait already; DISK_HOST_LEASE_OVER; FAILED_PRECONDITION
 *   DISK_HOST_REPLACED, ATTACH_EPOCH_OUTDATED; a reason of key loss; DATA_LOSS WRONG_DEK, HEADER_CORRUPT
 */
export type Regaining = (session: Session, io: PausedIo) => Promise<void>;

/** Reads and writes of this host that may wait at the same time, and the bytes they may hold. */
export interface PauseLimits {
  readonly waitingMax: number;
  readonly bytesMax: number;
}

/** Two for every disk a host is expected to have open, and the data of 64 of the largest messages. */
export const pauseLimits: PauseLimits = { waitingMax: 4_096, bytesMax: 128 * 1024 * 1024 };

/** How long before its own deadline a paused call fails, so that the caller receives the reason: a tenth, at most 250 ms. */
const beforeDeadlineMs = (remainingMs: number): number => Math.min(250, remainingMs / 10);

/** Rules G1, CMK-113. */
export const openRegaining = (parts: {
  readonly sessions: Pick<Sessions, 'fetchDek'>;
  readonly leases: Pick<Leases, 'changed'>;
  readonly ownership: Pick<Ownership, 'isHeld' | 'regained'>;
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly limits?: PauseLimits;
  readonly clock: Clock;
  /** Aborted when this host stops: nothing waits any longer. */
  readonly signal: AbortSignal;
}): Regaining => {
  const { sessions, ownership, terms, limits = pauseLimits, clock, signal } = parts;
  const paused = { waiting: 0, bytes: 0 };

  const userOf = (session: Session, { cause }: PausedIo, over: AbortSignal): DekUser => ({
    async refuse(leftMs) {
      const endMs = clock.monotonicMs() + leftMs;
      session.refuseEnded(clock.now());
      while (!ownership.isHeld()) {
        await ownership.regained(Math.max(0, endMs - clock.monotonicMs()), over);
        session.refuseEnded(clock.now());
      }
      // A pinned session continues after a loss.
      if (!session.mayUseDek()) session.refuseLost();
    },
    isUsable: () => session.mayUseDek(),
    lease: () => session.lease,
    fetchDek: () => sessions.fetchDek(session, cause),
    use: () => useOf(session),
  });

  return async (session, io) => {
    if (paused.waiting >= limits.waitingMax || paused.bytes + io.bytes > limits.bytesMax) {
      throw vaultUnreachable(useOf(session), new Error('too many reads and writes wait already'));
    }
    paused.waiting += 1;
    paused.bytes += io.bytes;
    const allowedMs = io.remainingMs();
    const endMs = clock.monotonicMs() + Math.min(terms.ioPauseTimeoutMs, allowedMs - beforeDeadlineMs(allowedMs));
    const over = AbortSignal.any([io.signal, session.ending.signal, signal]);
    try {
      await regainDek(userOf(session, io, over), parts, { endMs, over });
    } finally {
      paused.waiting -= 1;
      paused.bytes -= io.bytes;
    }
  };
};

const useOf = ({ name, lease }: Session): KeyUse => ({
  set: lease?.key.set ?? '',
  keyVersion: lease?.key.keyVersion ?? '',
  resource: name,
});
