import { Option } from 'commander';
import { UsageError } from './usage-error.ts';

/** An option that may be given once: of two values commander would take the second, whichever was meant. */
export function single(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.argParser(once(option));
}

/** Takes a value as it is. @throws UsageError for a second one */
export const once =
  (option: Option) =>
  (text: string, before: string | undefined): string => {
    if (before === undefined) return text;
    throw new UsageError(`${option.long ?? option.flags} is given twice: "${before}" and "${text}"`);
  };
