import { readFileSync } from 'node:fs';
import type { Reader, Reading } from './config.ts';

/** Shown in place of a secret value. */
const HIDDEN = '‹set›';
const NOTHING = 'nothing';

/** A setting that is optional if it has a default. */
export interface Defaulted<Value> {
  readonly default?: Value;
}

/** Any text. */
export const text = (description: string, options: Defaulted<string> = {}): Reader<string> =>
  reader(description, 'a text', options, (raw) => ({ ok: true, value: raw }));

/** An absolute URL, kept as text. A password in it is never shown. */
export const url = (description: string, options: Defaulted<string> = {}): Reader<string> => ({
  ...reader(description, 'a URL such as scheme://host:port', options, (raw) =>
    URL.canParse(raw)
      ? { ok: true, value: raw }
      : { ok: false, got: withoutPassword(raw), expected: 'a URL such as scheme://host:port' },
  ),
  show: withoutPassword,
});

/** Absolute URLs, separated by commas, kept as text. Passwords in them are never shown. */
export const urls = (description: string): Reader<string> => {
  const expected = 'URLs such as scheme://host:port, separated by commas';
  const shown = (raw: string): string => raw.split(',').map(withoutPassword).join(',');
  return {
    ...reader(description, expected, {}, (raw) =>
      raw.split(',').every((one) => URL.canParse(one))
        ? { ok: true, value: raw }
        : // Hidden as a whole: a comma in a password splits it, and neither part looks like a password.
          { ok: false, got: withoutPassword(raw), expected },
    ),
    show: shown,
  };
};

/** A whole number within bounds; put the unit into the name of the setting (`leaseTtlMs`). */
export const int = (
  description: string,
  options: Defaulted<number> & { readonly min?: number; readonly max?: number } = {},
): Reader<number> => {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = options;
  const expected = `a whole number from ${min} to ${max}`;
  return reader(description, expected, options, (raw) => {
    const value = /^[+-]?\d+$/.test(raw) ? Number(raw) : Number.NaN;
    return value >= min && value <= max ? { ok: true, value } : { ok: false, got: quoted(raw), expected };
  });
};

/** `true` or `false`; also `1` and `0`. */
export const bool = (description: string, options: Defaulted<boolean> = {}): Reader<boolean> =>
  reader(description, 'true or false', options, (raw) => {
    if (raw === 'true' || raw === '1') return { ok: true, value: true };
    if (raw === 'false' || raw === '0') return { ok: true, value: false };
    return { ok: false, got: quoted(raw), expected: 'true or false' };
  });

/** One of some words. */
export const oneOf = <const Word extends string>(
  description: string,
  words: readonly Word[],
  options: Defaulted<NoInfer<Word>> = {},
): Reader<Word> => {
  const expected = `one of ${words.join(', ')}`;
  return reader(description, expected, options, (raw) => {
    const word = words.find((candidate) => candidate === raw);
    return word === undefined ? { ok: false, got: quoted(raw), expected } : { ok: true, value: word };
  });
};

/** An optional setting: `undefined` if it is not set. */
export const optional = <Value>(inner: Reader<Value>): Reader<Value | undefined> => ({
  description: inner.description,
  expected: `${inner.expected}, or nothing`,
  show: (value) => (value === undefined ? '‹not set›' : inner.show(value)),
  read: (raw) => (raw === undefined ? { ok: true, value: undefined } : inner.read(raw)),
});

/** A secret in the variable itself. Prefer `secretFile`: child processes inherit an environment, and the system lists it. */
export const secret = (description: string): Reader<string> => ({
  ...reader(description, 'a secret', {}, (raw) => ({ ok: true, value: raw })),
  show: () => HIDDEN,
});

/** Path of a file with a secret; the value is its content, without a final line end. */
export const secretFile = (description: string): Reader<string> => ({
  ...reader(description, readableFile, {}, contentOf),
  show: () => HIDDEN,
});

/** Path of a file that is reloaded when it changes; the value is the path. */
export const renewedFile = (description: string): Reader<string> =>
  reader(description, readableFile, {}, (path) => {
    const content = contentOf(path);
    return content.ok ? { ok: true, value: path } : content;
  });

const readableFile = 'the path of a readable file that is not empty';

function contentOf(path: string): Reading<string> {
  const unusable = (why: string): Reading<string> => ({
    ok: false,
    got: `${quoted(path)} (${why})`,
    expected: readableFile,
  });
  try {
    const value = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    return value === '' ? unusable('empty') : { ok: true, value };
  } catch (error) {
    return unusable(error instanceof Error ? error.message : String(error));
  }
}

function reader<Value>(
  description: string,
  expected: string,
  options: Defaulted<Value>,
  parse: (raw: string) => Reading<Value>,
): Reader<Value> {
  return {
    description,
    expected,
    show: String,
    read: (raw) => {
      if (raw !== undefined) return parse(raw);
      return options.default === undefined
        ? { ok: false, got: NOTHING, expected }
        : { ok: true, value: options.default };
    },
  };
}

const quoted = (raw: string): string => JSON.stringify(raw);

/** Everything between the first colon behind `//` and the last `@` may be a password, also in a malformed URL. */
const withoutPassword = (raw: string): string => raw.replace(/(\/\/[^:@/]*):.*@/, `$1:${HIDDEN}@`);
