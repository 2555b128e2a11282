import type { Category, Cause, EventStore } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { purgeWithVault } from '../key/decider.ts';
import type { KeyEvent } from '../key/events.ts';
import { initial, isSameKey, type Key } from '../key/key.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import { finishPurge } from './decider.ts';
import type { VaultEvent } from './events.ts';
import { vaultLife } from './life.ts';
import type { Vault } from './vault.ts';

/** Finishes the purge of a vault that has begun; does nothing for any other. */
export type VaultPurge = (vaultId: string) => Promise<void>;

/**
 * Purges a vault: every key first, its name last. Every step may be repeated; a purge that a crash cut short is found by
 * the timers, because a vault that is `purging` is always due. So the request that began it and a timer may be at it at once:
 * whoever stores a step, its cause is that of the beginning, which is what a refusal for a purged key goes back to (G10). And one of them
 * may be late: it does nothing to a later vault of the name.
 */
export const vaultPurge =
  (parts: {
    readonly store: EventStore;
    readonly clock: Clock;
    readonly vaults: Category<Vault, VaultEvent>;
    readonly keys: Category<Key, KeyEvent>;
    readonly material: Pick<KeyMaterial, 'keysOf' | 'destroyPurged'>;
  }): VaultPurge =>
  async (vaultId) => {
    const { store, clock, vaults, keys, material } = parts;
    const { state } = await vaults.load(vaultId);
    if (state.status !== 'purging') return;
    const cause = await causeOfPurge(store, vaultId);
    // A key is stored before they are looked for, or not at all.
    await vaultLife(store).end(vaultId);
    // By name and not by status: one that is recovered or deleted between two looks would be in neither list.
    const found = await keys.listAll({ prefix: `vaults/${vaultId}/keys/` });
    const seen = new Map(found.map(({ id, state: key }) => [id, key]));
    // Whoever stood still on the way may find the next vault of the name, and keys of that: they are none of this purge.
    const isIt = (vault: Vault): boolean => vault.status === 'purging' && vault.createdAt === state.createdAt;
    if (!isIt((await vaults.load(vaultId)).state)) return;
    const purgeKey = purgeWithVault(clock.now());
    const purgeSeen = (key: Key, id: string) => (isSameKey(seen.get(id) ?? initial, key) ? purgeKey(key) : []);
    await keys.transactMany([...seen.keys()], purgeSeen, cause);
    for (const key of await material.keysOf(vaultId)) await material.destroyPurged(key, cause);
    const finish = finishPurge(clock.now());
    await vaults.transact(vaultId, (vault) => (isIt(vault) ? finish(vault) : []), cause);
  };

/** Why the purge that is under way was begun. */
const causeOfPurge = async (store: EventStore, vaultId: string): Promise<Cause> => {
  const begun = (await store.read(`vault-${vaultId}`)).findLast(({ type }) => type === 'VaultPurgeBegun');
  if (!begun) throw new Error(`vault ${vaultId} is being purged, and nobody began it`);
  return begun.cause;
};
