import { type Category, type Cause, continuing, type EventStore } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { purgeWithVault } from '../key/decider.ts';
import type { KeyEvent } from '../key/events.ts';
import { initial, isSameKey, type Key } from '../key/key.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import { finishPurge } from './decider.ts';
import type { VaultEvent } from './events.ts';
import { VaultLife } from './life.ts';
import type { Vault } from './vault.ts';

/** Finishes the purge of a vault that is `purging`; does nothing for any other vault. */
export type VaultPurge = (vaultId: string) => Promise<void>;

/**
 * Purges a vault: every key first, its name last. Every step may be repeated, because a `purging` vault is always due, so the
 * timers resume a purge that a crash interrupted. The request that started a purge and a timer may run it at the same time.
 * Each step has the cause of the start, which a refusal for a purged key names (G10). A late run does nothing to a later
 * vault of the same name.
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
    // From here on no new key is stored, so the list is complete.
    await new VaultLife(store).end(vaultId);
    // By name and not by status: a key that is recovered or deleted between two lists would be in neither.
    const found = await keys.listAll({ prefix: `vaults/${vaultId}/keys/` });
    const seen = new Map(found.map(({ id, state: key }) => [id, key]));
    // A paused run may find a later vault of the name, with keys of its own.
    const isSameVault = (vault: Vault): boolean => vault.status === 'purging' && vault.createdAt === state.createdAt;
    if (!isSameVault((await vaults.load(vaultId)).state)) return;
    const purgeKey = purgeWithVault(clock.now());
    const purgeSeen = (key: Key, id: string) => (isSameKey(seen.get(id) ?? initial, key) ? purgeKey(key) : []);
    await keys.transactMany([...seen.keys()], purgeSeen, cause);
    for (const key of await material.keysOf(vaultId)) await material.destroyPurged(key, cause);
    const finish = finishPurge(clock.now());
    await vaults.transact(vaultId, (vault) => (isSameVault(vault) ? finish(vault) : []), cause);
  };

/** Every step continues the event that started the purge. */
const causeOfPurge = async (store: EventStore, vaultId: string): Promise<Cause> => {
  const started = (await store.read(`vault-${vaultId}`)).findLast(({ type }) => type === 'VaultPurgeStarted');
  if (!started) throw new Error(`vault ${vaultId} is purging, but has no VaultPurgeStarted event`);
  return continuing(started.cause, started.id);
};
