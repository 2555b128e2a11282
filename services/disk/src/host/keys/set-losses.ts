import { lossReasonOf } from '@interlock/access';
import { type EventStore, type RowChange, table } from '@interlock/event-store';
import type { KeyAccess, SetKeyVersion } from './key-access.ts';
import type { LossFacts } from './key-reasons.ts';

/** A loss as stored: JSON, so unknown values are left out. */
interface StoredLoss {
  readonly reason: string;
  readonly accessEpoch: number;
  readonly since: number;
  readonly traceId: string;
  readonly principal?: string;
  readonly event?: string;
  readonly correlationId?: string;
  readonly traceparent?: string;
}

interface SetLosses {
  /** By key version. */
  readonly losses: Readonly<Record<string, StoredLoss>>;
}

/**
 * The losses that sets published, one row per set, so that a restarted host refuses what it refused before. Refusals of the
 * vault are not stored: the next check repeats them.
 */
export interface LossTable {
  /** The row that stores this loss too. */
  lost(key: SetKeyVersion, loss: LossFacts & { readonly accessEpoch: number }): Promise<RowChange>;
  /** The row without the loss; undefined if it is not stored. */
  restored(key: SetKeyVersion): Promise<RowChange | undefined>;
  /** The removal of the row; undefined if there is no row. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** Passes every stored loss to `keyAccess`. */
  recall(keyAccess: KeyAccess): Promise<void>;
}

/** Rows read at once while recalling. */
const pageSize = 1_000;

/** Opens the table in a store. */
export const openLossTable = (store: EventStore): LossTable => {
  const rows = table<SetLosses>(store, { name: 'set_loss', version: 1 });
  return {
    async lost({ set, keyVersion }, loss) {
      const before = await rows.get(set);
      const losses = { ...before?.losses, [keyVersion]: loss };
      return rows.put(set, { losses }, before);
    },
    async restored({ set, keyVersion }) {
      const before = await rows.get(set);
      if (before?.losses[keyVersion] === undefined) return undefined;
      const { [keyVersion]: _restored, ...losses } = before.losses;
      return Object.keys(losses).length === 0 ? rows.remove(set, before) : rows.put(set, { losses }, before);
    },
    async forgotten(set) {
      const before = await rows.get(set);
      return before && rows.remove(set, before);
    },
    async recall(keyAccess) {
      let after: string | undefined;
      do {
        const page: Awaited<ReturnType<typeof rows.list>> = await rows.list({
          limit: pageSize,
          ...(after === undefined ? {} : { after }),
        });
        for (const { key: set, row } of page.items) {
          for (const [keyVersion, { reason: name, ...loss }] of Object.entries(row.losses)) {
            const reason = lossReasonOf(name);
            if (reason) keyAccess.lost({ set, keyVersion }, { ...loss, reason }, 'fact');
          }
        }
        after = page.next;
      } while (after !== undefined);
    },
  };
};
