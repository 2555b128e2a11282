import { constants } from 'node:os';

/** Signals that interrupt a command. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Exit code when the reader of standard output is gone, as after SIGPIPE (`interlock … | head -1`). */
export const readerGone = 141;

/** Cleanup before the process exits. @param code its exit code */
type Act = (code: number) => unknown;

const acts = new Set<Act>();
let isUnderWay = false;

/** Whether the process exits early. */
export const isEnding = (): boolean => isUnderWay;

/** Exits with a code after all cleanups, the last one first. */
export const endWith = async (code: number): Promise<void> => {
  if (isUnderWay) return;
  isUnderWay = true;
  for (const act of [...acts].reverse()) {
    try {
      await act(code);
    } catch {
      // The process exits anyway; what a cleanup could not end expires.
    }
  }
  process.exit(code);
};

// The signal may arrive twice: from the terminal and from the parent process.
const onSignal = (signal: NodeJS.Signals): void => {
  void endWith(128 + constants.signals[signal]);
};

/**
 * Registers a cleanup for an early exit: a signal, or a reader that is gone.
 * @returns a function that removes it
 */
export const beforeEnd = (act: Act): (() => void) => {
  if (acts.size === 0) for (const name of signals) process.on(name, onSignal);
  acts.add(act);
  return () => {
    acts.delete(act);
    if (acts.size === 0) for (const name of signals) process.off(name, onSignal);
  };
};

/**
 * Waits for work that continues when this process ends. Ctrl-C or another signal ends the wait: it says so and how to look at the
 * work; the process ends with 128 and the number of the signal, 130 for Ctrl-C.
 * @param look the command, after `interlock`, that shows the state of the work
 */
export const interruptible = <Result>(
  look: string,
  terminal: { err(text: string): void },
  wait: () => Promise<Result>,
): Promise<Result> =>
  reportingInterrupts(`the operation continues in the cloud; interlock ${look} shows its state`, terminal, wait);

/** Runs work. If Ctrl-C or another signal ends it, the command says what that means. @param text after `interrupted:` */
export async function reportingInterrupts<Result>(
  text: string,
  { err }: { err(text: string): void },
  wait: () => Promise<Result>,
): Promise<Result> {
  const cancel = beforeEnd((code) => {
    if (code !== readerGone) err(`interrupted: ${text}`);
  });
  try {
    return await wait();
  } finally {
    cancel();
  }
}
