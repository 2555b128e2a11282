import type {
  WatchDiskEncryptionSetRequest,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Category, EventStore } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import type { SetEvent } from './events.ts';
import type { DiskEncryptionSet } from './state.ts';
import { setOnWire } from './wire.ts';

/** Streams one set: now, and after each change until it is deleted. Changes close together are sent as one. */
export const watchApi = (parts: {
  readonly store: EventStore;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
}) => ({
  async *watchDiskEncryptionSet({ name }: WatchDiskEncryptionSetRequest, { signal }: Call): AsyncGenerator<WireSet> {
    const { store, sets } = parts;
    names.diskEncryptionSet.parse(name, 'name');
    // Read before the state, so that a change between the two is at worst waited for without effect.
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
      // A later set of the same name is another one. The same set may have another identity.
      if (state.createdAt !== began) return;
      if (version === shown) continue;
      shown = version;
      yield setOnWire(loaded);
    }
  },
});
