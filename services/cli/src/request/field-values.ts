import { type DescEnum, type DescField, ScalarType } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';
import { type Draft, identityOf, onlyVersionOf, self, urlOf, versionOf } from './draft.ts';
import { fullName, type NameDefaults, type NameKind } from './names.ts';
import { choiceOf } from './similar.ts';

/** Context for reading values. */
export interface ValueContext {
  readonly names: NameDefaults;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Kinds of names by field name, in addition to those every verb knows. */
  readonly kinds: Readonly<Record<string, NameKind>>;
  /** Content of a file; `-` is standard input. @throws UsageError when it cannot be read */
  readonly readFile: (path: string) => Uint8Array;
}

/** Kinds of names by field name, in every message. */
const fieldKinds: Readonly<Record<string, NameKind>> = {
  disk: 'disk',
  source_disk: 'disk',
  source_snapshot: 'snapshot',
  disk_encryption_set: 'diskEncryptionSet',
  virtual_machine: 'virtualMachine',
  principal: 'principal',
  tenant: 'tenant',
  role: 'role',
  scope: 'scope',
  source_vault: 'vault',
  resource_group: 'resourceGroup',
  key_version: 'keyVersion',
  source_key_version: 'keyVersion',
  target_key_version: 'keyVersion',
};

/** Fields whose flag takes a file: their values are long or secret. */
const fileFields: ReadonlySet<string> = new Set([
  'pem',
  'jwk_json',
  'key_owner_token',
  'client_secret',
  'client_assertion',
  'certificate',
  'access_token',
]);

/** Versioned URLs of keys: typed as names too. */
const keyUrlFields: ReadonlySet<string> = new Set(['key_url']);

/** Whether the value is read from a file. */
export const isFileField = (field: DescField): boolean => fileFields.has(field.name);

/** The kind of name that a field holds. @param kinds of a verb, by field name */
export const nameKindOf = (field: DescField, kinds: ValueContext['kinds']): NameKind | undefined =>
  kinds[field.name] ?? fieldKinds[field.name];

/** A value of a scalar, enum or timestamp, or one element of a list of those. @throws UsageError */
export function fieldValue(field: DescField, text: string, flag: string, context: ValueContext): Draft {
  if (field.enum !== undefined) return enumValue(field.enum, text, flag);
  if (field.message?.typeName === 'google.protobuf.Timestamp') return timestamp(text, flag, context.now);
  if (field.scalar === undefined) throw new UsageError(`${flag} takes no value of its own`);
  switch (field.scalar) {
    case ScalarType.STRING:
      return textValue(field, text, flag, context);
    case ScalarType.BOOL:
      return booleanValue(text, flag);
    case ScalarType.BYTES:
      return bytesValue(text, flag, context);
    case ScalarType.INT32:
      return integer(text, flag, 2 ** 31);
    case ScalarType.INT64:
      return String(integer(text, flag, Number.MAX_SAFE_INTEGER + 1, isInGib(field) ? ' of GiB' : ''));
    default:
      throw new UsageError(`${flag} cannot be typed here: use --body`);
  }
}

/** A full name, or a lookup that a service answers. @throws UsageError */
export function nameValue(kind: NameKind, text: string, flag: string, names: NameDefaults): Draft {
  if (kind === 'principal' && text === 'me') return self;
  if (kind === 'principal' && text.startsWith('set:')) {
    return identityOf(fullName('diskEncryptionSet', text.slice('set:'.length), names, flag));
  }
  if (kind === 'principal') return principalName(text, flag, names);
  if (kind === 'keyVersion' || kind === 'onlyVersion') {
    const name = fullName('keyOrVersion', text, names, flag);
    if (name.includes('/versions/')) return name;
    return kind === 'keyVersion' ? versionOf(name) : onlyVersionOf(name);
  }
  return fullName(kind, text, names, flag);
}

/** A principal by its id. The error names the other ways to name a principal. */
function principalName(text: string, flag: string, names: NameDefaults): string {
  try {
    return fullName('principal', text, names, flag);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const others = 'me is the caller, set:<set> the identity of a set, interlock principal list shows the principals';
    throw new UsageError(`${error.message}; ${others}`, { cause: error });
  }
}

