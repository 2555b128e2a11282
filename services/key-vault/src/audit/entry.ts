import type { IndexEntry, TableDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** What was asked, by the names of the public cloud's log (KV-113), and ours where it has none. */
export type AuditOperation =
  | 'Authentication'
  | 'VaultPut'
  | 'VaultGet'
  | 'VaultPatch'
  | 'VaultDelete'
  | 'VaultRecover'
  | 'VaultPurge'
  | 'VaultAuditList'
  | 'KeyCreate'
  | 'KeyImport'
  | 'KeyGet'
  | 'KeyList'
  | 'KeyListVersions'
  | 'KeyUpdate'
  | 'KeyDelete'
  | 'KeyGetDeleted'
  | 'KeyListDeleted'
  | 'KeyRecover'
  | 'KeyPurge'
  | 'KeyBackup'
  | 'KeyRestore'
  | 'KeyEncrypt'
  | 'KeyDecrypt'
  | 'KeyWrap'
  | 'KeyUnwrap'
  | 'KeySign'
  | 'KeyVerify'
  | 'KeyRotate'
  | 'KeyCheckAccess'
  | 'KeyResolve'
  | 'KeyFindNewer'
  | 'ImpactPreview'
  | 'KeyRewrapAuthorize'
  | 'KeyRewrap';

/** One line of a vault's record (KV-112, CMK-144). Its names are on disk. Never key material. */
export interface AuditEntry {
  readonly time: Instant;
  readonly operation: AuditOperation;
  /** Key version or key it was about; empty where there is none. */
  readonly key: string;
  readonly requestUri: string;
  /** `principals/<id>`, or who in the service itself. */
  readonly caller: string;
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
  /** How many equal refusals it stands for, above the rate limit; absent: it is one alone. */
  readonly occurrences?: number;
}

/** Index value that keeps vaults apart: rows of every vault share the table. */
export const within = (vault: string, value: string): string => `${vault}/${value}`;

/**
 * The record, outside of the event feed. Keys are `<vault>/<milliseconds>-<sequence>-<random>`: within a vault in the
 * order in which entries were written.
 */
export const auditTable: TableDefinition<AuditEntry> = {
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
      ...index('operation', entry.operation),
    ];
  },
};

/** A time as it begins a row's key: fixed width, so that text order is time order until the year 2286. */
export const timeInKey = (time: Instant): string => String(Math.max(0, Math.floor(time))).padStart(13, '0');
