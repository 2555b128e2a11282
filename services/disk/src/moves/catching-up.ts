import type { Category, Cause, EventStore, Loaded } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { existing, grow, rewrap } from '../disk/decider.ts';
import { setOf } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { Sessions } from '../host/data/sessions.ts';
import type { DiskHeader } from '../host/header/disk-header-format.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import { headerRefOf, wrapRefOf } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import { bytesPerGib } from '../host/volume/volume-making.ts';

/**
 * Lets the events follow a header that is ahead of them: a crash, or a store that did not answer, came between the two.
 * Called in the disk's turn, where nothing is under way; afterwards header and events agree, so whatever is ahead later is
 * what was begun after this. A disk that is open counts as under the version its header says. A disk whose encryption is
 * changing is left to the change. Rule CMK-88.
 * @param known the header as it is, and the disk as it was read before, for whoever commits on condition that it is so still
 * @returns the disk as it is then
 */
export type CatchUp = (
  name: string,
  cause: Cause,
  known?: { readonly loaded: Loaded<Disk>; readonly header: DiskHeader },
) => Promise<Loaded<ActiveDisk>>;

/** Opens it. */
export const openCatchUp = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly headers: Headers;
  readonly stored: Pick<StoredHeaders, 'put'>;
  readonly sessions: Pick<Sessions, 'rewrapped'>;
  readonly clock: Clock;
}): CatchUp => {
  const { store, disks, headers, stored, sessions, clock } = parts;
  const catchUp: CatchUp = async (name, cause, known) => {
    const loaded = known?.loaded ?? (await disks.load(name));
    const disk = existing(loaded.state);
    const { volumeId, headerSequence } = disk.volume;
    const holder = { ...disk, name };
    const header = known?.header ?? (await headers.settled(holder));
    if (header.sequence <= headerSequence || disk.changing !== null) return { ...loaded, state: disk };
    // Perhaps only ahead of what it was.
    if (known) return catchUp(name, cause);
    const at = clock.now();
    const of = headerRefOf(volumeId, header);
    const after = await transactGuarded(
      store,
      disks,
      name,
      (now) => [
        ...rewrap(at, wrapRefOf(disk.encryption, header), of, disk.accessEpoch)(now),
        ...grow(at, header.size / bytesPerGib, of)(now),
      ],
      cause,
      { rows: [stored.put(volumeId, header)] },
    );
    const set = setOf(disk.encryption);
    if (set !== '') sessions.rewrapped(name, { set, keyVersion: header.wrap.keyVersion });
    await headers.tidied({ ...holder, volume: existing(after.state).volume });
    return { ...after, state: existing(after.state) };
  };
  return catchUp;
};
