import type {
  ListAuditEntriesRequest,
  AuditEntry as WireAuditEntry,
} from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import { type EventStore, type IndexEntry, Rejection, table } from '@interlock/event-store';
import { type Call, pageOf, pageToken } from '@interlock/rpc';
import type { Guard } from '../guard.ts';
import { parseVault } from '../names.ts';
import { type AuditEntry, auditTable, timeInKey, within } from './entry.ts';
import type { AuditDraft, AuditLog } from './log.ts';

/** Entries of a page when the request does not say. */
const pageSizeDefault = 100;
/** Entries looked at for one answer: a filter that matches little answers a short page, with a token to go on. */
const scannedMax = 5_000;
/** What a query counts for at least, so that many tiny ones end too. */
const scannedPerQuery = 100;

const resultOnWire = { success: 'SUCCESS', refused: 'REFUSED', failed: 'FAILED' } as const;

/** The record of a vault: request in, page out (CMK-11, CMK-144). */
export const auditApi = ({
  store,
  guard,
  log,
}: {
  readonly store: EventStore;
  readonly guard: Guard;
  readonly log: AuditLog;
}) => {
  const rows = table(store, auditTable);

  return {
    listAuditEntries: log.audited(
      'VaultAuditList',
      async (request: ListAuditEntriesRequest, call: Call, entry: AuditDraft) => {
        const vaultId = parseVault(request.parent, 'parent');
        const vault = await guard.managedVault(vaultId, 'keyVault/vaults/read', call, entry);
        const { limit, after } = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
        checkKeyFilter(request.key, vaultId);
        const index = indexFor(request, vaultId);
        // A vault of the same name that was purged may have had another owner: its record is not this one's.
        // Keys begin with the time of writing, so the creation itself, which began before the vault was there, is in.
        const startTime = request.startTime?.getTime() ?? 0;
        const from = Math.max(vault.createdAt, startTime);
        const found: WireAuditEntry[] = [];
        let next: string | undefined = after ?? `${vaultId}/${timeInKey(from)}`;
        for (let scanned = 0; next !== undefined && found.length < limit && scanned < scannedMax; ) {
          const query = { prefix: `${vaultId}/`, after: next, limit: limit - found.length };
          const page = await rows.list({ ...query, ...(index === undefined ? {} : { index }) });
          const matching = page.items.filter(({ row }) => matches(row, request) && row.time >= startTime);
          found.push(...matching.map(({ key, row }) => onWire(key, row)));
          scanned += Math.max(page.items.length, scannedPerQuery);
          next = page.next;
        }
        return { auditEntries: found, nextPageToken: pageToken(next) };
      },
    ),
  };
};

const checkKeyFilter = (key: string, vaultId: string): void => {
  if (key === '' || key.toLowerCase().startsWith(`vaults/${vaultId}/keys/`)) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'KEY_FILTER_INVALID',
    `key must be empty, or a key or key version of vaults/${vaultId}, not "${key.slice(0, 200)}"`,
    { field: 'key', value: key.slice(0, 200) },
  );
};

/** The narrowest index that serves the request; what it does not filter is filtered row by row. */
const indexFor = ({ key, principal, operation }: ListAuditEntriesRequest, vault: string): IndexEntry | undefined => {
  if (key !== '') return { index: 'key', value: within(vault, key.toLowerCase()) };
  if (principal !== '') return { index: 'principal', value: within(vault, principal) };
  return operation === '' ? undefined : { index: 'operation', value: within(vault, operation) };
};

const matches = (row: AuditEntry, { principal, operation }: ListAuditEntriesRequest): boolean =>
  (principal === '' || row.caller === principal) && (operation === '' || row.operation === operation);

const onWire = (rowKey: string, row: AuditEntry): WireAuditEntry => {
  const { key, time, result, occurrences = 1, ...same } = row;
  const [vault, id] = rowKey.split('/');
  return {
    ...same,
    name: `vaults/${vault}/auditEntries/${id}`,
    time: new Date(time),
    keyVersion: key,
    result: resultOnWire[result],
    occurrenceCount: occurrences,
  };
};
