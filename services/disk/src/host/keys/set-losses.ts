import { lossReasonOf } from '@interlock/access';
import { type EventStore, pagesOf, type RowChange, table } from '@interlock/event-store';
import type { SetKeyVersion } from './key-access.ts';
import type { LossFacts } from './key-reasons.ts';

/** A loss that a set published. */
export type PublishedLoss = LossFacts & { readonly accessEpoch: number };

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
 * The losses that sets published, one row per set, so that a restarted host refuses what it refused before, and every host receives
 * each loss. Refusals of the vault are not stored here: the next check repeats them.
 */
export interface LossTable {
  /** The row that stores this loss too. */
  lost(key: SetKeyVersion, loss: PublishedLoss): Promise<RowChange>;
  /** The row without the loss; undefined if it is not stored. */
  restored(key: SetKeyVersion): Promise<RowChange | undefined>;
  /** The removal of the row; undefined if there is no row. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** The losses of every set that has any, by key version. */
  list(): AsyncIterable<{ readonly set: string; readonly losses: ReadonlyMap<string, PublishedLoss> }>;
  /** The losses of these sets, by set and key version; a set without any is left out. */
  ofSets(sets: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, PublishedLoss>>>;
}

/** Rows read at once. */
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
    async *list() {
      for await (const page of pagesOf(rows, { limit: pageSize }))
        for (const { key: set, row } of page) yield { set, losses: lossesOf(row) };
    },
    async ofSets(sets) {
      return new Map([...(await rows.getMany(sets))].map(([set, row]) => [set, lossesOf(row)]));
    },
  };
};

const lossesOf = ({ losses }: SetLosses): ReadonlyMap<string, PublishedLoss> =>
  new Map(
    Object.entries(losses).flatMap(([keyVersion, { reason: name, ...loss }]) => {
      const reason = lossReasonOf(name);
      return reason === undefined ? [] : [[keyVersion, { ...loss, reason }]];
    }),
  );
