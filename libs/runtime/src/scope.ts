/** Closing a scope failed: every disposer ran, these threw. */
export class ScopeError extends AggregateError {
  override readonly name = 'ScopeError';
}

/** Parts of a process that are closed in the reverse order of their opening. */
export interface Scope {
  /**
   * Registers how to close a part that was just opened. If the scope is already closing, the part is closed at once, so that a slow
   * start leaves nothing open after a stop.
   */
  defer(name: string, close: () => Promise<unknown> | unknown): void;
  /** Aborted when closing starts: for loops that belong to the scope. */
  readonly signal: AbortSignal;
  /** Names of the open parts, the last opened first. */
  open(): readonly string[];
  /**
   * Closes everything, the last opened first, one after another. A second call waits for the first.
   * @throws ScopeError if disposers threw; all others ran too
   */
  close(): Promise<void>;
}

/**
 * An empty scope.
 * @param onClosing receives the name of each part before it is closed
 */
export function createScope(onClosing: (name: string) => void = () => undefined): Scope {
  const entries: { readonly name: string; readonly close: () => Promise<unknown> | unknown }[] = [];
  const ending = new AbortController();
  const failures: unknown[] = [];
  let closed: Promise<void> | undefined;

  const closeAll = async (): Promise<void> => {
    for (let entry = entries.at(-1); entry !== undefined; entry = entries.at(-1)) {
      onClosing(entry.name);
      try {
        await entry.close();
      } catch (error) {
        failures.push(new Error(`closing ${entry.name} failed`, { cause: error }));
      }
      entries.splice(entries.lastIndexOf(entry), 1);
    }
    if (failures.length > 0) throw new ScopeError(failures, `${failures.length} part(s) did not close`);
  };

  return {
    signal: ending.signal,
    open: () => entries.map(({ name }) => name).reverse(),
    defer: (name, close) => {
      entries.push({ name, close });
      if (closed !== undefined) closed = closed.then(closeAll, closeAll);
    },
    close: () => {
      if (closed === undefined) {
        ending.abort();
        closed = closeAll();
      }
      return closed;
    },
  };
}
