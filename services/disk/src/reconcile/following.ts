import { type Category, type Cause, type EventStore, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import type { Disk } from '../disk/state.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import { headerRefOf, wrapRefOf } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { CatchUp } from '../moves/catching-up.ts';
import { rewrap, type Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { Settling } from './settling.ts';

/** A disk or a snapshot, by full name. */
export interface Resource {
  readonly name: string;
  readonly kind: 'disk' | 'snapshot';
}

/**
 * Sees to it that the events of a disk or snapshot follow its header, where what moved the header could not be stored: in its turn,
 * and again until it is done. The next move of the same header would find it ahead and tell of it, but there may be none: where the
 * key it was moved to is lost by then, the set asks for nothing, and the record would name the earlier key for ever. Rule CMK-88.
 */
export interface Following {
  later(resource: Resource, cause: Cause): void;
}

/** Opens it. */
export const openFollowing = (parts: {
  readonly store: EventStore;
  readonly disks: Pick<Category<Disk, DiskEvent>, 'load'>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly headers: Headers;
  readonly stored: Pick<StoredHeaders, 'put'>;
  readonly catchUp: CatchUp;
  readonly settling: Pick<Settling, 'later'>;
  readonly clock: Pick<Clock, 'now'>;
}): Following => {
  const { store, disks, snapshots, headers, stored, catchUp, settling, clock } = parts;

  const followDisk = async (name: string, cause: Cause): Promise<void> => {
    const { state } = await disks.load(name);
    if (state.status === 'active') await catchUp(name, cause);
  };
  const followSnapshot = async (name: string, cause: Cause): Promise<void> => {
    const { state } = await snapshots.load(name);
    if (state.status !== 'active') return;
    const { volumeId, headerSequence } = state.volume;
    const header = await headers.settled({ ...state, name });
    if (header.sequence <= headerSequence) return;
    const decide = rewrap(clock.now(), wrapRefOf(state.encryption, header), headerRefOf(volumeId, header), 0);
    await transactGuarded(store, snapshots, name, decide, cause, { rows: [stored.put(volumeId, header)] });
    await headers.tidied({ ...state, name });
  };

  return {
    later({ name, kind }, cause) {
      settling.later(name, async () => {
        try {
          await (kind === 'disk' ? followDisk(name, cause) : followSnapshot(name, cause));
        } catch (error) {
          // It is damaged: whoever uses it is told so, and no header says anything that could be followed.
          if (!(error instanceof Rejection && error.code === 'DATA_LOSS')) throw error;
        }
      });
    },
  };
};
