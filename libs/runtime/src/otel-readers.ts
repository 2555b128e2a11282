import type { Reader, Reading } from './config.ts';
import { optional } from './config-readers.ts';

/*
 * Readers for variables of the OpenTelemetry specification. Such a variable often comes from outside of this project (an
 * operator of the cluster, a base image), so its value never ends a service: an unusable value is ignored with a warning, as
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ requires.
 */

/** The same reader; a value that it refuses is ignored with a warning, as if the variable were not set. */
export const lenient = <Value>(inner: Reader<Value>): Reader<Value> => ({
  ...inner,
  read: (raw) => {
    const reading = inner.read(raw);
    if (reading.ok) return reading;
    const unset = inner.read(undefined);
    return unset.ok ? { ...unset, ignored: { got: reading.got, expected: reading.expected } } : reading;
  },
});

/** `true` in any case; every other value is false, with a warning unless it is `false` or not set. */
export const otelBool = (description: string): Reader<boolean> => ({
  description,
  expected: 'true or false',
  show: String,
  read: (raw) => {
    const value = raw?.toLowerCase();
    if (value === 'true') return { ok: true, value: true };
    if (value === undefined || value === 'false') return { ok: true, value: false };
    return { ok: true, value: false, ignored: { got: JSON.stringify(raw), expected: 'true or false' } };
  },
});

/** One of the words, in any case. */
export const otelEnum = <const Word extends string>(
  description: string,
  words: readonly Word[],
  fallback: NoInfer<Word>,
): Reader<Word> => {
  const expected = `one of ${words.join(', ')}`;
  return {
    description,
    expected,
    show: String,
    read: (raw) => {
      if (raw === undefined) return { ok: true, value: fallback };
      const word = words.find((candidate) => candidate === raw.trim().toLowerCase());
      if (word !== undefined) return { ok: true, value: word };
      return { ok: true, value: fallback, ignored: { got: JSON.stringify(raw), expected } };
    },
  };
};

/**
 * Exporters, separated by commas, in any case; `none` is the empty list. Unknown ones are ignored with a warning. If all are
 * unknown, the default is used.
 */
export const otelExporters = <const Word extends string>(
  description: string,
  words: readonly Word[],
  fallback: NoInfer<Word>,
): Reader<readonly Word[]> => {
  const expected = `one of ${[...words, 'none'].join(', ')}`;
  return {
    description,
    expected,
    show: (value) => value.join(',') || 'none',
    read: (raw) => {
      if (raw === undefined) return { ok: true, value: [fallback] };
      const given = raw.split(',').map((one) => one.trim().toLowerCase());
      const known = words.filter((word) => given.includes(word));
      const isNone = known.length === 0 && given.includes('none');
      const value = known.length > 0 || isNone ? known : [fallback];
      const isUnderstood = given.every((one) => words.some((word) => word === one) || one === 'none');
      return isUnderstood ? { ok: true, value } : { ok: true, value, ignored: { got: JSON.stringify(raw), expected } };
    },
  };
};

/** A number from 0 to 1. */
export const otelRatio = (description: string): Reader<number | undefined> =>
  lenient(
    optional({
      description,
      expected: 'a number from 0 to 1',
      show: String,
      read: (raw): Reading<number> => {
        const value = raw === undefined || raw.trim() === '' ? Number.NaN : Number(raw);
        return value >= 0 && value <= 1
          ? { ok: true, value }
          : { ok: false, got: JSON.stringify(raw), expected: 'a number from 0 to 1' };
      },
    }),
  );

/** `key=value` pairs, separated by commas, percent-encoded. One pair that cannot be read discards all of them. */
export const otelAttributes = (description: string): Reader<Readonly<Record<string, string>>> => {
  const expected = 'key=value pairs, separated by commas';
  return lenient({
    description,
    expected,
    show: (value) =>
      Object.entries(value)
        .map(([key, one]) => `${key}=${one}`)
        .join(',') || '‹not set›',
    read: (raw): Reading<Readonly<Record<string, string>>> => {
      try {
        return { ok: true, value: Object.fromEntries(pairsOf(raw ?? '').map(attributeOf)) };
      } catch (error) {
        if (!(error instanceof URIError)) throw error;
        return { ok: false, got: JSON.stringify(raw), expected };
      }
    },
  });
};

const pairsOf = (raw: string): readonly string[] => raw.split(',').filter((pair) => pair.trim() !== '');

/** @throws URIError for a text that is no pair */
const attributeOf = (pair: string): readonly [string, string] => {
  const at = pair.indexOf('=');
  const key = decodeURIComponent(pair.slice(0, at).trim());
  if (at < 1 || key === '') throw new URIError(`${pair} is no key=value pair`);
  return [key, decodeURIComponent(pair.slice(at + 1).trim())];
};
