import { type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { KeyAccess } from '../keys/key-access.ts';
import { vaultUnreachable } from '../keys/key-reasons.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { Leases } from '../keys/leases.ts';
import type { Ownership } from '../ownership.ts';
import { mayUseDek, refuseEnded, refuseLost, type Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** One read or write that cannot go on now. */
export interface PausedIo {
  /** Bytes it holds in memory while it waits. */
  readonly bytes: number;
  /** Milliseconds until its own deadline. */
  remainingMs(): number;
  /** Aborted when its caller is gone. */
  readonly signal: AbortSignal;
  readonly cause: Cause;
}

/**
 * Lets a read or write wait until the DEK of its disk may be used again: for the lease, which is asked for once for all who
 * wait, then for the DEK. It waits for at most the pause allowed, or until its own deadline; then, and when too many
 * wait already, it fails as unreachable. What changes meanwhile is looked at again: a loss, the end of the access.
 * The lease of this host on its volumes comes before both.
 * @throws Rejection UNAVAILABLE KEY_VAULT_UNREACHABLE, DISK_HOST_LEASE_OVER; FAILED_PRECONDITION DISK_HOST_REPLACED; a reason of key loss; FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED;
 *   DATA_LOSS WRONG_DEK, HEADER_CORRUPT
 */
export type Regaining = (session: Session, io: PausedIo) => Promise<void>;

/** Reads and writes of this host that may wait at the same time, and the bytes they may hold. */
export interface PauseLimits {
  readonly waitingMax: number;
  readonly bytesMax: number;
}

/** Two for every disk a host is expected to have open, and the data of 64 of the largest messages. */
export const pauseLimits: PauseLimits = { waitingMax: 4_096, bytesMax: 128 * 1024 * 1024 };

/** Wait after an unwrap that got no answer while the lease is held, in milliseconds. */
const unwrapAgainMs = 200;
/** How long before its own deadline a paused call is answered, so that its caller still hears why: a tenth, at most 250 ms. */
const beforeDeadlineMs = (remainingMs: number): number => Math.min(250, remainingMs / 10);

/** Nobody waits yet. Rules G1, CMK-113. */
export const openRegaining = (parts: {
  readonly sessions: Pick<Sessions, 'fetchDek'>;
  readonly keyAccess: Pick<KeyAccess, 'lossAfter'>;
  readonly leases: Pick<Leases, 'changed'>;
  readonly ownership: Pick<Ownership, 'isHeld' | 'regained'>;
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly limits?: PauseLimits;
  readonly clock: Clock;
  /** Aborted when this host stops: nothing waits any longer. */
  readonly signal: AbortSignal;
}): Regaining => {
  const { sessions, keyAccess, leases, ownership, terms, limits = pauseLimits, clock, signal } = parts;
  const paused = { waiting: 0, bytes: 0 };

  const until = async (session: Session, io: PausedIo): Promise<void> => {
    const allowedMs = io.remainingMs();
    const endMs = clock.monotonicMs() + Math.min(terms.ioPauseTimeoutMs, allowedMs - beforeDeadlineMs(allowedMs));
    const over = AbortSignal.any([io.signal, session.ending.signal, signal]);
    let failure: unknown;
    for (;;) {
      refuseEnded(session, clock.now());
      const leftMs = endMs - clock.monotonicMs();
      if (!ownership.isHeld()) {
        await ownership.regained(Math.max(0, leftMs), over);
        continue;
      }
      if (mayUseDek(session)) return;
      refuseLost(session, keyAccess);
      if (leftMs <= 0 || over.aborted) throw unreachable(session, failure);
      const { lease } = session;
      if (lease === undefined || lease.isHeld()) {
        try {
          await sessions.fetchDek(session, io.cause);
        } catch (error) {
          if (!(error instanceof Rejection && error.code === 'UNAVAILABLE') || lease === undefined) throw error;
          failure = error;
          await clock.sleep(Math.min(leftMs, unwrapAgainMs), over);
        }
      } else await leases.changed(lease.key, leftMs, over);
    }
  };

  return async (session, io) => {
    if (paused.waiting >= limits.waitingMax || paused.bytes + io.bytes > limits.bytesMax) {
      throw unreachable(session, new Error('too many reads and writes wait already'));
    }
    paused.waiting += 1;
    paused.bytes += io.bytes;
    try {
      await until(session, io);
    } finally {
      paused.waiting -= 1;
      paused.bytes -= io.bytes;
    }
  };
};

const unreachable = ({ name, lease }: Session, cause: unknown): Rejection =>
  vaultUnreachable({ set: lease?.key.set ?? '', keyVersion: lease?.key.keyVersion ?? '', resource: name }, cause);
