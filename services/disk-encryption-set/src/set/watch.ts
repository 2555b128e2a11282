import type {
  WatchDiskEncryptionSetRequest,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Category, EventStore } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import type { SetEvent } from './events.ts';
import type { DiskEncryptionSet } from './state.ts';
import { setOnWire } from './wire.ts';

/** Follows one set: now, and after each change until it is deleted. Changes close together are told as one. */
export const watchApi = (parts: {
  readonly store: EventStore;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
}) => ({
  async *watchDiskEncryptionSet({ name }: WatchDiskEncryptionSetRequest, { signal }: Call): AsyncGenerator<WireSet> {
    const { store, sets } = parts;
    names.diskEncryptionSet.parse(name, 'name');
    // Read before the state, so that a change between the two is waited for in vain at worst.
    let position = await store.head();
    let loaded = await sets.load(name);
    const first = setOnWire(loaded);
    const began = first.createTime?.getTime();
    yield first;
    let shown = loaded.version;
    while (await store.waitForEvents(position, signal)) {
      position = await store.head();
      loaded = await sets.load(name);
      const { state, version } = loaded;
      if (state.status === 'absent' || state.status === 'deleted') return;
      // Another set of the same name is not the one that is watched; the same one may have another identity by now.
      if (state.createdAt !== began) return;
      if (version === shown) continue;
      shown = version;
      yield setOnWire(loaded);
    }
  },
});
