import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect, scalarZeroValue } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { commentsJson } from '@interlock/contracts/comments.ts';
import { serviceNames } from '@interlock/local/services.ts';
import type { SeededRandom } from '@interlock/runtime';
import { type Aim, type KnownValues, meaningsOf, valueIn } from './names.ts';
import type { Value, ValueRecord } from './records.ts';

/** Comments of the contract by field. */
const comments: Readonly<Record<string, string>> = JSON.parse(commentsJson);

/** What is needed to make a request. */
export interface Source {
  readonly random: SeededRandom;
  readonly known: KnownValues;
  /** `interlock.disk.v1.DiskService/CreateDisk` */
  readonly path: string;
  readonly aim: Aim;
  /** How likely each value is odd, from 0 to 1: a request with many odd values is refused early. */
  readonly oddness: number;
  /** The content of the message so far: its values should belong together. */
  readonly about: About;
}

/** The names in an unfinished message, and what is known about the first one. */
export interface About {
  readonly chosen: string[];
  record: ValueRecord | undefined;
  /** Fields of the message and of those in it. */
  readonly fields: ReadonlySet<string>;
}

/** Fields that are sent as metadata of a request. */
const METADATA_FIELDS = ['access_token'];

/** The content of a message of the type before it has values. */
export const aboutNothing = (type: DescMessage): About => ({
  chosen: [],
  record: undefined,
  fields: new Set([...fieldNames(type, 0), ...METADATA_FIELDS].flatMap(meaningsOf)),
});

const fieldNames = ({ fields }: DescMessage, depth: number): readonly string[] =>
  fields.flatMap((field) => [
    field.name,
    ...(field.message !== undefined && depth < 3 ? fieldNames(field.message, depth + 1) : []),
  ]);

/** Makes a well-formed message: any value that its fields can have on the wire, more often sensible ones. */
export const wellFormed = (type: DescMessage, source: Source, depth = 0): Message => {
  const message = reflect(type, create(type));
  if (type.typeName === 'google.protobuf.Timestamp') {
    fillTimestamp(message, source);
    return message.message;
  }
  const { random, oddness } = source;
  // An empty message is a boundary value as well.
  if (random.chance(0.05 * oddness)) return message.message;
  for (const member of type.members) {
    const field = member.kind === 'oneof' ? memberOf(member, source) : member;
    if (field === undefined || random.chance(leftOut(field, source))) continue;
    fill(message, field, source, depth);
  }
  return message.message;
};

/** How likely a field is left out. If the message can express that, the method works without it. */
const leftOut = (field: DescField, { oddness }: Source): number => {
  if (field.message !== undefined) return 0.1 + 0.3 * oddness;
  return (
    (field.presence === FeatureSet_FieldPresence.EXPLICIT && field.oneof === undefined ? 0.5 : 0.02) + 0.2 * oddness
  );
};

/** One member of a oneof, or none. */
const memberOf = (oneof: DescOneof, { random, oddness }: Source): DescField | undefined =>
  random.chance(0.25 + 0.2 * oddness) ? undefined : random.pick(oneof.fields);

/** Gives a field of a message a value. */
export const fill = (message: ReflectMessage, field: DescField, source: Source, depth: number): void => {
  const { random } = source;
  if (field.fieldKind === 'list') {
    const list = message.get(field);
    list.clear();
    if (field.enum !== undefined && random.chance(0.2)) {
      for (const { number } of field.enum.values.slice(1)) list.add(number);
      return;
    }
    const count = countOf(field, source, depth);
    for (let n = 0; n < count; n += 1) list.add(elementOf(field, source, depth));
  } else if (field.fieldKind === 'map') {
    const map = message.get(field);
    map.clear();
    const count = random.chance(0.1 * source.oddness) ? 200 : random.int(3);
    for (let n = 0; n < count; n += 1) {
      map.set(scalar(field.mapKey, field.localName, source), elementOf(field, source, depth));
    }
  } else message.set(field, elementOf(field, source, depth));
};

/** How many items a repeated field gets: usually few, sometimes more than any list of this cloud accepts. */
const countOf = (field: DescField, { random, oddness }: Source, depth: number): number => {
  if (depth > 1 || !random.chance(0.1 * oddness)) {
    // An empty list of choices means all of them.
    return field.enum !== undefined && random.chance(0.5) ? 0 : random.int(4);
  }
  return field.message === undefined ? random.pick([100, 1_001, 5_000]) : random.pick([65, 257, 600]);
};

