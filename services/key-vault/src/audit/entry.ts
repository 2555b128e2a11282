import type { IndexEntry, TableDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** Operations, by the names of the public cloud's audit log (KV-113), and our own where it has none. */
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
  'KeyRotateIfDue',
  'KeyRotationPolicyGet',
  'KeyRotationPolicySet',
  'KeyCheckAccess',
  'KeyResolve',
  'KeyFindNewer',
  'ImpactPreview',
  'KeyRewrapAuthorize',
  'KeyRewrap',
] as const;
export type AuditOperation = (typeof auditOperations)[number];

/** One entry of a vault's record (KV-112, CMK-144). Its field names are on disk. Contains no key material. */
export interface AuditEntry {
  readonly time: Instant;
  readonly operation: AuditOperation;
  /** Key version or key; empty when the request concerned the vault itself. */
  readonly key: string;
  readonly requestUri: string;
  /** `principals/<id>`, or a part of the service itself. */
  readonly caller: string;
  /** `principals/<id>` on whose behalf a service called; absent: the caller called for itself. */
  readonly onBehalfOf?: string;
  /** What was to be changed; absent when the operation says it. */
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
  /** When the vault was created, if known: a later vault of the same name has a record of its own. */
  readonly vaultMadeAt?: Instant;
  /** Number of equal refusals above the rate limit, or of granted renewals of one lease; absent: one. */
  readonly occurrences?: number;
  /** Time and trace of the last of several granted renewals; absent for one. */
  readonly lastTime?: Instant;
  readonly lastTraceId?: string;
}

/**
 * A stored row: an entry, and of similar ones written at the same time only what differs. So a thousand unwraps with one key
 * do not need a thousand rows of the same text.
 */
export interface AuditRow extends AuditEntry {
  readonly also?: readonly Partial<Pick<AuditEntry, VaryingField>>[];
}

/** Fields that may differ within a row. All indexed fields are equal. */
const varyingFields = ['time', 'resource', 'correlationId', 'traceId', 'durationUs', 'callerAddress'] as const;
type VaryingField = (typeof varyingFields)[number];
const varying: ReadonlySet<string> = new Set(varyingFields);

/** What the entries of one row have in common. */
export const rowKeyOf = (entry: AuditEntry): string => {
  let text = '';
  // All other fields must be equal, also ones that are added later.
  for (const name in entry) if (!varying.has(name)) text += `${name}\0${entry[name as keyof AuditEntry]}\0`;
  return text;
};

/** Puts entries with the same row key into a row. @throws RangeError without an entry */
export const rowOf = ([first, ...others]: readonly AuditEntry[]): AuditRow => {
  if (first === undefined) throw new RangeError('a row holds an entry');
  return others.length === 0 ? first : { ...first, also: others.map((entry) => difference(first, entry)) };
};

const difference = (first: AuditEntry, entry: AuditEntry): Partial<AuditEntry> => {
  const differing: Partial<Record<VaryingField, string | number>> = {};
  for (const field of varyingFields) if (entry[field] !== first[field]) differing[field] = entry[field];
  return differing as Partial<AuditEntry>;
};

/** The entries of a row, in the order of writing. */
export const entriesOf = ({ also = [], ...first }: AuditRow): readonly AuditEntry[] => [
  first,
  ...also.map((varying) => ({ ...first, ...varying })),
];

/** Index value of one vault: all vaults share the table. */
export const within = (vault: string, value: string): string => `${vault}/${value}`;

/**
 * The audit record, outside the event feed. Keys are `<vault>/<milliseconds>-<sequence>-<random>`, so within a vault rows are
 * in the order of writing.
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

/** A time as the start of a row's key: of fixed width, so that text order is time order until the year 2286. */
export const timeInKey = (time: Instant): string => String(Math.max(0, Math.floor(time))).padStart(13, '0');
