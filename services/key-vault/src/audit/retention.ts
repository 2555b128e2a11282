import { type EventStore, StoreUnavailable, table } from '@interlock/event-store';
import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import { auditTable, timeInKey } from './entry.ts';

/** The share of this work: one replica does it at a time. */
export const retentionShare = 'audit retention/0';

/** Rows, of up to 64 entries each, that go in one commit. */
const batchRows = 200;
/** Pause between two commits, in milliseconds: whoever uses a key writes to the same table. */
const pauseMs = 50;
/** How often it is looked for what has become too old, in milliseconds: at least daily, at most every minute. */
const intervalMs = (retentionMs: number): number => Math.min(86_400_000, Math.max(60_000, retentionMs / 30));
/** Sorts behind every key of the same vault, and before the next vault's. */
const lastOf = (vault: string): string => `${vault}/~`;

const cause = { correlationId: 'audit-retention', causationId: 'audit-retention', caller: 'system:key-vault' };

/**
 * Removes entries of the record that are older than the retention, vault by vault, oldest first, a bounded batch a commit.
 * Also those of vaults that are gone. What is younger stays, whatever else happens (G9).
 * @param retentionMs above 0
 */
export const auditRetention =
  (parts: { readonly store: EventStore; readonly clock: Clock; readonly log: Logger; readonly retentionMs: number }) =>
  async (signal: AbortSignal): Promise<void> => {
    const { store, clock, log, retentionMs } = parts;
    const rows = table(store, auditTable);

    /** The vault with the first entry behind that place. */
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
      failing: 'old entries of the record are not removed',
      back: 'old entries of the record are removed again',
    });
    while (!signal.aborted) {
      try {
        const end = timeInKey(clock.now() - retentionMs);
        let removed = 0;
        for (let vault = await nextVault(''); vault !== undefined && !signal.aborted; ) {
          removed += await clear(vault, `${vault}/${end}`);
          vault = await nextVault(lastOf(vault));
        }
        if (removed > 0) log.info('old entries of the record removed', { rows: removed, retentionMs });
        attempts.succeeded();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        attempts.failed(error);
      }
      await clock.sleep(intervalMs(retentionMs), signal);
    }
  };
