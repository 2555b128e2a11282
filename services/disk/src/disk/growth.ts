import type { Category, Cause, EventStore, Loaded } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Headers } from '../host/header/genuine-headers.ts';
import { headerRefOf, replaceHeader } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import { bytesPerGib } from '../host/volume/volume-making.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { CatchUp } from '../moves/catching-up.ts';
import { grow, growable } from './decider.ts';
import { isLayered } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import { transactGuarded } from './guarded-commit.ts';
import type { Disk } from './state.ts';
import type { Turns } from './turns.ts';

/**
 * Makes a disk larger: the volume first, then the header, then the event. Until the event the disk is as large as before,
 * whatever its volume is. Needs no key. Rules VM-27, VM-28.
 * @throws Rejection as GrowDisk lists them
 */
export type DiskGrowth = (
  name: string,
  sizeGib: number,
  cause: Cause,
  options: { readonly expected?: number },
) => Promise<Loaded<Disk>>;

/** Opens it. */
export const openDiskGrowth =
  (parts: {
    readonly store: EventStore;
    readonly disks: Category<Disk, DiskEvent>;
    readonly volumes: Volumes;
    readonly headers: Pick<Headers, 'current'>;
    readonly stored: Pick<StoredHeaders, 'put'>;
    readonly turns: Turns;
    readonly catchUp: CatchUp;
    readonly clock: Clock;
  }): DiskGrowth =>
  (name, sizeGib, cause, options) =>
    parts.turns(name, async () => {
      const { store: events, disks, volumes, headers, stored, catchUp, clock } = parts;
      // Decides nothing, but holds the etag against the stream before anything is changed.
      const loaded = await disks.transact(name, () => [], cause, options);
      const before = growable(sizeGib)(loaded.state);
      if (before.sizeGib === sizeGib) return loaded;
      const { state: now } = await catchUp(name, cause);
      const { volumeId } = now.volume;
      const size = sizeGib * bytesPerGib;
      const { store } = await volumes.open(volumeId, isLayered(before.encryption));
      try {
        if (store.size() < size) await store.grow(size);
        await store.flush();
      } finally {
        await store.close();
      }
      const header = await headers.current({ ...now, name });
      // Header and events agree here, so a header of that size is one whose event the catching up has made.
      if (header.size < size) {
        await replaceHeader(volumes, volumeId, header, { size }, (grown) => {
          const decide = grow(clock.now(), sizeGib, headerRefOf(volumeId, grown));
          return transactGuarded(events, disks, name, decide, cause, { rows: [stored.put(volumeId, grown)] });
        });
      }
      return disks.load(name);
    });