/** The placeholder of a value in help. */
export function placeholderOf(field: DescField): string {
  if (isFileField(field)) return 'file';
  if (field.fieldKind === 'map') return 'name=value';
  if (field.enum !== undefined) return choicesOf(field.enum).join('|');
  if (field.message?.typeName === 'google.protobuf.Timestamp') return 'time';
  if (field.message !== undefined) return 'field=value,…';
  if (keyUrlFields.has(field.name)) return 'vault/key[/version]|url';
  if (field.scalar === ScalarType.BYTES) return '@file|base64:…';
  if (isInGib(field)) return 'GiB';
  if (field.name === 'request_id') return 'uuid';
  if (field.scalar === ScalarType.INT32 || field.scalar === ScalarType.INT64) return 'n';
  return field.name in fieldKinds ? 'name' : 'text';
}

/** The values of an enum as users type them: lower case with hyphens, without the unspecified one. */
export const choicesOf = (type: DescEnum): readonly string[] =>
  type.values.filter(({ number }) => number !== 0).map(({ name }) => name.toLowerCase().replaceAll('_', '-'));

function enumValue(type: DescEnum, text: string, flag: string): string {
  const wanted = text.toLowerCase().replaceAll('_', '-');
  return choiceOf(wanted, choicesOf(type), flag).toUpperCase().replaceAll('-', '_');
}

function textValue(field: DescField, text: string, flag: string, context: ValueContext): Draft {
  if (isFileField(field)) return Buffer.from(context.readFile(text)).toString('utf8').trim();
  if (keyUrlFields.has(field.name)) {
    // An empty text removes the key.
    if (text === '') return text;
    return /^https?:\/\//.test(text) ? text : urlOf(fullName('keyOrVersion', text, context.names, flag));
  }
  const kind = nameKindOf(field, context.kinds);
  return kind === undefined ? text : nameValue(kind, text, flag, context.names);
}

function booleanValue(text: string, flag: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  throw new UsageError(`${flag} must be true or false, not "${text}"`);
}

const isInGib = ({ name }: DescField): boolean => name.endsWith('_gib');

function integer(text: string, flag: string, below: number, of = ''): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Math.abs(value) < below) return value;
  throw new UsageError(`${flag} must be a whole number${of}, not "${text}"`);
}

function bytesValue(text: string, flag: string, context: ValueContext): string {
  if (text === '-' || text.startsWith('@')) {
    return Buffer.from(context.readFile(text.replace(/^@/, ''))).toString('base64');
  }
  const base64 = /^base64:([A-Za-z0-9+/_-]*={0,2})$/.exec(text)?.[1];
  if (base64 !== undefined) return Buffer.from(base64, 'base64').toString('base64');
  const hex = /^hex:((?:[0-9A-Fa-f]{2})*)$/.exec(text)?.[1];
  if (hex !== undefined) return Buffer.from(hex, 'hex').toString('base64');
  if (text.startsWith('text:')) return Buffer.from(text.slice('text:'.length)).toString('base64');
  throw new UsageError(`${flag} must be @file, - (standard input), base64:…, hex:… or text:…`);
}

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** RFC 3339, or relative: `+90d`, `-5m`, `now`. Relative times are whole seconds, as keys require. */
function timestamp(text: string, flag: string, now: number): string {
  const [, sign, amount, unit] = /^([+-])(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (text === 'now' || sign !== undefined) {
    const offset = Number(`${sign ?? '+'}${amount ?? 0}`) * (unitsMs[unit ?? 's'] ?? 0);
    return new Date(Math.floor((now + offset) / 1_000) * 1_000).toISOString().replace('.000Z', 'Z');
  }
  const isRfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(text);
  if (isRfc3339 && !Number.isNaN(Date.parse(text))) return text;
  throw new UsageError(`${flag} must be a time such as 2030-01-31T12:00:00Z, +90d, -5m or now, not "${text}"`);
}

/** `500ms`, `30s`, `2m`, `1h` as milliseconds. @throws UsageError, of a bare number as well */
export function durationMs(text: string, flag: string): number {
  const [, amount, unit] = /^(\d{1,7})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (amount === undefined || unit === undefined) {
    if (/^\d+$/.test(text)) throw new UsageError(`${flag} ${text} has no unit: ms, s, m, h or d, as in ${text}s`);
    throw new UsageError(`${flag} must be a duration such as 500ms, 30s, 2m or 1h, not "${text}"`);
  }
  return Number(amount) * (unit === 'ms' ? 1 : (unitsMs[unit] ?? 0));
}

/** The time in `--timeout`, in milliseconds. @throws UsageError, also for zero */
export function timeoutMs(text: string): number {
  const ms = durationMs(text, '--timeout');
  if (ms > 0) return ms;
  throw new UsageError(`--timeout must be more than 0, such as 500ms or 30s, not "${text}"`);
}
