import type { Cause } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { HostLeases } from '../host/owner/lease-row.ts';
import type { Fleet } from './fleet.ts';

/** Time between two looks at the lease of a host that does not respond, in milliseconds. */
const lookMs = 500;

/** What a fence needs. */
export interface FenceParts {
  readonly fleet: Pick<Fleet, 'folderOf' | 'look' | 'isServing' | 'refresh'>;
  readonly leases: Pick<HostLeases, 'requireClosed'>;
  readonly clock: Pick<Clock, 'sleep'>;
}

/** For how long a caller waits. */
export interface Wait {
  /** Milliseconds that are left. */
  readonly leftMs: () => number;
  readonly signal: AbortSignal;
}

/**
 * Waits until a disk host that does not respond serves none of the accesses that ended without it: either its lease says that it has
 * applied their ends, or its lease is over. From the call on it gets no other lease than one that says so, so this takes at most as
 * long as a lease.
 */
export class Fence {
  readonly #parts: FenceParts;

  constructor(parts: FenceParts) {
    this.#parts = parts;
  }

  /**
   * @param position of the newest event that ended one of these accesses
   * @returns whether the host serves none of them; false if the time of the caller is over before that is known
   */
  async passed(host: string, position: number, cause: Cause, { leftMs, signal }: Wait): Promise<boolean> {
    const { fleet, leases, clock } = this.#parts;
    if (fleet.folderOf(host) === undefined) await fleet.refresh();
    const folder = fleet.folderOf(host);
    // A host whose registration was deleted had no disks, and a new one begins with what the store has.
    if (folder === undefined) return true;
    await leases.requireClosed(folder, position, cause);
    for (;;) {
      const lease = await fleet.look(folder);
      if ((lease?.appliedPosition ?? 0) >= position || !fleet.isServing(folder)) return true;
      if (signal.aborted || leftMs() <= lookMs) return false;
      await clock.sleep(lookMs, signal);
    }
  }
}
