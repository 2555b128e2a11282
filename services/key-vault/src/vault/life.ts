import { type Cause, CursorConflict, type CursorMove, type EventStore } from '@interlock/event-store';

/**
 * What of a vault holds for its keys must not change between a decision about a key and its commit: a purge of the vault would pass
 * over a key that is stored behind its look, and a later vault of the name inherit it; a key would be purged although its vault
 * was protected before. Keys have streams of their own, so each such change ends a count that their commits are on condition of.
 */
export interface VaultLife {
  /**
   * Does something about a key of a vault, and again where it was overtaken.
   * @param work looks at the vault, decides, and stores on condition of the guard
   */
  during<Done>(vaultId: string, work: (guard: CursorMove) => Promise<Done>): Promise<Done>;
  /** From here on nothing is stored that was decided before. */
  end(vaultId: string): Promise<void>;
}

/** So often what was overtaken is done again. */
const attemptsMax = 5;

const cause: Cause = { correlationId: 'vault-life', causationId: 'vault-life', caller: 'system:key-vault' };

/** Opens it. */
export const vaultLife = (store: Pick<EventStore, 'cursor' | 'commit'>): VaultLife => {
  const nameOf = (vaultId: string): string => `vault life/${vaultId}`;

  const end = async (vaultId: string): Promise<void> => {
    const name = nameOf(vaultId);
    const from = await store.cursor(name);
    await store.commit({ cursors: [{ name, from, to: from + 1 }] }, cause).catch(passedOver);
  };

  const guardOf = async (vaultId: string): Promise<CursorMove> => {
    const name = nameOf(vaultId);
    // A cursor that nobody moved is no condition that two can share.
    if ((await store.cursor(name)) === 0) await end(vaultId);
    const at = await store.cursor(name);
    return { name, from: at, to: at };
  };

  return {
    end,
    async during(vaultId, work) {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await work(await guardOf(vaultId));
        } catch (error) {
          if (!(error instanceof CursorConflict) || attempt === attemptsMax) throw error;
        }
      }
    },
  };
};

/** Somebody else has ended it since it was read, which is as good. */
const passedOver = (error: unknown): void => {
  if (!(error instanceof CursorConflict)) throw error;
};
