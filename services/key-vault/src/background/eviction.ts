import { type Category, type EventStore, eventReader } from '@interlock/event-store';
import type { KeyEvent } from '../key/events.ts';
import { isStanding, type Key, keys as keyStreams, versionOf } from '../key/key.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import { formerMaterial } from '../sealing/key-material.ts';

const keyEvent = eventReader(keyStreams);
const feedPage = 1_000;

/**
 * Makes the workers forget the private keys of versions that are disabled, deleted or purged, in every replica: each
 * follows the feed by itself. For a purge that is the rest of it (KV-28, G8): the seal key is gone for all, what a replica
 * had opened before is not. Otherwise it is defence in depth: whether a version may be used is decided at every use.
 * @returns follows until the signal; after a failure it goes on where it was, for nobody else tells it what it missed
 */
export const evictUnusable = (parts: {
  readonly store: EventStore;
  readonly keys: Category<Key, KeyEvent>;
  readonly engine: RsaEngine;
}): ((signal: AbortSignal) => Promise<void>) => {
  const { store, keys, engine } = parts;
  let reached: number | undefined;
  return async (signal) => {
    let position = reached ?? (await store.head());
    while (!signal.aborted) {
      reached = position;
      const events = await store.feed(position, feedPage);
      for (const recorded of events) {
        const found = keyEvent(recorded);
        if (!found) continue;
        for (const materialId of await unusableAfter({ store, keys }, found)) await engine.evict(materialId);
      }
      position = events.at(-1)?.position ?? position;
      // A page that is not full was the last one, or else this ends at once.
      if (events.length < feedPage) await store.waitForEvents(position, signal);
    }
  };
};

/** Private keys that an event leaves nothing to do for. */
const unusableAfter = async (
  { store, keys }: { readonly store: EventStore; readonly keys: Category<Key, KeyEvent> },
  { id, event }: { readonly id: string; readonly event: KeyEvent },
): Promise<readonly string[]> => {
  // A purged key has no versions any more: what it had is in its past. One that came back by that name has new ones.
  if (event.type === 'KeyPurged') return [...(await formerMaterial({ store, keys }, id))];
  if (event.type !== 'KeyVersionDisabled' && event.type !== 'KeyDeleted') return [];
  const { state } = await keys.load(id);
  if (!isStanding(state)) return [];
  const versions =
    event.type === 'KeyDeleted' ? Object.values(state.versions) : [versionOf(state, event.version)].filter(isThere);
  return versions.map(({ materialId }) => materialId);
};

const isThere = <Value>(value: Value | undefined): value is Value => value !== undefined;
