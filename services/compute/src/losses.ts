import { type Cause, type EventStore, type RowChange, table } from '@interlock/event-store';
import { isStoppedByLoss } from './vm/decider.ts';
import type { OpenedDisk } from './vm/events.ts';
import { FINAL_EPOCH, isOlder, type SetLoss } from './vm/key-loss.ts';

/** A loss with what began it, so that a stop that comes later still names its cause. */
export interface KnownLoss extends SetLoss {
  readonly cause: Cause;
  /** The key has returned since. Kept all the same: a machine that unwrapped before the loss is concerned by it. */
  readonly isOver: boolean;
}

/** What is known about lost key versions: the newest loss of each. */
export interface Losses {
  /**
   * Keeps a loss, unless the same or a newer one of the same set and version is known. One of the same number with another
   * reason is a correction of what was told first.
   */
  remember(loss: SetLoss, cause: Cause): Promise<void>;
  /** Describes the same, to be stored together with what follows from it. */
  heard(loss: SetLoss, cause: Cause): Promise<readonly RowChange[]>;
  /** The newest loss of a version; `undefined` when none is known. */
  of(set: string, keyVersion: string): Promise<KnownLoss | undefined>;
  /** Whether one of these keys is lost now, as far as is known. */
  anyLost(keys: readonly { readonly set: string; readonly keyVersion: string }[]): Promise<boolean>;
  /**
   * Losses of these sets that have no number, to be read before disks are opened: a yes that was asked for after such a
   * loss was heard of came after it.
   */
  unnumbered(sets: readonly string[]): Promise<ReadonlySet<string>>;
  /**
   * A loss that one of these disks, just opened, must have missed: committed after its unwrap. Whoever commits an open
   * asks afterwards, and whoever hears of a loss remembers it before looking for machines, so that of two at the same
   * time at least one sees the other (G2).
   * @param heardBefore what `unnumbered` said before the disks were opened
   */
  missedBy(opened: readonly OpenedDisk[], heardBefore: ReadonlySet<string>): Promise<KnownLoss | undefined>;
  /** Describes that a key has returned at that number: what was lost up to then is over. */
  returned(set: string, keyVersion: string, accessEpoch: number): Promise<readonly RowChange[]>;
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
  // The number of the loss is the version of the row: a store never puts a lower one over a higher one.
  const put = (loss: KnownLoss): RowChange => ({
    ...rows.put(keyOf(loss.set, loss.keyVersion), loss, undefined),
    version: loss.accessEpoch,
  });
  const remove = (key: string, loss: KnownLoss): RowChange => ({
    ...rows.remove(key, loss),
    version: loss.accessEpoch,
  });

  async function* ofSet(set: string): AsyncGenerator<{ readonly key: string; readonly row: KnownLoss }> {
    let after: string | undefined;
    do {
      const page: Awaited<ReturnType<typeof rows.list>> = await rows.list({
        prefix: prefixOf(set),
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      yield* page.items;
      after = page.next;
    } while (after !== undefined);
  }

  const heard: Losses['heard'] = async (loss, cause) => {
    const known = await rows.get(keyOf(loss.set, loss.keyVersion));
    if (known !== undefined && known.accessEpoch > loss.accessEpoch) return [];
    const isSameNumber = known?.accessEpoch === loss.accessEpoch;
    if (isSameNumber && (known.isOver || known.reason === loss.reason)) return [];
    // A correction says why, not what began it.
    return [put({ ...loss, cause: isSameNumber ? known.cause : cause, isOver: false })];
  };

  return {
    heard,
    async remember(loss, cause) {
      const news = await heard(loss, cause);
      if (news.length > 0) await store.commit({ rows: news }, cause);
    },
    of: (set, keyVersion) => rows.get(keyOf(set, keyVersion)),
    async anyLost(keys) {
      const known = await rows.getMany(keys.map(({ set, keyVersion }) => keyOf(set, keyVersion)));
      return [...known.values()].some(({ isOver }) => !isOver);
    },
    async unnumbered(sets) {
      const found = new Set<string>();
      for (const set of new Set(sets)) {
        for await (const { key, row } of ofSet(set)) if (row.accessEpoch === FINAL_EPOCH) found.add(key);
      }
      return found;
    },
    async missedBy(opened, heardBefore) {
      const exposed = opened.filter(isStoppedByLoss);
      if (exposed.length === 0) return undefined;
      const known = await rows.getMany(exposed.map(({ set, keyVersion }) => keyOf(set, keyVersion)));
      return exposed
        .map((disk) => ({ disk, key: keyOf(disk.set, disk.keyVersion) }))
        .map(({ disk, key }) => ({ disk, key, loss: known.get(key) }))
        .find(
          ({ disk, key, loss }) =>
            loss !== undefined && isOlder(disk, loss) && !(loss.accessEpoch === FINAL_EPOCH && heardBefore.has(key)),
        )?.loss;
    },
    async returned(set, keyVersion, accessEpoch) {
      const key = keyOf(set, keyVersion);
      const known = await rows.get(key);
      if (known === undefined) return [];
      if (known.accessEpoch === FINAL_EPOCH) return [remove(key, known)];
      return known.accessEpoch > accessEpoch || known.isOver ? [] : [put({ ...known, isOver: true })];
    },
    async forgotten(set) {
      const removals: RowChange[] = [];
      // As with putting: a removal with a lower version than the row's would leave it.
      for await (const { key, row } of ofSet(set)) removals.push(remove(key, row));
      return removals;
    },
  };
};
