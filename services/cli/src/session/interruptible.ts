import { beforeEnd, readerGone } from './endings.ts';
import type { Terminal } from './session.ts';

/**
 * Waits for work that does not end with this process. Where the wait is ended by Ctrl-C or another signal, it says so and how to
 * look at the work; the process ends with 128 and the number of the signal, 130 for Ctrl-C.
 * @param look the command, after `interlock`, that shows how far the work is
 */
export async function interruptible<Result>(
  look: string,
  { err }: Pick<Terminal, 'err'>,
  wait: () => Promise<Result>,
): Promise<Result> {
  const takeBack = beforeEnd((code) => {
    if (code !== readerGone)
      err(`interrupted: the operation continues in the cloud; interlock ${look} shows its state`);
  });
  try {
    return await wait();
  } finally {
    takeBack();
  }
}
