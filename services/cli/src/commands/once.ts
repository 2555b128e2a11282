import { Option } from 'commander';
import { UsageError } from '../problems.ts';

/** An option that may be given once: commander would silently take the second value. */
export function single(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.argParser(once(option));
}

/** Like `single`, and refuses an empty text: `--group "$G"` of a script must not mean the default. */
export function filled(flags: string, description: string): Option {
  const option = new Option(flags, description);
  const take = once(option);
  return option.argParser((text: string, before: string | undefined) => {
    if (text !== '') return take(text, before);
    throw new UsageError(`${option.long ?? option.flags} is empty: omit it, or give a value`);
  });
}

/** Accepts one value. @throws UsageError for a second one */
export const once =
  (option: Option) =>
  (text: string, before: string | undefined): string => {
    if (before === undefined) return text;
    throw new UsageError(`${option.long ?? option.flags} is given twice: "${before}" and "${text}"`);
  };
