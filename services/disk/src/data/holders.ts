import type { Category, Cause } from '@interlock/event-store';
import { type Authorizer, type Principal, requirePermission } from '@interlock/rpc';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { endAccess } from '../disk/attachment-decider.ts';
import type { DiskEvent } from '../disk/events.ts';
import type { Disk } from '../disk/state.ts';
import type { Turns } from '../turns.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** The principals that began direct access: each access lasts only as long as its principal may begin one. */
export interface Holders {
  /**
   * Checks the principal of a direct access; its answer is at most `AUTHZ_TTL_MS` old. A refusal ends the access. The open
   * of a machine has no principal.
   * @throws Rejection PERMISSION_DENIED ACCESS_DENIED; UNAUTHENTICATED PRINCIPAL_DELETED; RpcFailure while identity does not
   *   respond, which ends nothing
   */
  check(session: Session): Promise<void> | undefined;
  /** Does the same once per `periodMs` until the session ends, so that an access nobody uses ends too. Never rejects. */
  watch(session: Session): Promise<void>;
}

/** What its principal needs on the disk, to begin an access and as long as it lasts. */
const action = 'compute/disks/beginAccess';

/** Opens the checks. */
export const openHolders = (parts: {
  readonly authorize: Authorizer;
  readonly disks: Pick<Category<Disk, DiskEvent>, 'transact'>;
  readonly sessions: Pick<Sessions, 'end'>;
  readonly turns: Turns;
  readonly periodMs: number;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): Holders => {
  const { authorize, disks, sessions, turns, periodMs, clock, random, log } = parts;

  /** The data key leaves memory first: then the store may take its time. */
  const end = async (session: Session): Promise<void> => {
    const { name, tokenHash, isEnded } = session;
    if (isEnded) return;
    sessions.end(name);
    const id = random.uuid();
    const cause: Cause = { correlationId: id, causationId: id, caller: 'system:disk' };
    await turns(name, () => disks.transact(name, endAccess(clock.now(), tokenHash), cause));
  };
  const ask = async (session: Session, holder: Principal): Promise<void> => {
    const decision = await authorize(holder, action, session.name);
    if (decision.principalActive && decision.allowed) return;
    // A store that does not answer changes nothing here: the next use makes the session again, and is refused again.
    await end(session).catch((error: unknown) =>
      log.warn('a direct access could not be ended in the store', { disk: session.name, error }),
    );
    await requirePermission(async () => decision, holder, action, session.name);
  };
  const check: Holders['check'] = (session) => session.holder && ask(session, session.holder);

  return {
    check,
    async watch(session) {
      const { signal } = session.ending;
      while (session.holder !== undefined && !signal.aborted) {
        await clock.sleep(periodMs, signal);
        if (signal.aborted) return;
        await check(session)?.catch((error: unknown) =>
          log.warn('a direct access was refused, or its principal could not be checked', { disk: session.name, error }),
        );
      }
    },
  };
};
