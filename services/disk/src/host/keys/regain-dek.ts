import { Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Lease } from './key-access.ts';
import { type KeyUse, vaultUnreachable } from './key-reasons.ts';
import type { Leases } from './leases.ts';

/** What waits for its DEK: a session, or one end of a copy. */
export interface DekUser {
  /** Throws why waiting longer cannot help. @param leftMs how long it may take itself */
  refuse(leftMs: number): void | Promise<void>;
  /** Whether the DEK is in memory and may be used. */
  isUsable(): boolean;
  /** The lease of the DEK now; undefined under a platform key. */
  lease(): Lease | undefined;
  /** Unwraps the DEK while the lease is held. */
  fetchDek(): Promise<void>;
  /** For errors. */
  use(): KeyUse;
}

/** Wait after an unwrap that the vault did not respond to, in milliseconds. */
const unwrapAgainMs = 200;

/**
 * Waits until the DEK may be used: first for the lease, then for the unwrap. After each change it starts over.
 * @throws Rejection UNAVAILABLE KEY_VAULT_UNREACHABLE at `endMs` or when `over` is aborted; whatever `refuse` and `fetchDek` throw
 */
export const regainDek = async (
  user: DekUser,
  parts: { readonly leases: Pick<Leases, 'changed'>; readonly clock: Clock },
  { endMs, over }: { readonly endMs: number; readonly over: AbortSignal },
): Promise<void> => {
  const { leases, clock } = parts;
  let failure: unknown;
  for (;;) {
    const leftMs = endMs - clock.monotonicMs();
    await user.refuse(Math.max(0, leftMs));
    if (user.isUsable()) return;
    if (leftMs <= 0 || over.aborted) throw vaultUnreachable(user.use(), failure);
    const lease = user.lease();
    if (lease && !lease.isHeld()) {
      await leases.changed(lease.key, leftMs, over);
      continue;
    }
    try {
      await user.fetchDek();
    } catch (error) {
      if (!(error instanceof Rejection && error.code === 'UNAVAILABLE') || lease === undefined) throw error;
      failure = error;
      await clock.sleep(Math.min(leftMs, unwrapAgainMs), over);
    }
  }
};
