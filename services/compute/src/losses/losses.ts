import { concerns, FINAL_EPOCH } from '@interlock/access';
import {
  type Cause,
  type EventStore,
  pagesOf,
  type RowChange,
  type Table,
  table,
  withoutTracker,
} from '@interlock/event-store';
import { isStoppedByLoss } from '../vm/disk-state.ts';
import type { OpenedDisk } from '../vm/events.ts';
import type { SetLoss } from '../vm/key-loss.ts';

/** A loss with its cause, so that a later stop still names it. */
export interface KnownLoss extends SetLoss {
  readonly cause: Cause;
  /** Access was restored since. The loss is kept: it still concerns a machine that unwrapped before it. */
  readonly isOver: boolean;
}

/** Identifies a loss among those of its key version: by its number, or by the identity that was deleted. */
type LossId = Pick<SetLoss, 'set' | 'keyVersion' | 'accessEpoch' | 'principal'>;

const tableVersion = 1;
/** Rows read at once. */
const pageSize = 1_000;
/** No name contains a space, so the prefix of a set is not the prefix of another one. */
const prefixOf = (set: string): string => `${set} `;
const keyOf = (set: string, keyVersion: string): string => `${prefixOf(set)}${keyVersion}`;
/** One row for the losses of a version, and one more for each deleted identity. */
const rowKeyOf = ({ set, keyVersion, principal }: LossId): string =>
  principal === undefined ? keyOf(set, keyVersion) : `${keyOf(set, keyVersion)} ${principal}`;

/**
 * The known losses of key versions: of each version the newest loss of the key, and the end of each of its set's identities.
 * The end of an identity has no position in key-vault's feed, so it is stored separately and replaces no loss of the key.
 */
export class Losses {
  readonly #store: EventStore;
  readonly #rows: Table<KnownLoss>;
  /** By row key: up to which number losses are over. */
  readonly #over: Table<{ readonly accessEpoch: number }>;

  constructor(store: EventStore) {
    this.#store = store;
    this.#rows = table(store, { name: 'key_loss', version: tableVersion });
    this.#over = table(store, { name: 'key_return', version: tableVersion });
  }

  /** Stores a loss unless a newer one of the same row is known. The same number with another reason is a correction. */
  async remember(loss: SetLoss, cause: Cause): Promise<void> {
    const rows = await this.rowsFor(loss, cause);
    if (rows.length > 0) await this.#store.commit({ rows }, cause);
  }

  /** The rows that `remember` stores, for a caller that stores more in the same commit. */
  async rowsFor(loss: SetLoss, cause: Cause): Promise<readonly RowChange[]> {
    const [known, isOver] = await Promise.all([this.#rows.get(rowKeyOf(loss)), this.isOver(loss)]);
    if (known !== undefined && known.accessEpoch > loss.accessEpoch) return [];
    const isSameNumber = known?.accessEpoch === loss.accessEpoch;
    if (isSameNumber && (known.isOver || known.reason === loss.reason)) return [];
    // A correction changes the reason, not the cause.
    return [this.#put({ ...loss, cause: isSameNumber ? known.cause : withoutTracker(cause), isOver })];
  }

  /** The known losses of a version: of its key first, then the ends of identities. */
  async of(set: string, keyVersion: string): Promise<readonly KnownLoss[]> {
    const found = await this.#ofVersion(set, keyVersion);
    const over = await this.#over.getMany(found.map(({ key }) => key));
    // A replica may store a loss after another one stored that it is over: the number decides, not the row.
    return found.map(({ key, row }) => ({
      ...row,
      isOver: row.isOver || row.accessEpoch <= (over.get(key)?.accessEpoch ?? -1),
    }));
  }

  /** Whether one of these keys is lost now. */
  async anyLost(keys: readonly { readonly set: string; readonly keyVersion: string }[]): Promise<boolean> {
    for (const { set, keyVersion } of keys) {
      if ((await this.of(set, keyVersion)).some(({ isOver }) => !isOver)) return true;
    }
    return false;
  }

  /**
   * A loss that concerns one of these disks although its open succeeded: committed after the unwrap. The caller looks after
   * it stored the open, and a loss is stored before its machines are looked for, so one of the two finds the other (G2).
   */
  async missedBy(opened: readonly OpenedDisk[]): Promise<KnownLoss | undefined> {
    const known = new Map<string, readonly KnownLoss[]>();
    for (const disk of opened.filter(isStoppedByLoss)) {
      const key = keyOf(disk.set, disk.keyVersion);
      const losses = known.get(key) ?? (await this.#ofVersion(disk.set, disk.keyVersion)).map(({ row }) => row);
      known.set(key, losses);
      const missed = losses.find((loss) => concerns(loss, disk));
      if (missed) return missed;
    }
    return undefined;
  }

  /**
   * The rows that record access restored at that number: every loss up to it is over, and so is every end of an identity. They
   * also apply to a loss that is stored later: a report of a disk host may arrive after its loss is over.
   */
  async rowsForRestored(set: string, keyVersion: string, accessEpoch: number): Promise<readonly RowChange[]> {
    const over = (await this.#ofVersion(set, keyVersion)).flatMap(({ key, row }) => {
      if (row.isOver) return [];
      if (row.principal !== undefined) return [this.#put({ ...row, isOver: true }), this.#overTo(key, FINAL_EPOCH)];
      return row.accessEpoch > accessEpoch ? [] : [this.#put({ ...row, isOver: true })];
    });
    const key = keyOf(set, keyVersion);
    const known = await this.#over.get(key);
    return known !== undefined && known.accessEpoch >= accessEpoch ? over : [...over, this.#overTo(key, accessEpoch)];
  }

  /** Whether a loss is known to be over. */
  async isOver(loss: LossId): Promise<boolean> {
    return loss.accessEpoch <= ((await this.#over.get(rowKeyOf(loss)))?.accessEpoch ?? -1);
  }

  /** The rows that remove every loss of a deleted set: a later set of its name may use the same key (CMK-39). */
  async rowsForDeleted(set: string): Promise<readonly RowChange[]> {
    const removals: RowChange[] = [];
    // A removal with a lower version than that of the row would leave the row.
    for await (const { key, row } of this.#under(prefixOf(set))) {
      removals.push({ ...this.#rows.remove(key, row), version: row.accessEpoch });
    }
    for await (const page of pagesOf(this.#over, { prefix: prefixOf(set), limit: pageSize })) {
      for (const { key, row } of page) removals.push({ ...this.#over.remove(key, row), version: row.accessEpoch });
    }
    return removals;
  }

  /** The number of the loss is the version of the row: a store never replaces a row by one of a lower version. */
  #put(loss: KnownLoss): RowChange {
    return { ...this.#rows.put(rowKeyOf(loss), loss, undefined), version: loss.accessEpoch };
  }

  #overTo(key: string, accessEpoch: number): RowChange {
    return { ...this.#over.put(key, { accessEpoch }, undefined), version: accessEpoch };
  }

  #ofVersion(set: string, keyVersion: string) {
    return Array.fromAsync(this.#under(keyOf(set, keyVersion)));
  }

  async *#under(prefix: string): AsyncGenerator<{ readonly key: string; readonly row: KnownLoss }> {
    for await (const page of pagesOf(this.#rows, { prefix, limit: pageSize })) yield* page;
  }
}

/** Opens the losses of a store. */
export const openLosses = (store: EventStore): Losses => new Losses(store);
