import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { EncryptedDisk } from '../encrypted-disk.ts';
import type { KeyAccess, KeyGrant, SetKeyVersion } from '../keys/key-access.ts';
import { keyLost } from '../keys/key-reasons.ts';
import type { WriteGate } from '../volume/write-gate.ts';

/** One open of a disk: what a token gives access to. Kept in memory; the events know enough to make it again. */
export interface Session {
  readonly name: string;
  readonly attachEpoch: number;
  readonly tokenHash: string;
  readonly level: 'read' | 'write';
  /** When direct access ends by itself; undefined for a machine. */
  readonly expiresAt: Instant | undefined;
  /** A running machine keeps its DEK of such a disk through a loss (CMK-102), as long as this process has it. */
  readonly isPinnable: boolean;
  readonly disk: EncryptedDisk;
  readonly gate: WriteGate;
  /** Writes under way: a newer open waits for them, or it could lose what it wrote to an older one. */
  readonly writes: Set<Promise<unknown>>;
  /** The key version the DEK is under; undefined under a key of the platform. */
  key: SetKeyVersion | undefined;
  /** Undefined while the DEK is not in memory. */
  held: { readonly grant: KeyGrant | undefined } | undefined;
  isEnded: boolean;
  /** Aborted when the session ends: stops the wait for its expiry. */
  readonly ending: AbortController;
  /** The DEK being fetched: one question, however many reads wait for it. */
  fetching: Promise<void> | undefined;
}

/** Whether the session goes on through a loss only because its machine has an ultra disk. */
export const isPinned = (session: Session, keyAccess: KeyAccess): boolean =>
  session.isPinnable &&
  session.key !== undefined &&
  session.held !== undefined &&
  keyAccess.lossOf(session.key) !== undefined;

/**
 * Asked before each piece of I/O. Costs a few comparisons while the DEK is held and nothing was lost.
 * @param fetch gets the DEK where it is not in memory: after a restart, or when access has returned
 * @throws Rejection FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED; a reason of key loss; UNAVAILABLE. Rules CMK-100, CMK-105.
 */
export const checkPiece = (
  session: Session,
  { keyAccess, now, fetch }: { readonly keyAccess: KeyAccess; now(): Instant; fetch(session: Session): Promise<void> },
): void | Promise<void> => {
  refuseEnded(session, now());
  const { key, held, isPinnable } = session;
  if (held) {
    if (key === undefined || isPinnable || held.grant === undefined) return;
    const loss = keyAccess.lossConcerning(key, held.grant);
    if (loss) throw keyLost({ ...key, resource: session.name }, loss);
    return;
  }
  const loss = key && keyAccess.lossOf(key);
  if (key && loss) throw keyLost({ ...key, resource: session.name }, loss);
  return fetch(session).then(() => refuseEnded(session, now()));
};

/** @throws Rejection FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED */
export const refuseEnded = (session: Session, at: Instant): void => {
  if (!session.isEnded && (session.expiresAt === undefined || session.expiresAt > at)) return;
  throw outdated(session.name, session.attachEpoch);
};

/** The refusal of a token whose time is over. */
export const outdated = (name: string, attachEpoch: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'ATTACH_EPOCH_OUTDATED',
    `access ${attachEpoch} to ${name} has ended: open the disk again`,
    { disk: name, attach_epoch: String(attachEpoch) },
  );
