import { exitCodes, type Problem, toMilliseconds } from '@interlock/lab';
import { type Scope, systemClock, visible } from '@interlock/runtime';
import { type FileSearch, searchFile } from './search-file.ts';

/** The command `experiment search`, as it was typed. */
export interface SearchCommand extends Pick<FileSearch, 'text' | 'other'> {
  readonly wishes: {
    readonly target?: string | undefined;
    readonly budget: string;
    readonly histories?: string | undefined;
    readonly seed?: string | undefined;
    readonly output: string;
  };
}

/** Longest search, in milliseconds. */
const budgetMsMax = 24 * 3_600_000;

/** Plays other timelines of a file until one violates a rule. @returns the exit code, or what of the file or of a flag is wrong */
export const searchCommand = async (
  { text, other, wishes }: SearchCommand,
  scope: Scope,
): Promise<{ readonly exitCode: number } | { readonly problems: readonly Problem[] } | { readonly wrong: string }> => {
  const { target = 'simulated', budget, histories = '100000', seed, output } = wishes;
  const budgetMs = toMilliseconds(budget) ?? 0;
  if (target !== 'simulated')
    return { wrong: `--target must be simulated, not "${target}": only there is time virtual.` };
  if (!(budgetMs > 0 && budgetMs <= budgetMsMax))
    return { wrong: `--budget must be a duration up to 24h, for example 10m, not "${budget}".` };
  if (!/^[1-9]\d{0,5}$/.test(histories)) return { wrong: `--histories must be 1 to 999999, not "${histories}".` };
  if (seed !== undefined && !(/^\d{1,10}$/.test(seed) && Number(seed) < 2 ** 32))
    return { wrong: `--seed must be a whole number from 0 to 4294967295, not "${seed}".` };
  const interrupt = new AbortController();
  const fromMs = systemClock.monotonicMs();
  const searching = searchFile({
    ...{ text, other, budgetMs, output, histories: Number(histories), workers: 2, signal: interrupt.signal },
    seed: seed === undefined ? undefined : Number(seed),
    say: (line) => console.log(visible(line)),
    elapsedMs: () => systemClock.monotonicMs() - fromMs,
  });
  // Ctrl-C: what was found so far is printed and written before the process ends.
  scope.defer('search', async () => {
    interrupt.abort();
    await searching;
  });
  const result = await searching;
  if ('problems' in result) return result;
  return { exitCode: result.isFound ? exitCodes.violated : exitCodes.held };
};
