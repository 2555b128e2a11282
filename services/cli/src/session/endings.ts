import { constants } from 'node:os';
import type { Terminal } from '../output/terminal.ts';

/** What ends a command before its time. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Exit code where whoever read standard output has enough, as of what SIGPIPE ends (`interlock … | head -1`). */
export const readerGone = 141;

/** What is done before the end. @param code exit code of the process */
type Act = (code: number) => unknown;

const acts = new Set<Act>();
let isUnderWay = false;

/** Whether the process is on its way out before its time. */
export const isEnding = (): boolean => isUnderWay;

/** Ends this process with that code, once what it has to do before is done, the last first. */
export const endWith = async (code: number): Promise<void> => {
  if (isUnderWay) return;
  isUnderWay = true;
  for (const act of [...acts].reverse()) {
    try {
      await act(code);
    } catch {
      // Whoever ended the process waits for nothing more; what could not be done ends by its own time.
    }
  }
  process.exit(code);
};

// It may be told twice: by the terminal, and by what started it.
const onSignal = (signal: NodeJS.Signals): void => {
  void endWith(128 + constants.signals[signal]);
};

/**
 * Has something done also where the process is ended before its time: by Ctrl-C or another signal, or by a reader that has enough.
 * @returns what takes that back
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
export async function interruptible<Result>(
  look: string,
  { err }: Pick<Terminal, 'err'>,
  wait: () => Promise<Result>,
): Promise<Result> {
  const cancel = beforeEnd((code) => {
    if (code !== readerGone)
      err(`interrupted: the operation continues in the cloud; interlock ${look} shows its state`);
  });
  try {
    return await wait();
  } finally {
    cancel();
  }
}
