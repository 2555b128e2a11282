import {
  type Category,
  type Cause,
  type EventStore,
  eventReader,
  pagesOf,
  Rejection,
  type Table,
  type TableDefinition,
  table,
} from '@interlock/event-store';
import type { Clock, Instant } from '@interlock/runtime';
import type { KeyEvent, VersionMaterial } from '../key/events.ts';
import { type Key, keys as keyStreams, materialOf } from '../key/key.ts';
import { keyEvicted, type RsaEngine, type RsaKey } from '../rsa/rsa.ts';
import type { ExistingVault } from '../vault/vault.ts';
import type { Sealing } from './sealing.ts';

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

/** Age of a private key without a version after which it counts as an orphan: far longer than any request lasts. */
const orphanMs = 3_600_000;
const pageSize = 500;

/**
 * Sealed private keys. A row is stored before the event that creates its version, so every version has its private key; a
 * sweep removes orphans of crashes. Destroying a private key removes its row last, so an interrupted run is found again.
 */
export class KeyMaterial {
  readonly #store: EventStore;
  readonly #keys: Category<Key, KeyEvent>;
  readonly #sealing: Sealing;
  readonly #engine: RsaEngine;
  readonly #clock: Clock;
  readonly #rows: Table<MaterialRow>;

  constructor(parts: {
    readonly store: EventStore;
    readonly keys: Category<Key, KeyEvent>;
    readonly sealing: Sealing;
    readonly engine: RsaEngine;
    readonly clock: Clock;
  }) {
    this.#store = parts.store;
    this.#keys = parts.keys;
    this.#sealing = parts.sealing;
    this.#engine = parts.engine;
    this.#clock = parts.clock;
    this.#rows = table(parts.store, definition);
  }

  /** Stores a sealed private key. The event that creates its version follows. */
  async store(key: string, version: string, materialId: string, sealed: Uint8Array, cause: Cause): Promise<void> {
    const storedAt = this.#clock.now();
    const row = { key, version, sealed: Buffer.from(sealed).toString('base64url'), storedAt };
    await this.#store.commit({ rows: [this.#rows.put(materialId, row, undefined)] }, cause);
  }

  /**
   * A version as the RSA engine takes it. After a purge its private key is refused with KEY_EVICTED, also to a use that was
   * decided before: the purge has evicted the key from all threads, so a thread that loads it now would keep it.
   */
  rsaKey(
    { materialId, n, e }: Pick<VersionMaterial, 'materialId' | 'n' | 'e'>,
    { tenant }: Pick<ExistingVault, 'tenant'>,
  ): RsaKey {
    return {
      version: materialId,
      tenant,
      publicJwk: { kty: 'RSA', n, e },
      sealedPrivateKey: async () => {
        const [key = ''] = materialId.split('/versions/');
        const [row, { state }] = await Promise.all([this.#rows.get(materialId), this.#keys.load(key)]);
        if (!isLive(state, materialId)) throw keyEvicted(materialId);
        return sealedIn(materialId, row);
      },
    };
  }

  /** The sealed private key. @throws Rejection DATA_LOSS KEY_MATERIAL_MISSING */
  async sealed(materialId: string): Promise<Uint8Array> {
    return sealedIn(materialId, await this.#rows.get(materialId));
  }

  /** Destroys the private keys of all purged versions of a key: seal key first, then the sealed bytes (KV-28). */
  async destroyPurged(key: string, cause: Cause): Promise<void> {
    for await (const { materialId, row } of this.#purgedOf(key)) await this.#destroy(materialId, row, cause);
  }

  /** Whether `destroyPurged` has something left to do. */
  async isPurgeOwed(key: string): Promise<boolean> {
    for await (const _ of this.#purgedOf(key)) return true;
    return false;
  }

  /** Names of the keys of a vault that have private keys. */
  async keysOf(vault: string): Promise<readonly string[]> {
    const found = new Set<string>();
    for await (const page of pagesOf(this.#rows, { prefix: `vaults/${vault}/keys/`, limit: pageSize })) {
      for (const { row } of page) found.add(row.key);
    }
    return [...found];
  }

  /** Examines every private key: finishes interrupted purges and removes orphans. */
  async sweep(cause: Cause): Promise<{ readonly destroyed: number }> {
    let destroyed = 0;
    for await (const page of pagesOf(this.#rows, { limit: pageSize })) {
      const loaded = await this.#keys.loadMany([...new Set(page.map(({ row }) => row.key))]);
      const states = new Map(loaded.map(({ id, state }) => [id, state]));
      for (const { key: materialId, row } of page) {
        const state = states.get(row.key);
        if (!state || isLive(state, materialId)) continue;
        const isOrphan = this.#clock.now() - row.storedAt >= orphanMs;
        if (!isOrphan && !(await formerMaterial(this.#store, this.#keys, row.key)).has(materialId)) continue;
        await this.#destroy(materialId, row, cause);
        destroyed += 1;
      }
    }
    return { destroyed };
  }

  /** Private keys of purged versions that still have a row. */
  async *#purgedOf(key: string): AsyncGenerator<{ readonly materialId: string; readonly row: MaterialRow }> {
    const former = await formerMaterial(this.#store, this.#keys, key);
    for await (const page of pagesOf(this.#rows, { index: { index: 'key', value: key }, limit: pageSize })) {
      for (const { key: materialId, row } of page) if (former.has(materialId)) yield { materialId, row };
    }
  }

  async #destroy(materialId: string, row: MaterialRow, cause: Cause): Promise<void> {
    await this.#sealing.destroy(materialId);
    await this.#engine.evict(materialId);
    await this.#store.commit({ rows: [this.#rows.remove(materialId, row)] }, cause);
  }
}

const sealedIn = (materialId: string, row: MaterialRow | undefined): Uint8Array => {
  if (row) return Buffer.from(row.sealed, 'base64url');
  const message = `the sealed private key ${materialId} is not in the store; restore the store`;
  throw new Rejection('DATA_LOSS', 'KEY_MATERIAL_MISSING', message, { material: materialId });
};

const isLive = (key: Key, materialId: string): boolean => materialOf(key).includes(materialId);

const keyEvent = eventReader(keyStreams);

/**
 * Names of the private keys that a key had and has no longer, because they were purged. Names and not versions, because the same
 * version may be in the middle of a restore, with its private key stored under another name.
 * @param key `vaults/<v>/keys/<k>`
 */
export const formerMaterial = async (
  store: EventStore,
  keys: Category<Key, KeyEvent>,
  key: string,
): Promise<ReadonlySet<string>> => {
  // The state is read after the events, so that a version created in between counts as live.
  const ever = (await store.read(`key-${key}`)).flatMap((recorded) => {
    const event = keyEvent(recorded)?.event;
    if (event?.type === 'KeyRestored') return event.versions.map(({ materialId }) => materialId);
    return event?.type === 'KeyVersionCreated' ? [event.materialId] : [];
  });
  const live = new Set(materialOf((await keys.load(key)).state));
  return new Set(ever.filter((materialId) => !live.has(materialId)));
};
