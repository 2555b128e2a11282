import { type Cause, type EventStore, type RowChange, table } from '@interlock/event-store';
import { isStoppedByLoss } from './vm/decider.ts';
import type { OpenedDisk } from './vm/events.ts';
import type { SetLoss } from './vm/key-loss.ts';

/** A loss with what began it, so that a stop that comes later still names its cause. */
export interface KnownLoss extends SetLoss {
  readonly cause: Cause;
}

/** What is known about lost key versions: the newest loss of each. */
export interface Losses {
  /** Keeps a loss, unless a newer one of the same set and version is known. */
  remember(loss: SetLoss, cause: Cause): Promise<void>;
  /**
   * A loss that one of these disks, just opened, must have missed: committed after its unwrap. Whoever commits an open
   * asks afterwards, and whoever hears of a loss remembers it before looking for machines, so that of two at the same
   * time at least one sees the other (G2).
   */
  missedBy(opened: readonly OpenedDisk[]): Promise<KnownLoss | undefined>;
  /**
   * Describes the end of every loss of a deleted set: another set may be made under its name and use the same key
   * (CMK-39), and what the old one lost for good does not concern that.
   */
  forgotten(set: string): Promise<readonly RowChange[]>;
}

const tableName = 'key_loss';
const tableVersion = 1;
/** Rows read at once. */
const pageSize = 1_000;
/** No name holds a space, so the prefix of a set is that of no other. */
const prefixOf = (set: string): string => `${set} `;
const keyOf = (set: string, keyVersion: string): string => `${prefixOf(set)}${keyVersion}`;

export const openLosses = (store: EventStore): Losses => {
  const rows = table<KnownLoss>(store, { name: tableName, version: tableVersion });
  return {
    async remember(loss, cause) {
      // The number of the loss is the version of the row: a store never puts a lower one over a higher one.
      const row = {
        ...rows.put(keyOf(loss.set, loss.keyVersion), { ...loss, cause }, undefined),
        version: loss.accessEpoch,
      };
      await store.commit({ rows: [row] }, cause);
    },
    async missedBy(opened) {
      const exposed = opened.filter(isStoppedByLoss);
      if (exposed.length === 0) return undefined;
      const known = await rows.getMany(exposed.map(({ set, keyVersion }) => keyOf(set, keyVersion)));
      return exposed
        .map((disk) => ({ disk, loss: known.get(keyOf(disk.set, disk.keyVersion)) }))
        .find(({ disk, loss }) => loss !== undefined && loss.accessEpoch > disk.accessEpoch)?.loss;
    },
    async forgotten(set) {
      const removals: RowChange[] = [];
      let after: string | undefined;
      do {
        const page: Awaited<ReturnType<typeof rows.list>> = await rows.list({
          prefix: prefixOf(set),
          limit: pageSize,
          ...(after === undefined ? {} : { after }),
        });
        // As with putting: a removal with a lower version than the row's would leave it.
        removals.push(...page.items.map(({ key, row }) => ({ ...rows.remove(key, row), version: row.accessEpoch })));
        after = page.next;
      } while (after !== undefined);
      return removals;
    },
  };
};
