import { Option } from 'commander';
import { UsageError } from '../problems.ts';

/** An option that may be given once: of two values commander would take the second, whichever was meant. */
export function single(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.argParser(once(option));
}

/** The same, of which an empty text is none: what a script means by `--group "$G"` is never the default in its place. */
export function filled(flags: string, description: string): Option {
  const option = new Option(flags, description);
  const take = once(option);
  return option.argParser((text: string, before: string | undefined) => {
    if (text !== '') return take(text, before);
    throw new UsageError(`${option.long ?? option.flags} is empty: leave it out, or say which`);
  });
}

/** Takes a value as it is. @throws UsageError for a second one */
export const once =
  (option: Option) =>
  (text: string, before: string | undefined): string => {
    if (before === undefined) return text;
    throw new UsageError(`${option.long ?? option.flags} is given twice: "${before}" and "${text}"`);
  };
