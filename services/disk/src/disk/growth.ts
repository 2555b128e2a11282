import type { Cause, Loaded } from '@interlock/event-store';
import { headerRefOf } from '../host/header/header-refs.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { followDiskHeader } from '../moves/header-following.ts';
import { type Control, commitDisk } from './control.ts';
import { grow, growable } from './decider.ts';
import type { Disk } from './state.ts';

/**
 * Makes a disk larger: the volume first, then the header, then the event. Until the event the disk has its former size. Needs no
 * key. Rules VM-27, VM-28.
 * @throws Rejection as GrowDisk lists them
 */
export const growDisk = (
  control: Control,
  name: string,
  sizeGib: number,
  cause: Cause,
  options: { readonly expected?: number },
): Promise<Loaded<Disk>> =>
  control.turns(name, async () => {
    const { disks, host, stored, clock } = control;
    // Commits no event, but compares the etag before anything changes.
    const loaded = await disks.transact(name, () => [], cause, options);
    if (growable(sizeGib)(loaded.state).sizeGib === sizeGib) return loaded;
    // Header and events agree afterwards, so the header is not larger because of an earlier growth.
    const { state } = await followDiskHeader(control, name, cause);
    const { volumeId } = state.volume;
    await host.grow({ ...state, name }, sizeGib * bytesPerGib, (header) => {
      const decide = grow(clock.now(), sizeGib, headerRefOf(volumeId, header));
      return commitDisk(control, name, decide, cause, { rows: [stored.put(volumeId, header)] });
    });
    return disks.load(name);
  });
