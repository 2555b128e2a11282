import { type Category, type EventStore, eventReader } from '@interlock/event-store';
import type { KeyEvent } from '../key/events.ts';
import { exists, type Key, keys as keyStreams, versionOf } from '../key/key.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import { formerMaterial } from '../sealing/key-material.ts';

const keyEvent = eventReader(keyStreams);
const feedPage = 1_000;

/**
 * Makes the RSA threads of this replica forget the private keys of disabled, deleted and purged versions; every replica follows
 * the feed itself. A purge needs it (KV-28, G8), because a replica may hold a key that it opened before the seal key was
 * destroyed. Otherwise it is defence in depth: every use decides whether the version may be used.
 * @returns follows the feed until the signal; called again after a failure, it continues at the same position
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
      // After a full page there may be more.
      if (events.length < feedPage) await store.waitForEvents(position, signal);
    }
  };
};

/** Private keys that may not be used after an event. */
const unusableAfter = async (
  { store, keys }: { readonly store: EventStore; readonly keys: Category<Key, KeyEvent> },
  { id, event }: { readonly id: string; readonly event: KeyEvent },
): Promise<readonly string[]> => {
  // The state of a purged key has no versions; its events name them.
  if (event.type === 'KeyPurged') return [...(await formerMaterial(store, keys, id))];
  if (event.type !== 'KeyVersionDisabled' && event.type !== 'KeyDeleted') return [];
  const { state } = await keys.load(id);
  if (!exists(state)) return [];
  const versions =
    event.type === 'KeyDeleted' ? Object.values(state.versions) : [versionOf(state, event.version)].filter(isThere);
  return versions.map(({ materialId }) => materialId);
};

const isThere = <Value>(value: Value | undefined): value is Value => value !== undefined;
