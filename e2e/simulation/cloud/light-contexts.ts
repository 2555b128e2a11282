import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';

type Storage = AsyncLocalStorage<unknown>;
type Work = (...args: readonly unknown[]) => unknown;

/** The value of one storage, linked to those of the others. Immutable: work that started under it keeps it. */
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

/** Node's methods, for the one storage that holds the values of all others. */
const { enterWith, getStore } = AsyncLocalStorage.prototype;
const all = new AsyncLocalStorage<Held | undefined>();
/** The context without any value: entering it copies nothing. */
const nowhere = new AsyncResource('nowhere');

const heldNow = (): Held | undefined => getStore.call(all);

const heldFor = (storage: Storage, held: Held | undefined): unknown => {
  let one = held;
  while (one !== undefined && one.storage !== storage) one = one.others;
  // A storage without a value may have a default.
  return one === undefined ? getStore.call(storage) : one.value;
};

const begin = (held: Held, work: Work, args: readonly unknown[]): unknown => {
  enterWith.call(all, held);
  return work(...args);
};

/**
 * Replaces how this process keeps the values of `AsyncLocalStorage`. For every `run` of a storage, Node copies the values of all
 * storages, entry by entry, and again at its end. A history does that some thousands of times, for its spans and calls.
 * Here the new value is linked to the earlier ones, and the end of `run` restores the earlier link.
 * Install it before any storage has a value. Programs see no difference to Node's own.
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
