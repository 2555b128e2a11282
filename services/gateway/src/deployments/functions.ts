import { createHash } from 'node:crypto';
import { isDeeperThan } from '../text/nesting.ts';
import { nestedMax, type Work } from '../text/work.ts';
import { canonical } from './canonical.ts';
import { firstOccurrence, join, replace, split } from './texts.ts';

/** What a function may use besides its arguments, whose size is counted before. Their result is counted after the call. */
export interface FunctionCall {
  /** Reports arguments that the function cannot take. */
  readonly fail: (what: string) => Error;
  /** For a function whose result may be much larger than its arguments. */
  readonly work: Work;
}

type TemplateFunction = (given: readonly unknown[], call: FunctionCall) => unknown;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const text = (value: unknown, { fail }: FunctionCall): string => {
  if (typeof value === 'string') return value;
  throw fail(`a text is needed (got ${typeof value})`);
};

const number = (value: unknown, { fail }: FunctionCall): number => {
  if (typeof value === 'number') return value;
  throw fail(`a number is needed (got ${typeof value})`);
};

const bool = (value: unknown, { fail }: FunctionCall): boolean => {
  if (typeof value === 'boolean') return value;
  throw fail(`true or false is needed (got ${typeof value})`);
};

/** A text, or what is written as one: an object may have a member `toString`, so it is no text. */
const scalar = (value: unknown, { fail }: FunctionCall): string => {
  if (['string', 'number', 'boolean'].includes(typeof value)) return String(value);
  throw fail(`a text, a number, true or false is needed (got ${typeof value})`);
};

/** A result of arithmetic. @throws for one that is not exact: a division by zero, an overflow */
const exact = (value: number, { fail }: FunctionCall): number => {
  if (Number.isSafeInteger(value)) return value;
  throw fail(
    `the result must be a whole number from -${Number.MAX_SAFE_INTEGER} to ${Number.MAX_SAFE_INTEGER} (got ${value})`,
  );
};

const arithmetic =
  (compute: (left: number, right: number) => number): TemplateFunction =>
  ([left, right], call) =>
    exact(compute(number(left, call), number(right, call)), call);

const lengthOf = (value: unknown, { fail }: FunctionCall): number => {
  if (typeof value === 'string' || Array.isArray(value)) return value.length;
  if (isObject(value)) return Object.keys(value).length;
  throw fail('a text, an array or an object is needed');
};

const contains: TemplateFunction = ([whole, part], call) => {
  if (typeof whole === 'string') return firstOccurrence(whole, scalar(part, call)) >= 0;
  if (Array.isArray(whole)) {
    const wanted = canonical(part);
    return whole.some((one) => canonical(one) === wanted);
  }
  if (isObject(whole)) {
    const wanted = scalar(part, call).toLowerCase();
    return Object.keys(whole).some((name) => name.toLowerCase() === wanted);
  }
  throw call.fail('the first argument must be a text, an array or an object');
};

/** `{0}` and `{1}` are replaced by the arguments after the format. */
const format: TemplateFunction = ([pattern, ...values], call) =>
  text(pattern, call).replaceAll(/\{(\d+)\}/g, (_match, at: string) => {
    const value = values[Number(at)];
    if (value === undefined) throw call.fail(`the format has no argument ${at.slice(0, 20)}`);
    const shown = typeof value === 'object' ? JSON.stringify(value) : String(value);
    call.work.make(shown.length);
    return shown;
  });

/** Letters of the base 32 that unique strings are written in. */
const letters = 'abcdefghijklmnopqrstuvwxyz234567';

/** 13 letters that depend on the arguments alone; other ones than those of the public cloud. */
const uniqueString: TemplateFunction = (given, call) =>
  [...createHash('sha256').update(joined(given, call)).digest().subarray(0, 13)]
    .map((byte) => letters[byte % letters.length])
    .join('');

const joined = (given: readonly unknown[], call: FunctionCall): string =>
  given.map((one) => scalar(one, call)).join('-');

/** Namespace of the UUIDs that templates make of texts, in the public cloud. */
const guidNamespace = Buffer.from('11fb06fb712d4ddd98c7e71bbd588830', 'hex');

