import {
  type Category,
  type Cause,
  type EventStore,
  eventReader,
  pagesOf,
  Rejection,
  type TableDefinition,
  table,
} from '@interlock/event-store';
import type { Clock, Instant } from '@interlock/runtime';
import type { KeyEvent, VersionMaterial } from '../key/events.ts';
import { type Key, keys as keyStreams, materialOf } from '../key/key.ts';
import { keyEvicted, type RsaEngine, type RsaKey } from '../rsa/rsa.ts';
import type { StandingVault } from '../vault/vault.ts';
import type { Sealing } from './sealing.ts';

/**
 * Sealed private keys. A row is stored before the event that makes its version, so a version always has its key; what a
 * crash left without a version is swept away. Destroying ends with the row, so whatever was cut short is found again.
 */
export interface KeyMaterial {
  /** Keeps a sealed private key. Its version becomes real with the event that follows. */
  store(key: string, version: string, materialId: string, sealed: Uint8Array, cause: Cause): Promise<void>;
  /**
   * A version as the RSA engine takes it. Its private key is given to nobody once it is purged, whenever that was decided to be
   * used: the worker would keep it, for all have been told to forget it by then. Then KEY_EVICTED.
   */
  rsaKey(version: Pick<VersionMaterial, 'materialId' | 'n' | 'e'>, vault: Pick<StandingVault, 'tenant'>): RsaKey;
  /** The sealed private key. @throws Rejection DATA_LOSS KEY_MATERIAL_MISSING */
  sealed(materialId: string): Promise<Uint8Array>;
  /** Destroys the private keys of all purged versions of a key: seal key first, then the sealed bytes (KV-28). */
  destroyPurged(key: string, cause: Cause): Promise<void>;
  /** Whether there is something of that left to do. */
  isPurgeOwed(key: string): Promise<boolean>;
  /** Names of the keys of a vault that have private keys. */
  keysOf(vault: string): Promise<readonly string[]>;
  /** Looks at everything: finishes purges that were cut short, removes keys that never became a version. */
  sweep(cause: Cause): Promise<{ readonly destroyed: number }>;
}

interface MaterialRow {
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  readonly version: string;
  /** base64url */
  readonly sealed: string;
  readonly storedAt: Instant;
}

const definition: TableDefinition<MaterialRow> = {
  name: 'key_material',
  version: 1,
  indexes: ({ key }) => [{ index: 'key', value: key }],
};

/** Whether the store has a private key. */
export const hasPrivateKeys = async (store: EventStore): Promise<boolean> =>
  (await table(store, definition).list({ limit: 1 })).items.length > 0;

/** How long a key may wait for its version before it counts as left behind: far longer than any request lives. */
const orphanMs = 3_600_000;
const chunkSize = 500;

/** Opens the private keys of a store. */
export const keyMaterial = (parts: {
  readonly store: EventStore;
  readonly keys: Category<Key, KeyEvent>;
  readonly sealing: Sealing;
  readonly engine: RsaEngine;
  readonly clock: Clock;
}): KeyMaterial => {
  const { store, keys, sealing, engine, clock } = parts;
  const rows = table(store, definition);

  const destroy = async (materialId: string, row: MaterialRow, cause: Cause): Promise<void> => {
    await sealing.destroy(materialId);
    await engine.evict(materialId);
    await store.commit({ rows: [rows.remove(materialId, row)] }, cause);
  };

  /** Private keys of purged versions of a key that are still there. */
  async function* purgedOf(key: string): AsyncGenerator<{ readonly materialId: string; readonly row: MaterialRow }> {
    const former = await formerMaterial(parts, key);
    for await (const page of pagesOf(rows, { index: { index: 'key', value: key }, limit: chunkSize })) {
      for (const { key: materialId, row } of page) if (former.has(materialId)) yield { materialId, row };
    }
  }

  const sealed = async (materialId: string): Promise<Uint8Array> => bytesOf(materialId, await rows.get(materialId));

  const bytesOf = (materialId: string, row: MaterialRow | undefined): Uint8Array => {
    if (row) return Buffer.from(row.sealed, 'base64url');
    throw new Rejection(
      'DATA_LOSS',
      'KEY_MATERIAL_MISSING',
      `the sealed private key ${materialId} is not in the store`,
      {
        material: materialId,
      },
    );
  };

  return {
    sealed,
    async store(key, version, materialId, bytes, cause) {
      const row = { key, version, sealed: Buffer.from(bytes).toString('base64url'), storedAt: clock.now() };
      await store.commit({ rows: [rows.put(materialId, row, undefined)] }, cause);
    },
    rsaKey: ({ materialId, n, e }, { tenant }) => ({
      version: materialId,
      tenant,
      publicJwk: { kty: 'RSA', n, e },
      async sealedPrivateKey() {
        const [key = ''] = materialId.split('/versions/');
        const [row, { state }] = await Promise.all([rows.get(materialId), keys.load(key)]);
        if (!isLive(state, materialId)) throw keyEvicted(materialId);
        return bytesOf(materialId, row);
      },
    }),
    async destroyPurged(key, cause) {
      for await (const { materialId, row } of purgedOf(key)) await destroy(materialId, row, cause);
    },
    async isPurgeOwed(key) {
      for await (const _ of purgedOf(key)) return true;
      return false;
    },
    async keysOf(vault) {
      const found = new Set<string>();
      for await (const page of pagesOf(rows, { prefix: `vaults/${vault}/keys/`, limit: chunkSize })) {
        for (const { row } of page) found.add(row.key);
      }
      return [...found];
    },
    async sweep(cause) {
      let destroyed = 0;
      for await (const page of pagesOf(rows, { limit: chunkSize })) {
        const loaded = await keys.loadMany([...new Set(page.map(({ row }) => row.key))]);
        const states = new Map(loaded.map(({ id, state }) => [id, state]));
        for (const { key: materialId, row } of page) {
          const state = states.get(row.key);
          if (!state || isLive(state, materialId)) continue;
          const isOrphan = clock.now() - row.storedAt >= orphanMs;
          if (!isOrphan && !(await formerMaterial(parts, row.key)).has(materialId)) continue;
          await destroy(materialId, row, cause);
          destroyed += 1;
        }
      }
      return { destroyed };
    },
  };
};

const isLive = (key: Key, materialId: string): boolean => materialOf(key).includes(materialId);

const keyEvent = eventReader(keyStreams);

/**
 * Names of the private keys that a key had and has no longer: they were purged. By name and not by version, because the same
 * version may be about to be restored, with its private key stored under another name already.
 * @param key `vaults/<v>/keys/<k>`
 */
export const formerMaterial = async (
  { store, keys }: { readonly store: EventStore; readonly keys: Category<Key, KeyEvent> },
  key: string,
): Promise<ReadonlySet<string>> => {
  // The state is read after the events, so that what came in between counts as what the key has.
  const ever = (await store.read(`key-${key}`)).flatMap((recorded) => {
    const event = keyEvent(recorded)?.event;
    if (event?.type === 'KeyRestored') return event.versions.map(({ materialId }) => materialId);
    return event?.type === 'KeyVersionCreated' ? [event.materialId] : [];
  });
  const live = new Set(materialOf((await keys.load(key)).state));
  return new Set(ever.filter((materialId) => !live.has(materialId)));
};