const elementOf = (field: DescField, source: Source, depth: number): unknown => {
  const inner = field.message;
  if (inner !== undefined) return reflect(inner, wellFormed(inner, source, depth + 1));
  const alongside = alongsideValue(field, source);
  if (alongside !== undefined) return alongside;
  if (field.enum !== undefined) return enumNumber(field.enum, source);
  if (field.scalar === undefined) throw new Error(`${field} has no type the fuzzer knows`);
  const comment = comments[`${field.parent.typeName}.${field.name}`] ?? '';
  return scalar(field.scalar, field.name, source, comment);
};

/** A number or bytes that belong to the content of the message: the algorithm of a wrapped key, the generation of a disk. */
const alongsideValue = (field: DescField, { about, random, oddness }: Source): Value | undefined => {
  const isText = field.scalar === ScalarType.STRING;
  if (isText || field.fieldKind === 'map' || random.chance(0.25 + 0.5 * oddness)) return undefined;
  const value = valueIn(about.record, field.name);
  if (value === undefined) return undefined;
  if (field.enum !== undefined) return field.enum.values.some(({ number }) => number === value) ? value : undefined;
  const wanted = field.scalar === undefined ? undefined : scalarZeroValue(field.scalar, false);
  if (value instanceof Uint8Array || wanted instanceof Uint8Array) {
    return value instanceof Uint8Array && wanted instanceof Uint8Array ? value : undefined;
  }
  return typeof value === typeof wanted ? value : undefined;
};

const enumNumber = ({ values }: DescEnum, { random, oddness }: Source): number => {
  if (random.chance(oddness)) return random.pick([0, 99, -1, 2 ** 31 - 1, -(2 ** 31)]);
  // The first value means unspecified.
  return random.pick(values.length > 1 ? values.slice(1) : values).number;
};

/** Numbers that requests of this cloud have use for. */
const plainNumber = (field: string, random: SeededRandom): number => {
  if (field.includes('size_bits')) return random.pick([2_048, 2_048, 3_072]);
  if (field === 'partition_count') return 4;
  if (field.includes('retention')) return random.pick([7, 90]);
  if (field.includes('duration')) return random.pick([60, 3_600]);
  if (field.endsWith('_bytes')) return random.pick([0, 1, 4_096, 4_096, 10_000]);
  if (field.endsWith('_gib')) return random.pick([1, 1, 4, 8]);
  return random.int(4);
};

const int32s = [0, 1, -1, 2, 10, 64, 100, 1_000, 2_048, 3_072, 4_096, 65_536, 2 ** 31 - 1, -(2 ** 31)];
const int64s = [
  ...int32s.map(BigInt),
  2n ** 53n - 1n,
  2n ** 53n,
  -(2n ** 53n),
  2n ** 63n - 1n,
  -(2n ** 63n),
  8_640_000_000_001n,
  BigInt(1_800_000_000),
];

const scalar = (type: ScalarType, field: string, source: Source, comment = ''): unknown => {
  const { random, known, oddness } = source;
  const isOdd = random.chance(oddness);
  switch (type) {
    case ScalarType.STRING:
      return text(field, source, comment);
    case ScalarType.BYTES: {
      const own = random.chance(0.5) ? known.bytes(field, random) : undefined;
      return own ?? random.bytes(random.pick(isOdd ? [0, 1, 512, 4_096, 100_000] : [0, 32, 32, 256]));
    }
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.INT32:
    case ScalarType.SINT32:
      return isOdd ? random.pick(int32s) : plainNumber(field, random);
    case ScalarType.UINT32:
      return isOdd ? random.pick([0, 1, 2 ** 32 - 1]) : plainNumber(field, random);
    case ScalarType.INT64:
    case ScalarType.SINT64:
      return isOdd ? random.pick(int64s) : BigInt(plainNumber(field, random));
    case ScalarType.UINT64:
      return isOdd ? random.pick([0n, 1n, 2n ** 53n, 2n ** 64n - 1n]) : BigInt(plainNumber(field, random));
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return random.pick([0, 0.5, -1, Number.MAX_VALUE, Number.NaN, Number.POSITIVE_INFINITY]);
    default:
      throw new Error(`the fuzzer makes no ${ScalarType[type]} yet: ${field}`);
  }
};

