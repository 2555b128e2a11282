import { type Category, Rejection } from '@interlock/event-store';
import type { KeyEvent } from './events.ts';
import { exists, type Key, versionOf } from './key.ts';
import type { KeyUses } from './uses.ts';

/**
 * How `interlock impact --action` names the change; `revoke`: the grants of the other permission model count from then on; `close`:
 * network rules serve no trusted services, which has the same effect as revoking every grant.
 */
type Action = 'delete' | 'purge' | 'revoke' | 'close';

/**
 * Requires the name of a key or vault as confirmation before it is deleted, purged or loses every grant, if it ever wrapped
 * something: disks under it are lost, for a while or for good, and a mistyped name must not cause that.
 */
export class Confirmation {
  readonly #keys: Category<Key, KeyEvent>;
  readonly #uses: KeyUses;

  constructor(keys: Category<Key, KeyEvent>, uses: KeyUses) {
    this.#keys = keys;
    this.#uses = uses;
  }

  /** @throws Rejection FAILED_PRECONDITION KEY_IN_USE; INVALID_ARGUMENT CONFIRM_NAME_MISMATCH */
  async key(name: string, key: Key, confirmName: string, action: 'delete' | 'purge'): Promise<void> {
    if (isConfirmed(name, confirmName) || !exists(key)) return;
    if (await this.#uses.hasWrapped(name, Object.keys(key.versions))) throw inUse('KEY_IN_USE', 'key', name, action);
  }

  /** The same for every key in a vault. @throws Rejection FAILED_PRECONDITION VAULT_IN_USE; CONFIRM_NAME_MISMATCH */
  async vault(vaultId: string, confirmName: string, action: Action): Promise<void> {
    const name = `vaults/${vaultId}`;
    if (isConfirmed(name, confirmName)) return;
    if (await this.#isVaultUsed(vaultId)) throw inUse('VAULT_IN_USE', 'vault', name, action);
  }

  async #isVaultUsed(vaultId: string): Promise<boolean> {
    for await (const page of this.#uses.inVault(vaultId)) {
      const loaded = await this.#keys.loadMany([...new Set(page.map(({ key }) => key))]);
      const states = new Map(loaded.map(({ id, state }) => [id, state]));
      const isLive = ({ key, version }: { key: string; version: string }): boolean => {
        const state = states.get(key);
        return state !== undefined && versionOf(state, version) !== undefined;
      };
      if (page.some(isLive)) return true;
    }
    return false;
  }
}

/** Whether the name was given; case does not matter (KV-01). */
const isConfirmed = (name: string, confirmName: string): boolean => {
  if (confirmName === '') return false;
  if (confirmName.toLowerCase() === name) return true;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'CONFIRM_NAME_MISMATCH',
    `confirm_name must be "${name}", not "${confirmName.slice(0, 200)}"`,
    { field: 'confirm_name', name },
  );
};

const consequences: Readonly<Record<Action, (what: string) => string>> = {
  delete: (what) => `cannot be read until the ${what} is recovered`,
  purge: () => 'can never be read again',
  revoke: () => 'cannot be read by a set that has no grant of the other model',
  close: () => 'cannot be read until trusted services are served again',
};

const inUse = (reason: 'KEY_IN_USE' | 'VAULT_IN_USE', what: 'key' | 'vault', name: string, action: Action): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    reason,
    `${what === 'key' ? name : `a key in ${name}`} has wrapped data keys of disks, or other data, which ${consequences[action](what)}. \`interlock impact ${name} --action ${action === 'close' ? 'revoke' : action}\` lists the disks. To continue, repeat the call with confirm_name "${name}" (\`--confirm\`)`,
    { [what]: name, confirm_name: name, action },
  );
