import { type ItemRefusal, itemError, type Settled, settleTogether } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
import { isNotHere, isUnreachable, type PassedCall, type Router, type Send } from './router.ts';

/** Most hosts that are called for one item, as for a call about one disk. */
const roundsMax = 3;

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
  readonly #router: Pick<Router, 'at' | 'atAny' | 'hostsOf'>;
  readonly #log: Logger;

  constructor(router: Pick<Router, 'at' | 'atAny' | 'hostsOf'>, log: Logger) {
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
    for (let round = 1; left.length > 0; round += 1) {
      const hosts = await this.#router.hostsOf([...new Set(left.map(({ item }) => batch.nameOf(item)))]);
      const groups = Map.groupBy(left, ({ item }) => hosts.get(batch.nameOf(item)));
      const found = await Promise.all(
        [...groups].map(async ([host, members]) => {
          const group = members.map(({ item }) => item);
          const outcomes = await this.#ofHost(batch, host, group, call);
          return members.map((member, at) => ({ member, outcome: outcomes[at] ?? missing() }));
        }),
      );
      const isMoved = ({ outcome }: { readonly outcome: Settled<Outcome> }): boolean =>
        round < roundsMax && 'error' in outcome && isNotHere(outcome.error);
      for (const one of found.flat()) if (!isMoved(one)) settled.set(one.member.place, one.outcome);
      left = left.filter(({ place }) => !settled.has(place));
    }
    return batch.items.map((_item, place) => settled.get(place) ?? missing());
  }

  async #ofHost<Item, Outcome extends WireOutcome>(
    { send, nameOf, withoutHost }: Batch<Item, Outcome>,
    host: string | undefined,
    items: readonly Item[],
    call: PassedCall,
  ): Promise<readonly Settled<Outcome>[]> {
    try {
      const [first] = items;
      const key = first === undefined ? '' : nameOf(first);
      const asked = send(items);
      const outcomes = await (host === undefined
        ? this.#router.atAny(key, call, asked)
        : this.#router.at(host, call, asked));
      if (outcomes.length !== items.length) throw new Error(`${outcomes.length} outcomes of ${items.length} items`);
      return outcomes.map((answer) => {
        const { outcome } = answer;
        return outcome?.$case === 'refused' ? { error: errorOf(outcome.value, host) } : { answer };
      });
    } catch (error) {
      if (withoutHost !== undefined && host !== undefined && isUnreachable(error)) {
        return withoutHost(host, items).catch((failure: unknown) => items.map(() => ({ error: failure })));
      }
      return items.map(() => ({ error }));
    }
  }
}

const missing = <Answer>(): Settled<Answer> => ({ error: new Error('an item of a batch has no outcome') });

const errorOf = (refused: ItemRefusal, host = 'disk'): unknown =>
  itemError(refused, { method: 'interlock.disk.v1.DiskService', peer: host });
