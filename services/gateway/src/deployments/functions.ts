import { createHash } from 'node:crypto';

/** Reports arguments that a function cannot take. */
export type Fail = (what: string) => Error;

type TemplateFunction = (given: readonly unknown[], fail: Fail) => unknown;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const text = (value: unknown, fail: Fail): string => {
  if (typeof value === 'string') return value;
  throw fail(`a text is needed (got ${typeof value})`);
};

const number = (value: unknown, fail: Fail): number => {
  if (typeof value === 'number') return value;
  throw fail(`a number is needed (got ${typeof value})`);
};

const bool = (value: unknown, fail: Fail): boolean => {
  if (typeof value === 'boolean') return value;
  throw fail(`true or false is needed (got ${typeof value})`);
};

const lengthOf = (value: unknown, fail: Fail): number => {
  if (typeof value === 'string' || Array.isArray(value)) return value.length;
  if (isObject(value)) return Object.keys(value).length;
  throw fail('a text, an array or an object is needed');
};

const same = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right);

const contains: TemplateFunction = ([whole, part], fail) => {
  if (typeof whole === 'string') return whole.includes(String(part));
  if (Array.isArray(whole)) return whole.some((one) => same(one, part));
  if (isObject(whole)) return Object.keys(whole).some((name) => name.toLowerCase() === String(part).toLowerCase());
  throw fail('the first argument must be a text, an array or an object');
};

/** `{0}` and `{1}` are replaced by the arguments after the format. */
const format: TemplateFunction = ([pattern, ...values], fail) =>
  text(pattern, fail).replaceAll(/\{(\d+)\}/g, (_match, at: string) => {
    const value = values[Number(at)];
    if (value === undefined) throw fail(`the format has no argument ${at}`);
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  });

/** Letters of the base 32 that unique strings are written in. */
const letters = 'abcdefghijklmnopqrstuvwxyz234567';

/** 13 letters that depend on the arguments alone; other ones than those of the public cloud. */
const uniqueString: TemplateFunction = (given) =>
  [...createHash('sha256').update(given.map(String).join('-')).digest().subarray(0, 13)]
    .map((byte) => letters[byte % letters.length])
    .join('');

/** Namespace of the UUIDs that templates make of texts, in the public cloud. */
const guidNamespace = Buffer.from('11fb06fb712d4ddd98c7e71bbd588830', 'hex');

/** A UUID of version 5 (RFC 9562) of the arguments. */
const guid: TemplateFunction = (given) => {
  const hash = createHash('sha1').update(guidNamespace).update(given.map(String).join('-')).digest().subarray(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

const take: TemplateFunction = ([whole, count], fail) => {
  const n = Math.max(0, number(count, fail));
  return Array.isArray(whole) ? whole.slice(0, n) : text(whole, fail).slice(0, n);
};

const skip: TemplateFunction = ([whole, count], fail) => {
  const n = Math.max(0, number(count, fail));
  return Array.isArray(whole) ? whole.slice(n) : text(whole, fail).slice(n);
};

const split: TemplateFunction = ([whole, marks], fail) => {
  const separators = Array.isArray(marks) ? marks.map(String) : [text(marks, fail)];
  return separators.reduce((parts, mark) => parts.flatMap((part) => part.split(mark)), [text(whole, fail)]);
};

const union: TemplateFunction = (given, fail) => {
  if (given.every(Array.isArray)) {
    const all = given.flat(1);
    return all.filter((one, at) => all.findIndex((other) => same(one, other)) === at);
  }
  if (given.every(isObject)) return Object.assign({}, ...given);
  throw fail('arrays alone, or objects alone, are needed');
};

const createObject: TemplateFunction = (given) =>
  Object.fromEntries(given.flatMap((name, at) => (at % 2 === 0 ? [[String(name), given[at + 1]] as const] : [])));

/** Functions that depend on their arguments alone, by name in lower case. */
export const templateFunctions: Readonly<Record<string, TemplateFunction>> = {
  add: ([left, right], fail) => number(left, fail) + number(right, fail),
  and: (given, fail) => given.every((one) => bool(one, fail)),
  base64: ([value], fail) => Buffer.from(text(value, fail)).toString('base64'),
  bool: ([value]) => value === true || value === 1 || String(value).toLowerCase() === 'true',
  coalesce: (given) => given.find((one) => one !== null && one !== undefined) ?? null,
  contains,
  createarray: (given) => given,
  createobject: createObject,
  div: ([left, right], fail) => Math.trunc(number(left, fail) / number(right, fail)),
  empty: ([value], fail) => value === null || value === undefined || lengthOf(value, fail) === 0,
  endswith: ([whole, end], fail) => text(whole, fail).toLowerCase().endsWith(text(end, fail).toLowerCase()),
  equals: ([left, right]) => same(left, right),
  false: () => false,
  first: ([whole], fail) => (Array.isArray(whole) ? whole[0] : text(whole, fail).slice(0, 1)),
  format,
  greater: ([left, right], fail) => number(left, fail) > number(right, fail),
  guid,
  if: ([condition, yes, no], fail) => (bool(condition, fail) ? yes : no),
  indexof: ([whole, part], fail) => text(whole, fail).toLowerCase().indexOf(text(part, fail).toLowerCase()),
  int: ([value], fail) => {
    const read = Number(value);
    if (Number.isInteger(read)) return read;
    throw fail('a whole number is needed');
  },
  join: ([parts, mark], fail) => {
    if (!Array.isArray(parts)) throw fail('the first argument must be an array');
    return parts.map(String).join(text(mark, fail));
  },
  json: ([value], fail) => {
    try {
      return JSON.parse(text(value, fail)) as unknown;
    } catch {
      throw fail('the text must be JSON');
    }
  },
  last: ([whole], fail) => (Array.isArray(whole) ? whole.at(-1) : text(whole, fail).slice(-1)),
  length: ([value], fail) => lengthOf(value, fail),
  less: ([left, right], fail) => number(left, fail) < number(right, fail),
  mod: ([left, right], fail) => number(left, fail) % number(right, fail),
  mul: ([left, right], fail) => number(left, fail) * number(right, fail),
  not: ([value], fail) => !bool(value, fail),
  null: () => null,
  or: (given, fail) => given.some((one) => bool(one, fail)),
  padleft: ([value, width, filler = ' '], fail) =>
    String(value).padStart(Math.min(number(width, fail), 1_000), String(filler)),
  replace: ([whole, old, fresh], fail) => text(whole, fail).replaceAll(text(old, fail), () => text(fresh, fail)),
  skip,
  split,
  startswith: ([whole, start], fail) => text(whole, fail).toLowerCase().startsWith(text(start, fail).toLowerCase()),
  string: ([value]) => (typeof value === 'string' ? value : JSON.stringify(value)),
  sub: ([left, right], fail) => number(left, fail) - number(right, fail),
  substring: ([whole, start, count], fail) => {
    const from = number(start, fail);
    return text(whole, fail).slice(from, count === undefined ? undefined : from + number(count, fail));
  },
  take,
  tolower: ([value], fail) => text(value, fail).toLowerCase(),
  toupper: ([value], fail) => text(value, fail).toUpperCase(),
  trim: ([value], fail) => text(value, fail).trim(),
  true: () => true,
  union,
  uniquestring: uniqueString,
  uri: ([base, relative], fail) => new URL(text(relative, fail), text(base, fail)).href,
  uricomponent: ([value], fail) => encodeURIComponent(text(value, fail)),
};
