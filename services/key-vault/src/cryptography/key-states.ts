import type { Category, EventStore, Loaded } from '@interlock/event-store';
import type { KeyEvent } from '../key/events.ts';
import type { Key } from '../key/key.ts';
import type { VaultEvent } from '../vault/events.ts';
import type { Vault } from '../vault/vault.ts';

/** A vault and a key as they were stored at one time. */
export interface KeyStates {
  /** Head of the event feed, read before the states were. */
  readonly epoch: number;
  readonly vault: Loaded<Vault>;
  readonly key: Loaded<Key>;
}

/**
 * Reads the states that uses of keys are judged by. Every read starts after its callers called, so no caller is judged by an
 * older state: grants are not cached. All calls that arrive during a read share the next one, whatever vaults and keys they
 * are about. So a thousand unwraps cost a few reads, and one costs one.
 *
 * @param vaultId its id @param key `vaults/<v>/keys/<k>`
 */
export type ReadKeyStates = (vaultId: string, key: string) => Promise<KeyStates>;

interface PendingRead {
  readonly vaultId: string;
  readonly key: string;
  readonly resolve: (look: KeyStates) => void;
  readonly reject: (cause: unknown) => void;
}

/** Most calls that share one read: bounds what is read at once. */
const sharedMax = 1_000;

/** Opens it. */
export const openKeyStateReads = (parts: {
  readonly store: Pick<EventStore, 'head'>;
  readonly vaults: Pick<Category<Vault, VaultEvent>, 'loadMany'>;
  readonly keys: Pick<Category<Key, KeyEvent>, 'loadMany'>;
}): ReadKeyStates => {
  const { store, vaults, keys } = parts;
  const pending: PendingRead[] = [];
  let isLooking = false;

  const look = async (reads: readonly PendingRead[]): Promise<void> => {
    const epoch = await store.head();
    const [vaultsSeen, keysSeen] = await Promise.all([
      loadAll(
        vaults,
        reads.map(({ vaultId }) => vaultId),
      ),
      loadAll(
        keys,
        reads.map(({ key }) => key),
      ),
    ]);
    for (const { vaultId, key, resolve } of reads) {
      resolve({ epoch, vault: seen(vaultsSeen, vaultId), key: seen(keysSeen, key) });
    }
  };

  const lookAtAll = async (): Promise<void> => {
    isLooking = true;
    while (pending.length > 0) {
      const reads = pending.splice(0, sharedMax);
      await look(reads).catch((error: unknown) => {
        for (const { reject } of reads) reject(error);
      });
    }
    isLooking = false;
  };

  return (vaultId, key) =>
    new Promise((resolve, reject) => {
      pending.push({ vaultId, key, resolve, reject });
      if (isLooking) return;
      isLooking = true;
      // A microtask later, so that the calls of one turn share the first read too.
      queueMicrotask(() => void lookAtAll());
    });
};

const loadAll = async <State>(
  category: { loadMany(ids: readonly string[]): Promise<readonly Loaded<State>[]> },
  ids: readonly string[],
): Promise<ReadonlyMap<string, Loaded<State>>> =>
  new Map((await category.loadMany([...new Set(ids)])).map((loaded) => [loaded.id, loaded]));

const seen = <State>(all: ReadonlyMap<string, Loaded<State>>, id: string): Loaded<State> => {
  const loaded = all.get(id);
  if (!loaded) throw new Error(`${id} was not looked at`);
  return loaded;
};