/** Texts that break naive code: control characters, NUL, unicode, paths, very long ones. */
const oddTexts = [
  '',
  ' ',
  '/',
  '//',
  '..',
  '%00',
  '\u0000',
  'a\u0000b',
  '\r\n',
  '\u001b[2J',
  '\u202eabc',
  'ß',
  'İ',
  '\u{1f511}\u{1f512}',
  'e\u0301',
  '\ufeff',
  '\uffff',
  "'; drop table events; --",
  '{"a":1}',
  '__proto__',
  'constructor',
  'toString',
  'NaN',
  '-1',
  '1e400',
  '2026-13-45T00:00:00Z',
  'a'.repeat(127),
  'a'.repeat(128),
  'ü'.repeat(3_000),
];
const hugeTexts = ['x'.repeat(100_000), '/a'.repeat(50_000), '\u{1f511}'.repeat(200_000)];

const text = (field: string, source: Source, comment: string): string => {
  const { random, known, path, aim, oddness, about } = source;
  if (random.chance(oddness)) return random.pick(random.chance(0.05) ? hugeTexts : oddTexts);
  const choice = random.fraction();
  if (/^(etag|page_token|key_owner_token)$|source_vault$/.test(field) && choice < 0.85) return '';
  // A filter of a list.
  if (comment.startsWith('Only ') && choice < 0.5) return '';
  if (field === 'confirm_name' && choice < 0.9) return about.chosen[0] ?? '';
  if (field === 'pem') return known.exact('pem', random) ?? '';
  const plain = plainText(field, random);
  if (plain !== undefined && choice < 0.95) return plain;
  const found = known.text({ field, comment, path, aim, ...about }, random);
  if (found?.includes('/')) {
    about.chosen.push(found);
    about.record = known.recordWith(found, about.fields, about.record);
  }
  if (found === undefined) return plain ?? (random.chance(0.7) ? '' : `fuzz-${random.int(1_000)}`);
  if (random.chance(0.2 * oddness)) return spoiled(found, random);
  return found;
};

/** A known name with one defect. */
const spoiled = (name: string, random: SeededRandom): string =>
  random.pick([`${name}/`, `/${name}`, name.toUpperCase(), `${name}x`, name.slice(0, -1), `${name}/keys/k1`]);

/** Values for fields of these names, which a caller invents. */
const plainText = (field: string, random: SeededRandom): string | undefined => {
  if (field === 'audience') return `interlock:${random.pick(serviceNames)}`;
  if (field === 'location') return 'westeurope';
  if (/^(request_id|principal_id|role_assignment_id|tenant_id|subscription_id)$/.test(field)) return random.uuid();
  if (field.endsWith('_id') && !/^client_id|trace_id|correlation_id$/.test(field)) return `fuzz-${random.int(400)}`;
  if (field === 'display_name') return `Fuzz ${random.int(400)}`;
  return undefined;
};

const instants: readonly bigint[] = [
  0n,
  -1n,
  1_700_000_000n,
  1_900_000_000n,
  4_102_444_800n,
  // Year 1 and the end of 9999: the limits of google.protobuf.Timestamp, and one beyond each.
  -62_135_596_800n,
  -62_135_596_801n,
  253_402_300_799n,
  253_402_300_800n,
  // The ends of a JavaScript Date, in seconds.
  8_640_000_000_000n,
  8_640_000_000_001n,
  -8_640_000_000_001n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];

const fillTimestamp = (message: ReflectMessage, { random, oddness }: Source): void => {
  const isOdd = random.chance(oddness);
  for (const field of message.fields) {
    if (field.name === 'seconds') message.set(field, random.pick(isOdd ? instants : [1_700_000_000n, 1_900_000_000n]));
    else if (isOdd) message.set(field, random.pick([0, 0, 1, 999_999_999, 1_000_000_000, -1, 2 ** 31 - 1, -(2 ** 31)]));
  }
};

/** Bytes that are a message of the type only by chance: truncated, changed, or random. */
export const malformed = (bytes: Uint8Array, random: SeededRandom): Uint8Array => {
  switch (random.int(5)) {
    case 0:
      return bytes.subarray(0, random.int(bytes.length + 1));
    case 1: {
      const changed = Uint8Array.from(bytes);
      for (let n = 0; n <= random.int(4); n += 1) changed[random.int(changed.length + 1)] = random.int(256);
      return changed;
    }
    case 2:
      return random.bytes(random.pick([1, 2, 7, 64, 1_000]));
    case 3:
      // A length without end, or one far beyond the end.
      return Uint8Array.from([0x0a, ...Array.from({ length: random.pick([5, 9, 12]) }, () => 0xff)]);
    default:
      // Each field again, with another wire type.
      return Uint8Array.from([...bytes, 0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x13]);
  }
};
