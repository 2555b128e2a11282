import { type Category, type EventStore, eventReader } from '@interlock/event-store';
import type { KeyEvent } from './key/events.ts';
import { isStanding, type Key, keys as keyStreams, versionOf } from './key/key.ts';
import type { RsaEngine } from './rsa.ts';

const keyEvent = eventReader(keyStreams);
const feedPage = 1_000;

/**
 * Makes the workers forget the private keys of versions that are disabled or deleted, in every replica: each follows the
 * feed by itself. Defence in depth only: whether a version may be used is decided from its state at every use.
 */
export const evictUnusable = async (
  parts: { readonly store: EventStore; readonly keys: Category<Key, KeyEvent>; readonly engine: RsaEngine },
  signal: AbortSignal,
): Promise<void> => {
  const { store, keys, engine } = parts;
  let position = await store.head();
  while (!signal.aborted) {
    const events = await store.feed(position, feedPage);
    for (const recorded of events) {
      const found = keyEvent(recorded);
      if (found?.event.type !== 'KeyVersionDisabled' && found?.event.type !== 'KeyDeleted') continue;
      const { state } = await keys.load(found.id);
      if (!isStanding(state)) continue;
      const versions =
        found.event.type === 'KeyDeleted'
          ? Object.values(state.versions)
          : [versionOf(state, found.event.version)].filter((version) => version !== undefined);
      for (const { materialId } of versions) await engine.evict(materialId);
    }
    position = events.at(-1)?.position ?? position;
    if (events.length === 0) await store.waitForEvents(position, signal);
  }
};
