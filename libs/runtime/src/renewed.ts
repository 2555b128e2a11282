/** A value that is replaced while the process runs, for example certificates before they expire. */
export interface Renewed<Value> {
  /** The current value. Read it at every use; never keep it. */
  current(): Value;
  /**
   * Calls `listener` after each renewal.
   * @returns removes the listener
   */
  onRenewal(listener: () => void): () => void;
}

/** A renewed value, for its owner, which renews it. */
export interface Renewable<Value> extends Renewed<Value> {
  /** Replaces the value, then notifies all listeners. */
  renew(value: Value): void;
}

/** @param first the value until the first renewal */
export const renewable = <Value>(first: Value): Renewable<Value> => {
  const listeners = new Set<() => void>();
  let value = first;
  return {
    current: () => value,
    onRenewal: (listener) => {
      // A wrapper, so that a listener added twice can be removed once.
      const own = (): void => listener();
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    renew: (next) => {
      value = next;
      for (const notify of listeners) notify();
    },
  };
};
