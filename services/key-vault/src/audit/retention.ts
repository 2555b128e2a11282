import { type EventStore, StoreUnavailable, table } from '@interlock/event-store';
import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import { auditTable, timeInKey } from './entry.ts';

/** Name of the work partition: one replica at a time does this work. */
export const retentionShare = 'audit retention/0';

/** Rows of up to 64 entries that one commit removes. */
const batchRows = 200;
/** Pause between two commits, in milliseconds: every use of a key writes to the same table. */
const pauseMs = 50;
/** Time between two runs, in milliseconds: between a minute and a day. */
const intervalMs = (retentionMs: number): number => Math.min(86_400_000, Math.max(60_000, retentionMs / 30));
/** Sorts behind every row of the vault and before those of the next one. */
const lastOf = (vault: string): string => `${vault}/~`;

const cause = { correlationId: 'audit-retention', causes: [], caller: 'system:key-vault' };

/**
 * Removes audit entries older than the retention, vault by vault, oldest first, in bounded commits, also those of purged
 * vaults. Younger entries stay in any case (G9).
 * @param retentionMs above 0
 */
export const auditRetention =
  (parts: { readonly store: EventStore; readonly clock: Clock; readonly log: Logger; readonly retentionMs: number }) =>
  async (signal: AbortSignal): Promise<void> => {
    const { store, clock, log, retentionMs } = parts;
    const rows = table(store, auditTable);

    /** The vault of the first row after that key. */
    const nextVault = async (after: string): Promise<string | undefined> =>
      (await rows.list({ after, limit: 1 })).items[0]?.key.split('/')[0];

    const clear = async (vault: string, before: string): Promise<number> => {
      let removed = 0;
      while (!signal.aborted) {
        const { items } = await rows.list({ prefix: `${vault}/`, limit: batchRows });
        const old = items.filter(({ key }) => key < before);
        if (old.length === 0) return removed;
        await store.commit({ rows: old.map(({ key, row }) => rows.remove(key, row)) }, cause);
        removed += old.length;
        await clock.sleep(pauseMs, signal);
      }
      return removed;
    };

    const attempts = failureLog({
      log,
      clock,
      failing: 'old audit entries are not removed',
      back: 'old audit entries are removed again',
    });
    while (!signal.aborted) {
      try {
        const end = timeInKey(clock.now() - retentionMs);
        let removed = 0;
        for (let vault = await nextVault(''); vault !== undefined && !signal.aborted; ) {
          removed += await clear(vault, `${vault}/${end}`);
          vault = await nextVault(lastOf(vault));
        }
        if (removed > 0) log.info('old audit entries removed', { rows: removed, retentionMs });
        attempts.succeeded();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        attempts.failed(error);
      }
      await clock.sleep(intervalMs(retentionMs), signal);
    }
  };
