import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { serviceNames } from '@interlock/local/services.ts';
import type { SeededRandom } from '@interlock/runtime';
import type { KnownValues } from './names.ts';

/** What a request is made from. */
export interface Source {
  readonly random: SeededRandom;
  readonly known: KnownValues;
  /** `CreateDisk`: says which names fit. */
  readonly method: string;
  /** How likely each value is an odd one, from 0 to 1: a request with many is refused before it gets anywhere. */
  readonly oddness: number;
}

/** Makes a well-formed message: any value that its fields can carry on the wire, sensible ones more often. */
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
    if (
      field === undefined ||
      random.chance(field.fieldKind === 'message' ? 0.15 + 0.3 * oddness : 0.02 + 0.2 * oddness)
    )
      continue;
    fill(message, field, source, depth);
  }
  return message.message;
};

/** One member of a oneof, or none. */
const memberOf = (oneof: DescOneof, { random, oddness }: Source): DescField | undefined =>
  random.chance(0.05 + 0.2 * oddness) ? undefined : random.pick(oneof.fields);

const fill = (message: ReflectMessage, field: DescField, source: Source, depth: number): void => {
  const { random } = source;
  if (field.fieldKind === 'list') {
    const list = message.get(field);
    const count = countOf(field, source, depth);
    for (let n = 0; n < count; n += 1) list.add(elementOf(field, source, depth));
  } else if (field.fieldKind === 'map') {
    const map = message.get(field);
    const count = random.chance(0.1 * source.oddness) ? 200 : random.int(3);
    for (let n = 0; n < count; n += 1) {
      map.set(scalar(field.mapKey, field.localName, source), elementOf(field, source, depth));
    }
  } else message.set(field, elementOf(field, source, depth));
};

/** How many items of a repeated field: usually few, at times more than any list of this cloud takes. */
const countOf = (field: DescField, { random, oddness }: Source, depth: number): number => {
  if (depth > 1 || !random.chance(0.1 * oddness)) {
    // A list of choices that is empty means all of them.
    return field.enum !== undefined && random.chance(0.7) ? 0 : random.int(3);
  }
  return field.message === undefined ? random.pick([100, 1_001, 5_000]) : random.pick([65, 257, 600]);
};

const elementOf = (field: DescField, source: Source, depth: number): unknown => {
  const inner = field.message;
  if (inner !== undefined) return reflect(inner, wellFormed(inner, source, depth + 1));
  if (field.enum !== undefined) return enumNumber(field.enum, source);
  if (field.scalar === undefined) throw new Error(`${field} has no type the fuzzer knows`);
  return scalar(field.scalar, field.name, source);
};

const enumNumber = ({ values }: DescEnum, { random, oddness }: Source): number => {
  if (random.chance(oddness)) return random.pick([0, 99, -1, 2 ** 31 - 1, -(2 ** 31)]);
  // The first one stands for nothing.
  return random.pick(values.length > 1 ? values.slice(1) : values).number;
};

/** Numbers that requests of this cloud have use for. */
const plainNumber = (field: string, random: SeededRandom): number => {
  if (field.includes('size_bits')) return random.pick([2_048, 2_048, 3_072]);
  if (field === 'partition_count') return 4;
  if (field.includes('retention')) return random.pick([7, 90]);
  if (field.includes('duration')) return random.pick([60, 3_600]);
  if (field.endsWith('_bytes')) return random.pick([0, 1, 4_096, 10_000]);
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

const scalar = (type: ScalarType, field: string, source: Source): unknown => {
  const { random, known, oddness } = source;
  const isOdd = random.chance(oddness);
  switch (type) {
    case ScalarType.STRING:
      return text(field, source);
    case ScalarType.BYTES: {
      const own = random.chance(0.7) ? known.bytes(random) : undefined;
      return own ?? random.bytes(random.pick(isOdd ? [0, 1, 512, 4_096, 100_000] : [32, 32, 256]));
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

const text = (field: string, source: Source): string => {
  const { random, known, method, oddness } = source;
  if (random.chance(oddness)) return random.pick(random.chance(0.05) ? hugeTexts : oddTexts);
  const choice = random.fraction();
  if (/^(etag|page_token|source_vault|confirm_name)$/.test(field) && choice < 0.85) return '';
  if (field === 'pem') return known.exact('pem', random) ?? '';
  const plain = plainText(field, random);
  if (plain !== undefined && choice < 0.95) return plain;
  const found = known.text(field, method, random);
  if (found === undefined) return plain ?? `fuzz-${random.int(1_000)}`;
  if (random.chance(0.2 * oddness)) return spoiled(found, random);
  return found;
};

/** A known name with one thing wrong. */
const spoiled = (name: string, random: SeededRandom): string =>
  random.pick([`${name}/`, `/${name}`, name.toUpperCase(), `${name}x`, name.slice(0, -1), `${name}/keys/k1`]);

/** What fields of these names have where the caller makes it up. */
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
  // Year 1 and the end of 9999: the ends of what google.protobuf.Timestamp allows, and one beyond each.
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

/** Bytes that are no message of the type, or only by chance: cut, changed, or made up. */
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
      // A length that goes on for ever, or reaches far beyond the end.
      return Uint8Array.from([0x0a, ...Array.from({ length: random.pick([5, 9, 12]) }, () => 0xff)]);
    default:
      // Each field once more, of another wire type.
      return Uint8Array.from([...bytes, 0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x13]);
  }
};
