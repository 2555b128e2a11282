import { concerns, FINAL_EPOCH } from '@interlock/access';
import { type Cause, type EventStore, pagesOf, type RowChange, type Table, table } from '@interlock/event-store';
import { isStoppedByLoss } from '../vm/disk-state.ts';
import type { OpenedDisk } from '../vm/events.ts';
import type { SetLoss } from '../vm/key-loss.ts';

/** A loss with what began it, so that a stop that comes later still names its cause. */
export interface KnownLoss extends SetLoss {
  readonly cause: Cause;
  /** The key has returned since. Kept all the same: a machine that unwrapped before the loss is concerned by it. */
  readonly isOver: boolean;
}

/**
 * What is known about lost key versions: the newest numbered loss of each, and the end of each identity that had it. An end
 * has no number to compare, so it stands beside what the next identity loses and hides nothing of that.
 */
export interface Losses {
  /**
   * Keeps a loss, unless the same or a newer one of the same set and version is known. One of the same number with another
   * reason is a correction of what was told first. The end of an identity is compared with that of the same one alone.
   */
  remember(loss: SetLoss, cause: Cause): Promise<void>;
  /** Describes the same, to be stored together with what follows from it. */
  heard(loss: SetLoss, cause: Cause): Promise<readonly RowChange[]>;
  /** The newest numbered loss of a version, if one is known, and then the ends of its identities. */
  of(set: string, keyVersion: string): Promise<readonly KnownLoss[]>;
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
  /**
   * Describes that a key has returned at that number: what was lost up to then is over, and so is every end of an identity. Also
   * what is heard of later: a disk host's report, or a replica that stood still, may come behind the word that its loss is over.
   */
  returned(set: string, keyVersion: string, accessEpoch: number): Promise<readonly RowChange[]>;
  /** Whether a loss is known to be over. */
  isOver(loss: Pick<SetLoss, 'set' | 'keyVersion' | 'accessEpoch' | 'principal'>): Promise<boolean>;
  /**
   * Describes the end of every loss of a deleted set: another set may be made under its name and use the same key
   * (CMK-39), and what the old one lost for good does not concern that.
   */
  forgotten(set: string): Promise<readonly RowChange[]>;
}

const tableName = 'key_loss';
/** Up to which number losses are over, by the keys of their rows: those of a version, and each end of an identity by itself. */
const returnsName = 'key_return';
const tableVersion = 1;
/** Rows read at once. */
const pageSize = 1_000;
/** No name holds a space, so the prefix of a set is that of no other. */
const prefixOf = (set: string): string => `${set} `;
const keyOf = (set: string, keyVersion: string): string => `${prefixOf(set)}${keyVersion}`;
/** Key of its row: behind that of the version for the end of an identity, one for each. */
const rowKeyOf = ({
  set,
  keyVersion,
  accessEpoch,
  principal,
}: Pick<SetLoss, 'set' | 'keyVersion' | 'accessEpoch' | 'principal'>): string =>
  accessEpoch === FINAL_EPOCH ? `${keyOf(set, keyVersion)} ${principal ?? ''}` : keyOf(set, keyVersion);

async function* under(
  rows: Table<KnownLoss>,
  prefix: string,
): AsyncGenerator<{ readonly key: string; readonly row: KnownLoss }> {
  for await (const page of pagesOf(rows, { prefix, limit: pageSize })) yield* page;
}

