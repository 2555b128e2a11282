import { type ItemRefusal, itemError, type Settled, settleTogether } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
import { isNotHere, isUnreachable, type PassedCall, type Router, type Send } from './router.ts';

/** Most hosts that are called for one item, as for a call about one disk. */
const roundsMax = 3;

type BatchRouter = Pick<Router, 'at' | 'atAny' | 'hostsOf' | 'readHostsOf'>;

/** The outcome of an item as it is sent. */
interface WireOutcome {
  readonly outcome:
    | { readonly $case: 'refused'; readonly value: ItemRefusal }
    | { readonly $case: 'opened' | 'closed' | 'moved' }
    | undefined;
}

/** A batch whose items are each for one disk or snapshot. */
export interface Batch<Item, Outcome extends WireOutcome> {
  readonly items: readonly Item[];
  /** Most items; `field` is their field in the request. */
  readonly sizeMax: number;
  readonly field: string;
  /** Full name of the disk or snapshot of an item. */
  readonly nameOf: (item: Item) => string;
  /** Calls a host for some items. @returns an outcome for each, in their order */
  readonly send: (items: readonly Item[]) => Send<readonly Outcome[]>;
  /** Handles items whose host does not respond; by default they are refused. @returns an outcome for each, in their order */
  readonly withoutHost?: (host: string, items: readonly Item[]) => Promise<readonly Settled<Outcome>[]>;
}

/** Calls the hosts of a batch: each at once for its items, so that none waits for another host. */
export class Batches {
  readonly #router: BatchRouter;
  readonly #log: Logger;

  constructor(router: BatchRouter, log: Logger) {
    this.#router = router;
    this.#log = log;
  }

  /**
   * @returns the outcomes in the order of the request; the items of a host that does not respond are refused
   * @throws Rejection INVALID_ARGUMENT BATCH_SIZE_INVALID; the error of the first item if all are UNAVAILABLE
   */
  settle<Item, Outcome extends WireOutcome>(batch: Batch<Item, Outcome>, call: PassedCall) {
    const { items, sizeMax, field } = batch;
    return settleTogether(items, { sizeMax, field, log: this.#log }, () => this.#settled(batch, call));
  }

  async #settled<Item, Outcome extends WireOutcome>(
    batch: Batch<Item, Outcome>,
    call: PassedCall,
  ): Promise<readonly Settled<Outcome>[]> {
    const settled = new Map<number, Settled<Outcome>>();
    let left = batch.items.map((item, place) => ({ item, place }));
    const namesOf = (members: typeof left): string[] => [...new Set(members.map(({ item }) => batch.nameOf(item)))];
    let hosts = await this.#router.hostsOf(namesOf(left));
    for (let round = 1; left.length > 0; round += 1) {
      const routes = hosts;
      const groups = Map.groupBy(left, ({ item }) => routes.get(batch.nameOf(item)));
      const found = await Promise.all(
        [...groups].map(async ([host, members]) => {
          const group = members.map(({ item }) => item);
          const outcomes = await this.#ofHost(batch, host, group, call);
          return members.map(({ place }, at) => ({ place, ...(outcomes[at] ?? ended(missing<Outcome>())) }));
        }),
      );
      for (const { place, outcome, isElsewhere } of found.flat())
        if (!isElsewhere || round === roundsMax) settled.set(place, outcome);
      left = left.filter(({ place }) => !settled.has(place));
      if (left.length > 0) hosts = await this.#router.readHostsOf(namesOf(left));
    }
    return batch.items.map((_item, place) => settled.get(place) ?? missing());
  }

  async #ofHost<Item, Outcome extends WireOutcome>(
    batch: Batch<Item, Outcome>,
    host: string | undefined,
    items: readonly Item[],
    call: PassedCall,
  ): Promise<readonly Found<Outcome>[]> {
    try {
      const [first] = items;
      const key = first === undefined ? '' : batch.nameOf(first);
      const asked = batch.send(items);
      const outcomes = await (host === undefined
        ? this.#router.atAny(key, call, asked)
        : this.#router.at(host, call, asked));
      if (outcomes.length !== items.length) throw new Error(`${outcomes.length} outcomes of ${items.length} items`);
      return outcomes.map((answer) => {
        const { outcome } = answer;
        return ended(outcome?.$case === 'refused' ? { error: errorOf(outcome.value, host) } : { answer });
      });
    } catch (error) {
      if (host !== undefined && isUnreachable(error)) return this.#withoutHost(batch, host, items, error);
      return items.map(() => ended({ error }));
    }
  }

  /** The outcomes of items whose host does not respond: those that it has no longer are for another one. */
  async #withoutHost<Item, Outcome extends WireOutcome>(
    { nameOf, withoutHost }: Batch<Item, Outcome>,
    host: string,
    items: readonly Item[],
    error: unknown,
  ): Promise<readonly Found<Outcome>[]> {
    const now = await this.#router.readHostsOf([...new Set(items.map(nameOf))]);
    const isStill = (item: Item): boolean => now.get(nameOf(item)) === host;
    const still = items.filter(isStill);
    const refused = (failure: unknown) => still.map(() => ({ error: failure }));
    const outcomes =
      withoutHost === undefined || still.length === 0
        ? refused(error)
        : await withoutHost(host, still).catch((failure: unknown) => refused(failure));
    const ofStill = outcomes.values();
    return items.map((item) =>
      isStill(item)
        ? { outcome: ofStill.next().value ?? missing(), isElsewhere: false }
        : { outcome: { error }, isElsewhere: true },
    );
  }
}

/** What came of an item at a host. */
interface Found<Outcome> {
  readonly outcome: Settled<Outcome>;
  /** Another host has the disk meanwhile. */
  readonly isElsewhere: boolean;
}

const ended = <Outcome>(outcome: Settled<Outcome>): Found<Outcome> => ({
  outcome,
  isElsewhere: 'error' in outcome && isNotHere(outcome.error),
});

const missing = <Answer>(): Settled<Answer> => ({ error: new Error('an item of a batch has no outcome') });

const errorOf = (refused: ItemRefusal, host = 'disk'): unknown =>
  itemError(refused, { method: 'interlock.disk.v1.DiskService', peer: host });
