/**
 * Whether the code of one process runs. Everything that reaches it from outside (the response of a store, the end of a
 * sleep, a request, a message) passes its gate. So a shut gate holds the process as SIGSTOP does, and a condemned one
 * ends it as `kill -9` does: none of its code runs again, not even `finally`.
 */
export interface Gate {
  isOpen(): boolean;
  isCondemned(): boolean;
  /** The result of `work` once the gate is open; never resolves if it is condemned. */
  through<Result>(work: Promise<Result>): Promise<Result>;
  /** Resolves when the gate is open again, or never; undefined while it is open, so that no caller waits without need. */
  held(): Promise<void> | undefined;
  /** Calls `go` when the gate is open: at once, later, or never. */
  whenOpen(go: () => void): void;
  shut(): void;
  open(): void;
  condemn(): void;
}

/** An open gate. */
export const createGate = (): Gate => {
  let state: 'open' | 'shut' | 'condemned' = 'open';
  let waiting: (() => void)[] = [];

  const whenOpen = (go: () => void): void => {
    if (state === 'open') go();
    else if (state === 'shut') waiting.push(go);
  };
  return {
    isOpen: () => state === 'open',
    isCondemned: () => state === 'condemned',
    whenOpen,
    held: () => (state === 'open' ? undefined : new Promise((resolve) => whenOpen(resolve))),
    through: (work) =>
      new Promise((resolve, reject) => {
        work.then(
          (result) => whenOpen(() => resolve(result)),
          (error: unknown) => whenOpen(() => reject(error)),
        );
      }),
    shut() {
      if (state === 'open') state = 'shut';
    },
    open() {
      if (state !== 'shut') return;
      state = 'open';
      const woken = waiting;
      waiting = [];
      for (const go of woken) whenOpen(go);
    },
    condemn() {
      state = 'condemned';
      waiting = [];
    },
  };
};