export const openLosses = (store: EventStore): Losses => {
  const rows = table<KnownLoss>(store, { name: tableName, version: tableVersion });
  const returns = table<{ readonly accessEpoch: number }>(store, { name: returnsName, version: tableVersion });
  // The number of the loss is the version of the row: a store never puts a lower one over a higher one.
  const put = (loss: KnownLoss): RowChange => ({
    ...rows.put(rowKeyOf(loss), loss, undefined),
    version: loss.accessEpoch,
  });
  const remove = (key: string, loss: KnownLoss): RowChange => ({
    ...rows.remove(key, loss),
    version: loss.accessEpoch,
  });

  const overTo = (key: string, accessEpoch: number): RowChange => ({
    ...returns.put(key, { accessEpoch }, undefined),
    version: accessEpoch,
  });

  const ofSet = (set: string) => under(rows, prefixOf(set));
  const ofVersion = (set: string, keyVersion: string) => Array.fromAsync(under(rows, keyOf(set, keyVersion)));

  /** A row that was about to be stored when the word of the return was does not say that it is over: the number does. */
  const asTheyStand: Losses['of'] = async (set, keyVersion) => {
    const found = await ofVersion(set, keyVersion);
    const over = await returns.getMany(found.map(({ key }) => key));
    return found.map(({ key, row }) => ({
      ...row,
      isOver: row.isOver || row.accessEpoch <= (over.get(key)?.accessEpoch ?? -1),
    }));
  };

  const isOver: Losses['isOver'] = async (loss) =>
    loss.accessEpoch <= ((await returns.get(rowKeyOf(loss)))?.accessEpoch ?? -1);

  const heard: Losses['heard'] = async (loss, cause) => {
    const [known, isKnownOver] = await Promise.all([rows.get(rowKeyOf(loss)), isOver(loss)]);
    if (known !== undefined && known.accessEpoch > loss.accessEpoch) return [];
    const isSameNumber = known?.accessEpoch === loss.accessEpoch;
    if (isSameNumber && (known.isOver || known.reason === loss.reason)) return [];
    // A correction says why, not what began it.
    return [put({ ...loss, cause: isSameNumber ? known.cause : cause, isOver: isKnownOver })];
  };

  return {
    heard,
    isOver,
    async remember(loss, cause) {
      const news = await heard(loss, cause);
      if (news.length > 0) await store.commit({ rows: news }, cause);
    },
    of: asTheyStand,
    async anyLost(keys) {
      for (const { set, keyVersion } of keys) {
        if ((await asTheyStand(set, keyVersion)).some(({ isOver }) => !isOver)) return true;
      }
      return false;
    },
    async unnumbered(sets) {
      const found = new Set<string>();
      for (const set of new Set(sets)) {
        for await (const { key, row } of ofSet(set)) if (row.accessEpoch === FINAL_EPOCH) found.add(key);
      }
      return found;
    },
    async missedBy(opened, heardBefore) {
      const known = new Map<string, Awaited<ReturnType<typeof ofVersion>>>();
      for (const disk of opened.filter(isStoppedByLoss)) {
        const name = keyOf(disk.set, disk.keyVersion);
        const losses = known.get(name) ?? (await ofVersion(disk.set, disk.keyVersion));
        known.set(name, losses);
        const missed = losses.find(
          ({ key, row }) => concerns(row, disk) && !(row.accessEpoch === FINAL_EPOCH && heardBefore.has(key)),
        );
        if (missed) return missed.row;
      }
      return undefined;
    },
    async returned(set, keyVersion, accessEpoch) {
      const over = (await ofVersion(set, keyVersion)).flatMap(({ key, row }) => {
        if (row.accessEpoch !== FINAL_EPOCH) {
          return row.accessEpoch > accessEpoch || row.isOver ? [] : [put({ ...row, isOver: true })];
        }
        // Of whom it was, old events do not say: the next one would be taken for the same.
        if (row.principal === undefined) return [remove(key, row)];
        // No number of a return reaches that of an end. An identity ends once: told again, it is over.
        return row.isOver ? [] : [put({ ...row, isOver: true }), overTo(key, FINAL_EPOCH)];
      });
      const key = keyOf(set, keyVersion);
      const known = await returns.get(key);
      return known !== undefined && known.accessEpoch >= accessEpoch ? over : [...over, overTo(key, accessEpoch)];
    },
    async forgotten(set) {
      const removals: RowChange[] = [];
      // As with putting: a removal with a lower version than the row's would leave it.
      for await (const { key, row } of ofSet(set)) removals.push(remove(key, row));
      for await (const page of pagesOf(returns, { prefix: prefixOf(set), limit: pageSize })) {
        for (const { key, row } of page) removals.push({ ...returns.remove(key, row), version: row.accessEpoch });
      }
      return removals;
    },
  };
};
