import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';

type Storage = AsyncLocalStorage<unknown>;
type Work = (...args: readonly unknown[]) => unknown;

/** What one storage holds, in front of what the others do. Immutable: work that began under it stays under it. */
class Held {
  readonly storage: Storage;
  readonly value: unknown;
  readonly others: Held | undefined;
  constructor(storage: Storage, value: unknown, others: Held | undefined) {
    this.storage = storage;
    this.value = value;
    this.others = others;
  }
}

const without = (storage: Storage, held: Held | undefined): Held | undefined => {
  if (held === undefined || held.storage === storage) return held?.others;
  const others = without(storage, held.others);
  return others === held.others ? held : new Held(held.storage, held.value, others);
};

/** Node's own, for the one storage that holds what all others do. */
const { enterWith, getStore } = AsyncLocalStorage.prototype;
const all = new AsyncLocalStorage<Held | undefined>();
/** No storage holds anything: entering one copies nothing. */
const nowhere = new AsyncResource('nowhere');

const heldNow = (): Held | undefined => getStore.call(all);

const heldFor = (storage: Storage, held: Held | undefined): unknown => {
  let one = held;
  while (one !== undefined && one.storage !== storage) one = one.others;
  // One that holds nothing may have something by default.
  return one === undefined ? getStore.call(storage) : one.value;
};

const begin = (held: Held, work: Work, args: readonly unknown[]): unknown => {
  enterWith.call(all, held);
  return work(...args);
};

/**
 * Replaces how this process keeps what `AsyncLocalStorage` holds. Whenever one storage is given something for a while, Node copies
 * what all of them hold, entry by entry, and once more when the while is over; a history does it some thousands of times, for its
 * spans and its calls. Here what one holds stands in front of what the others do, and afterwards what was before is there again.
 * Install it before any storage holds anything. Tells nothing that Node's own would not.
 */
export const installLightContexts = (): void => {
  Object.assign(AsyncLocalStorage.prototype, {
    run(this: Storage, value: unknown, work: Work, ...args: readonly unknown[]): unknown {
      const held = heldNow();
      if (Object.is(heldFor(this, held), value)) return work(...args);
      return nowhere.runInAsyncScope(begin, undefined, new Held(this, value, without(this, held)), work, args);
    },
    getStore(this: Storage): unknown {
      return heldFor(this, heldNow());
    },
    enterWith(): never {
      throw new Error('what a storage holds has an end here: use run');
    },
    disable(): never {
      throw new Error('no storage ends before its process does');
    },
  });
};
