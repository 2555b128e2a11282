import { type Cause, CursorConflict, type CursorMove, type EventStore } from '@interlock/event-store';

/** Attempts of work that a change of the vault overtook. */
const attemptsMax = 5;

const cause: Cause = { correlationId: 'vault-life', causes: [], caller: 'system:key-vault' };

/**
 * Keeps decisions about keys consistent with their vault, although keys have streams of their own. A purge of the vault must
 * not miss a key stored after it listed the keys, because a later vault of the name would inherit it; a key must not be
 * purged after its vault was protected. So each such change of a vault advances a cursor, and commits about keys require
 * that the cursor did not move since the decision.
 */
export class VaultLife {
  readonly #store: Pick<EventStore, 'cursor' | 'commit'>;

  constructor(store: Pick<EventStore, 'cursor' | 'commit'>) {
    this.#store = store;
  }

  /**
   * Does something about a key of a vault, again if a change of the vault overtook it.
   * @param work reads the vault, decides, and commits with the guard
   */
  async during<Done>(vaultId: string, work: (guard: CursorMove) => Promise<Done>): Promise<Done> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work(await this.#guardOf(vaultId));
      } catch (error) {
        if (!(error instanceof CursorConflict) || attempt === attemptsMax) throw error;
      }
    }
  }

  /** From here on no earlier decision about a key of the vault is stored. */
  async end(vaultId: string): Promise<void> {
    const name = cursorOf(vaultId);
    const from = await this.#store.cursor(name);
    await this.#store.commit({ cursors: [{ name, from, to: from + 1 }] }, cause).catch((error: unknown) => {
      // Another call advanced the cursor since it was read, which has the same effect.
      if (!(error instanceof CursorConflict)) throw error;
    });
  }

  async #guardOf(vaultId: string): Promise<CursorMove> {
    const name = cursorOf(vaultId);
    // Two commits cannot both require that a cursor does not exist.
    if ((await this.#store.cursor(name)) === 0) await this.end(vaultId);
    const at = await this.#store.cursor(name);
    return { name, from: at, to: at };
  }
}

const cursorOf = (vaultId: string): string => `vault life/${vaultId}`;
