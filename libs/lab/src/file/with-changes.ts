import { parseDocument } from 'yaml';

/**
 * The text of a file with changed settings and seed, as `--set leaseTtl=30s` and `--seed 7` request. Comments stay. Invalid values
 * are reported when the text is read.
 * @param settings `name=value` each
 * @throws Error for a setting without a value
 */
export const withChanges = (text: string, settings: readonly string[], seed?: string): string => {
  if (settings.length === 0 && seed === undefined) return text;
  const document = parseDocument(text);
  // Unchanged: the reader reports its errors.
  if (document.errors.length > 0) return text;
  for (const setting of settings) {
    const at = setting.indexOf('=');
    if (at < 1 || at === setting.length - 1)
      throw new Error(`--set must be a setting and its value, for example leaseTtl=30s, not "${setting}"`);
    document.setIn(['settings', setting.slice(0, at)], scalarOf(setting.slice(at + 1)));
  }
  if (seed !== undefined) document.set('seed', scalarOf(seed));
  // Lines stay as they are: problems name them.
  return document.toString({ lineWidth: 0 });
};

/** Numbers and booleans as YAML reads them. */
const scalarOf = (text: string): string | number | boolean => {
  if (/^-?\d+$/.test(text)) return Number(text);
  return text === 'true' || text === 'false' ? text === 'true' : text;
};
