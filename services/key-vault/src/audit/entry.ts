import type { IndexEntry, TableDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** What was asked, by the names of the public cloud's log (KV-113), and ours where it has none. */
export const auditOperations = [
  'Authentication',
  'VaultPut',
  'VaultGet',
  'VaultPatch',
  'VaultDelete',
  'VaultRecover',
  'VaultPurge',
  'VaultAuditList',
  'KeyCreate',
  'KeyImport',
  'KeyGet',
  'KeyList',
  'KeyListVersions',
  'KeyUpdate',
  'KeyDelete',
  'KeyGetDeleted',
  'KeyListDeleted',
  'KeyRecover',
  'KeyPurge',
  'KeyBackup',
  'KeyRestore',
  'KeyEncrypt',
  'KeyDecrypt',
  'KeyWrap',
  'KeyUnwrap',
  'KeySign',
  'KeyVerify',
  'KeyRotate',
  'KeyCheckAccess',
  'KeyResolve',
  'KeyFindNewer',
  'ImpactPreview',
  'KeyRewrapAuthorize',
  'KeyRewrap',
] as const;
export type AuditOperation = (typeof auditOperations)[number];

/** One line of a vault's record (KV-112, CMK-144). Its names are on disk. Never key material. */
export interface AuditEntry {
  readonly time: Instant;
  readonly operation: AuditOperation;
  /** Key version or key it was about; empty where there is none. */
  readonly key: string;
  readonly requestUri: string;
  /** `principals/<id>`, or who in the service itself. */
  readonly caller: string;
  /** `principals/<id>` a service asked for; absent: the caller asked for itself. */
  readonly onBehalfOf?: string;
  /** What was to be changed, in words; absent where the operation says it. */
  readonly change?: string;
  readonly tenant: string;
  readonly httpStatusCode: number;
  readonly result: 'success' | 'refused' | 'failed';
  /** Reason of the refusal; empty on success. */
  readonly reason: string;
  /** What the use was for, as the caller said. */
  readonly resource: string;
  readonly correlationId: string;
  readonly traceId: string;
  readonly durationUs: number;
  readonly callerAddress: string;
  /** When the vault was made that it is about, where that is known: a later vault of the name has a record of its own. */
  readonly vaultMadeAt?: Instant;
  /** How many equal refusals it stands for, above the rate limit; absent: it is one alone. */
  readonly occurrences?: number;
}

/**
 * A stored row: an entry, and of others written at the same time only what differs from it. So the record of a thousand
 * unwraps with one key is not a thousand times the same text, and not a thousand rows.
 */
export interface AuditRow extends AuditEntry {
  readonly also?: readonly Partial<Pick<AuditEntry, VaryingField>>[];
}

/** What may differ within a row; everything a row is found by is the same. */
const varyingFields = ['time', 'resource', 'correlationId', 'traceId', 'durationUs', 'callerAddress'] as const;
type VaryingField = (typeof varyingFields)[number];
const varying: ReadonlySet<string> = new Set(varyingFields);

/** Whether two entries may share a row. */
export const areAlike = (one: AuditEntry, other: AuditEntry): boolean => {
  // Whatever fields there are, as in `likeness`, which says the same at a higher price.
  for (const name in one) {
    const field = name as keyof AuditEntry;
    if (one[field] !== other[field] && !varying.has(field)) return false;
  }
  return (
    one.onBehalfOf === other.onBehalfOf &&
    one.vaultMadeAt === other.vaultMadeAt &&
    one.occurrences === other.occurrences
  );
};

/** What entries of one row have in common, as a text to find them by. */
export const likeness = (entry: AuditEntry): string => {
  let text = '';
  // Whatever fields there are: one that is not known to vary is the same in all of them.
  for (const name in entry) if (!varying.has(name)) text += `${name}\0${entry[name as keyof AuditEntry]}\0`;
  return text;
};

/** Puts entries of one likeness, at least one, into a row. */
export const rowOf = ([first, ...others]: readonly AuditEntry[]): AuditRow => {
  if (first === undefined) throw new RangeError('a row holds an entry');
  return others.length === 0 ? first : { ...first, also: others.map((entry) => difference(first, entry)) };
};

const difference = (first: AuditEntry, entry: AuditEntry): Partial<AuditEntry> => {
  const differing: Partial<Record<VaryingField, string | number>> = {};
  for (const field of varyingFields) if (entry[field] !== first[field]) differing[field] = entry[field];
  return differing as Partial<AuditEntry>;
};

/** The entries of a row, in the order in which they were written. */
export const entriesOf = ({ also = [], ...first }: AuditRow): readonly AuditEntry[] => [
  first,
  ...also.map((varying) => ({ ...first, ...varying })),
];

/** Index value that keeps vaults apart: rows of every vault share the table. */
export const within = (vault: string, value: string): string => `${vault}/${value}`;

/**
 * The record, outside of the event feed. Keys are `<vault>/<milliseconds>-<sequence>-<random>`: within a vault in the
 * order in which entries were written.
 */
export const auditTable: TableDefinition<AuditRow> = {
  name: 'audit',
  version: 1,
  indexes: (entry, rowKey) => {
    const vault = rowKey.split('/')[0] ?? '';
    const [key, version] = entry.key.split('/versions/');
    const index = (name: string, value: string | undefined): IndexEntry[] =>
      value ? [{ index: name, value: within(vault, value) }] : [];
    return [
      ...index('key', key),
      ...(version === undefined ? [] : index('key', entry.key)),
      ...index('principal', entry.caller),
      ...(entry.onBehalfOf === entry.caller ? [] : index('principal', entry.onBehalfOf)),
      ...index('operation', entry.operation),
    ];
  },
};

/** A time as it begins a row's key: fixed width, so that text order is time order until the year 2286. */
export const timeInKey = (time: Instant): string => String(Math.max(0, Math.floor(time))).padStart(13, '0');
