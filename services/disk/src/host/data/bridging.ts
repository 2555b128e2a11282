import type { Clock } from '@interlock/runtime';
import type { KeyAccess, Lease } from '../keys/key-access.ts';
import type { Session } from './session.ts';

/**
 * Lets a session whose disk moved to another key version go on (G6). Where the lease of the new version is held, that counts.
 * Else the last yes to the version before counts on, for its own time and not renewed; then there is the new lease or no DEK.
 */
export const bridge = async (
  session: Session,
  before: Lease,
  parts: {
    readonly keyAccess: Pick<KeyAccess, 'lossConcerning' | 'termOf'>;
    readonly clock: Pick<Clock, 'sleep'>;
    /** Drops the DEK; `dropUnusable` only where it may not be used now. */
    drop(session: Session): void;
    dropUnusable(session: Session): void;
  },
): Promise<void> => {
  const { keyAccess, clock, drop, dropUnusable } = parts;
  const { held, lease, isPinnable } = session;
  if (!lease || !held) return;
  const yes = before.yes();
  // Whoever said yes to one version said nothing about another: every loss of that concerns this DEK.
  const last = held.grant ?? yes;
  const grant = lease.isHeld() ? lease.yes() : last && { ...last, accessEpoch: 0 };
  session.held = { grant };
  if (grant && !isPinnable && keyAccess.lossConcerning(lease.key, grant)) return drop(session);
  if (lease.isHeld() || !yes) return dropUnusable(session);

  const term = keyAccess.termOf(yes);
  session.bridge = term;
  dropUnusable(session);
  while (session.bridge === term && term.isHeld()) await clock.sleep(term.leftMs(), session.ending.signal);
  if (session.bridge !== term) return;
  session.bridge = undefined;
  dropUnusable(session);
};
