import type { SeededRandom } from '@interlock/runtime';

/** The JSON schema keywords that routes use. */
interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly const?: unknown;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

/** Texts that requests contain: meaningful names and words, and odd ones. */
export interface Vocabulary {
  readonly known: readonly string[];
  /** By the name of a member or parameter. */
  readonly byName: Readonly<Record<string, readonly string[]>>;
}

const oddTexts = [
  '',
  ' ',
  'null',
  '__proto__',
  'constructor',
  '../..',
  '%2e%2e',
  'ä€😀',
  '\u0000',
  "'; --",
  'x'.repeat(600),
  '[[x]',
  "[concat('a'",
];
const oddNumbers = [-1, 0, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308];

/** A text for a member. */
export const textFor = (name: string, { known, byName }: Vocabulary, random: SeededRandom): string => {
  if (random.chance(0.12)) return random.pick(oddTexts);
  const own = Object.hasOwn(byName, name) ? byName[name] : undefined;
  return random.pick(own !== undefined && random.chance(0.9) ? own : known);
};

/** A value that fits the schema. At each place it is odd instead, with that probability. */
export const valueFor = (
  schema: unknown,
  name: string,
  parts: { readonly vocabulary: Vocabulary; readonly random: SeededRandom; readonly oddness: number },
): unknown => {
  const { vocabulary, random, oddness } = parts;
  if (random.chance(oddness)) return oddValue(name, parts);
  const { type, properties = {}, required = [], items, anyOf, const: fixed, patternProperties } = schema as Schema;
  if (fixed !== undefined) return fixed;
  if (anyOf !== undefined) return valueFor(random.pick(anyOf), name, parts);
  switch (type) {
    case 'object': {
      const [each] = Object.values(patternProperties ?? {});
      const free =
        each === undefined ? [] : Array.from({ length: random.int(3) }, () => textFor('tag', vocabulary, random));
      return Object.fromEntries([
        ...free.map((one): [string, unknown] => [one, valueFor(each, one, parts)]),
        ...Object.entries(properties)
          .filter(([member]) => random.chance(required.includes(member) ? 0.97 : 0.5))
          .map(([member, inner]): [string, unknown] => [member, valueFor(inner, member, parts)]),
      ]);
    }
    case 'array':
      return Array.from({ length: random.int(4) }, () => valueFor(items ?? {}, name, parts));
    case 'boolean':
      return random.chance(0.5);
    case 'integer':
    case 'number':
      return random.chance(0.2) ? random.pick(oddNumbers) : random.pick([0, 1, 4, 7, 90, 2_048, 1_900_000_000]);
    case 'string':
      return textFor(name, vocabulary, random);
    default:
      return oddValue(name, parts);
  }
};

const oddValue = (name: string, { vocabulary, random }: Parameters<typeof valueFor>[2]): unknown =>
  random.pick<unknown>([
    null,
    true,
    random.pick(oddNumbers),
    textFor(name, vocabulary, random),
    [],
    {},
    [null, [[]]],
    { a: { b: textFor(name, vocabulary, random) } },
  ]);
