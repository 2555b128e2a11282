import { type Category, Rejection } from '@interlock/event-store';
import type { KeyEvent } from './events.ts';
import { isStanding, type Key, versionOf } from './key.ts';
import type { KeyUses } from './uses.ts';

/**
 * Asks to be told the name of what is deleted or purged, or loses every grant, where something was ever wrapped with it: disks
 * under it are lost, for a while or for good, and nobody should do that to the wrong key by a slip of the hand.
 */
export interface Confirmation {
  /** @throws Rejection FAILED_PRECONDITION KEY_IN_USE; INVALID_ARGUMENT CONFIRM_NAME_MISMATCH */
  key(name: string, key: Key, confirmName: string, action: 'delete' | 'purge'): Promise<void>;
  /** The same for every key in a vault. @throws Rejection FAILED_PRECONDITION VAULT_IN_USE; CONFIRM_NAME_MISMATCH */
  vault(vaultId: string, confirmName: string, action: Action): Promise<void>;
}

/** What is done to it, as `interlock impact --action` calls it; `revoke`: other grants count from then on. */
type Action = 'delete' | 'purge' | 'revoke';

/** Makes it. */
export const confirmation = (parts: {
  readonly keys: Category<Key, KeyEvent>;
  readonly uses: KeyUses;
}): Confirmation => {
  const { keys, uses } = parts;

  /** Whether the name was said; looks are not case-sensitive, as everywhere (KV-01). */
  const isConfirmed = (name: string, confirmName: string): boolean => {
    if (confirmName === '') return false;
    if (confirmName.toLowerCase() === name) return true;
    throw new Rejection(
      'INVALID_ARGUMENT',
      'CONFIRM_NAME_MISMATCH',
      `confirm_name must be "${name}", the name of what is to go, and not "${confirmName.slice(0, 200)}"`,
      { field: 'confirm_name', name },
    );
  };

  const isVaultUsed = async (vaultId: string): Promise<boolean> => {
    for await (const page of uses.inVault(vaultId)) {
      const loaded = await keys.loadMany([...new Set(page.map(({ key }) => key))]);
      const states = new Map(loaded.map(({ id, state }) => [id, state]));
      const isLive = ({ key, version }: { key: string; version: string }): boolean => {
        const state = states.get(key);
        return state !== undefined && versionOf(state, version) !== undefined;
      };
      if (page.some(isLive)) return true;
    }
    return false;
  };

  return {
    async key(name, key, confirmName, action) {
      if (isConfirmed(name, confirmName) || !isStanding(key)) return;
      if (await uses.hasWrapped(name, Object.keys(key.versions))) {
        throw inUse('KEY_IN_USE', 'key', name, action);
      }
    },
    async vault(vaultId, confirmName, action) {
      const name = `vaults/${vaultId}`;
      if (isConfirmed(name, confirmName)) return;
      if (await isVaultUsed(vaultId)) throw inUse('VAULT_IN_USE', 'vault', name, action);
    },
  };
};

const consequences: Readonly<Record<Action, (what: string) => string>> = {
  delete: (what) => `cannot be read until the ${what} is recovered`,
  purge: () => 'can never be read again',
  revoke: () => 'cannot be read by a set that has no grant of the other model',
};

const inUse = (reason: 'KEY_IN_USE' | 'VAULT_IN_USE', what: 'key' | 'vault', name: string, action: Action): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    reason,
    `${what === 'key' ? name : `a key in ${name}`} has wrapped data keys of disks, or other data: what is left of that ${consequences[action](what)}. \`interlock impact ${name} --action ${action}\` lists the disks. To go on, repeat the call with confirm_name "${name}" (\`--confirm ${name}\`)`,
    { [what]: name, confirm_name: name, action },
  );
