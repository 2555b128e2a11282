import { lossReasonOf } from '@interlock/access';
import { type EventStore, type RowChange, table } from '@interlock/event-store';
import type { KeyAccess, SetKeyVersion } from './key-access.ts';
import type { LossFacts } from './key-reasons.ts';

/** A loss as stored: JSON, so what is not known is left out. */
interface StoredLoss {
  readonly reason: string;
  readonly accessEpoch: number;
  readonly since: number;
  readonly traceId: string;
  readonly principal?: string;
}

interface SetLosses {
  /** By key version. */
  readonly losses: Readonly<Record<string, StoredLoss>>;
}

/**
 * The losses sets have told of, one row a set, so that a service that starts again refuses what it refused before. Only
 * facts of sets change it; what is heard of a refusal is heard again by asking.
 */
export interface LossTable {
  /** Describes the row with this loss in it. */
  lost(key: SetKeyVersion, loss: LossFacts & { readonly accessEpoch: number }): Promise<RowChange>;
  /** Describes the row without the loss; undefined when there is none. */
  restored(key: SetKeyVersion): Promise<RowChange | undefined>;
  /** Describes the end of the row; undefined when there is none. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** Tells every stored loss to `keyAccess`. */
  recall(keyAccess: KeyAccess): Promise<void>;
}

/** Rows read at once while recalling. */
const pageSize = 1_000;

/** Opens it. */
export const openLossTable = (store: EventStore): LossTable => {
  const rows = table<SetLosses>(store, { name: 'set_loss', version: 1 });
  return {
    async lost({ set, keyVersion }, loss) {
      const { reason, accessEpoch, since, traceId, principal } = loss;
      const before = await rows.get(set);
      const stored = { reason, accessEpoch, since, traceId, ...(principal === undefined ? {} : { principal }) };
      const losses = { ...before?.losses, [keyVersion]: stored };
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