/** A UUID of version 5 (RFC 9562) of the arguments. */
const guid: TemplateFunction = (given, call) => {
  const hash = createHash('sha1').update(guidNamespace).update(joined(given, call)).digest().subarray(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

const take: TemplateFunction = ([whole, count], call) => {
  const n = Math.max(0, number(count, call));
  return Array.isArray(whole) ? whole.slice(0, n) : text(whole, call).slice(0, n);
};

const skip: TemplateFunction = ([whole, count], call) => {
  const n = Math.max(0, number(count, call));
  return Array.isArray(whole) ? whole.slice(n) : text(whole, call).slice(n);
};

const substring: TemplateFunction = ([whole, start, count], call) => {
  const source = text(whole, call);
  const from = number(start, call);
  const end = count === undefined ? source.length : from + number(count, call);
  if (from >= 0 && end >= from && end <= source.length) return source.slice(from, end);
  throw call.fail(`start and length must be within the text of ${source.length} characters`);
};

/** Longest text that `padLeft` makes, in characters. */
const widthMax = 1_000;

const padLeft: TemplateFunction = ([value, width, filler = ' '], call) => {
  const wanted = number(width, call);
  if (wanted > widthMax) throw call.fail(`the width must be at most ${widthMax} (got ${wanted})`);
  const filled = scalar(filler, call);
  if (filled.length !== 1) throw call.fail('the filler must be one character');
  return scalar(value, call).padStart(wanted, filled);
};

const union: TemplateFunction = (given, { fail }) => {
  const different = new Map<string, unknown>();
  if (given.every(Array.isArray)) {
    for (const one of given.flat(1)) {
      const key = canonical(one);
      if (!different.has(key)) different.set(key, one);
    }
    return [...different.values()];
  }
  if (!given.every(isObject)) throw fail('arrays alone, or objects alone, are needed');
  for (const [name, member] of given.flatMap((one) => Object.entries(one))) different.set(name, member);
  return Object.fromEntries(different);
};

const createObject: TemplateFunction = (given, call) => {
  if (given.length % 2 === 1) throw call.fail('pairs of a name and a value are needed');
  const names = given.filter((_, at) => at % 2 === 0).map((name) => scalar(name, call));
  return Object.fromEntries(names.map((name, at) => [name, given[2 * at + 1]]));
};

const json: TemplateFunction = ([value], call) => {
  const source = text(value, call);
  if (isDeeperThan(nestedMax, source, false))
    throw call.fail(`the text must not be nested deeper than ${nestedMax} levels`);
  try {
    return JSON.parse(source) as unknown;
  } catch (error) {
    throw error instanceof SyntaxError ? call.fail('the text must be JSON') : error;
  }
};

const int: TemplateFunction = ([value], call) => {
  const read = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(scalar(value, call));
  return exact(read, call);
};

const uri: TemplateFunction = ([base, relative], call) => {
  const found = URL.parse(text(relative, call), text(base, call));
  if (found !== null) return found.href;
  throw call.fail(
    'the first argument must be an absolute URL such as https://example.com/a, the second one part of a URL',
  );
};

const uriComponent: TemplateFunction = ([value], call) => {
  const plain = text(value, call);
  if (plain.isWellFormed()) return encodeURIComponent(plain);
  throw call.fail('the text has half of a surrogate pair, which no URL can have');
};

const array = (value: unknown, { fail }: FunctionCall): readonly unknown[] => {
  if (Array.isArray(value)) return value;
  throw fail('the first argument must be an array');
};

/** Functions that depend on their arguments alone, by name in lower case. Each computes in a time that is linear in the size of its arguments. */
export const templateFunctions: Readonly<Record<string, TemplateFunction>> = {
  add: arithmetic((left, right) => left + right),
  and: (given, call) => given.every((one) => bool(one, call)),
  base64: ([value], call) => Buffer.from(text(value, call)).toString('base64'),
  bool: ([value], call) => value === true || value === 1 || scalar(value, call).toLowerCase() === 'true',
  coalesce: (given) => given.find((one) => one !== null && one !== undefined) ?? null,
  contains,
  createarray: (given) => given,
  createobject: createObject,
  div: arithmetic((left, right) => Math.trunc(left / right)),
  empty: ([value], call) => value === null || value === undefined || lengthOf(value, call) === 0,
  endswith: ([whole, end], call) => text(whole, call).toLowerCase().endsWith(text(end, call).toLowerCase()),
  equals: ([left, right]) => canonical(left) === canonical(right),
  false: () => false,
  first: ([whole], call) => (Array.isArray(whole) ? (whole[0] ?? null) : text(whole, call).slice(0, 1)),
  format,
  greater: ([left, right], call) => number(left, call) > number(right, call),
  guid,
  if: ([condition, yes, no], call) => (bool(condition, call) ? yes : no) ?? null,
  indexof: ([whole, part], call) => firstOccurrence(text(whole, call).toLowerCase(), text(part, call).toLowerCase()),
  int,
  join: ([parts, mark], call) =>
    join(
      array(parts, call).map((one) => scalar(one, call)),
      text(mark, call),
      call.work,
    ),
  json,
  last: ([whole], call) => (Array.isArray(whole) ? (whole.at(-1) ?? null) : text(whole, call).slice(-1)),
  length: ([value], call) => lengthOf(value, call),
  less: ([left, right], call) => number(left, call) < number(right, call),
  mod: arithmetic((left, right) => left % right),
  mul: arithmetic((left, right) => left * right),
  not: ([value], call) => !bool(value, call),
  null: () => null,
  or: (given, call) => given.some((one) => bool(one, call)),
  padleft: padLeft,
  replace: ([whole, old, fresh], call) => {
    if (old === '') throw call.fail('the text to replace must not be empty');
    return replace(text(whole, call), text(old, call), text(fresh, call), call.work);
  },
  skip,
  split: ([whole, marks], call) => {
    const separators = Array.isArray(marks) ? marks.map((one) => scalar(one, call)) : [text(marks, call)];
    if (separators.includes('')) throw call.fail('a separator must not be empty');
    return split(text(whole, call), separators, call.work);
  },
  startswith: ([whole, start], call) => text(whole, call).toLowerCase().startsWith(text(start, call).toLowerCase()),
  string: ([value]) => (typeof value === 'string' ? value : JSON.stringify(value ?? null)),
  sub: arithmetic((left, right) => left - right),
  substring,
  take,
  tolower: ([value], call) => text(value, call).toLowerCase(),
  toupper: ([value], call) => text(value, call).toUpperCase(),
  trim: ([value], call) => text(value, call).trim(),
  true: () => true,
  union,
  uniquestring: uniqueString,
  uri,
  uricomponent: uriComponent,
};
