import type {
  ListAuditEntriesRequest,
  AuditEntry as WireAuditEntry,
} from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import { type EventStore, type IndexEntry, Rejection, type Table, table } from '@interlock/event-store';
import { type Call, pageOf, pageToken } from '@interlock/rpc';
import type { Guard } from '../access/guard.ts';
import { parseVault } from '../names.ts';
import type { AuditDraft } from './draft.ts';
import { type AuditEntry, type AuditRow, auditOperations, auditTable, entriesOf, timeInKey, within } from './entry.ts';
import type { AuditLog } from './log.ts';

/** Entries of a page when the request does not say. */
const pageSizeDefault = 100;
/** Entries looked at for one answer: a filter that matches little answers a short page, with a token to go on. */
const scannedMax = 5_000;
/** What a query counts for besides, so that many that find little end too. */
const scannedPerQuery = 10;
/** Rows read at once; each holds up to 64 entries. */
const rowsPerQuery = 100;

const resultOnWire = { success: 'SUCCESS', refused: 'REFUSED', failed: 'FAILED' } as const;

/** Entries from behind a place on, and after each query one without an entry, so that queries count too. */
async function* entriesAfter(
  rows: Table<AuditRow>,
  place: string,
  query: { readonly prefix: string; readonly index: IndexEntry | undefined },
  limit: number,
): AsyncGenerator<{ readonly id: string; readonly one?: AuditEntry }> {
  const { prefix, index } = query;
  const [rowKey = '', taken] = place.split('.');
  // The place came from outside: it must not lead to the record of another vault.
  const begun = taken !== undefined && rowKey.startsWith(prefix) ? await rows.get(rowKey) : undefined;
  if (begun) yield* idsOf(rowKey, begun).slice(Number(taken) + 1);
  for (let next: string | undefined = rowKey; next !== undefined; ) {
    const wish = { prefix, after: next, limit: Math.min(limit, rowsPerQuery) };
    const page = await rows.list(index === undefined ? wish : { ...wish, index });
    for (const { key, row } of page.items) yield* idsOf(key, row);
    next = page.next;
    if (next !== undefined) yield { id: next };
  }
}

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
        checkOperationFilter(request.operation);
        const index = indexFor(request, vaultId);
        // A vault of the same name that was purged may have had another owner: its record is not this one's.
        // Keys begin with the time of writing, so the creation itself, which began before the vault was there, is in.
        const startTime = request.startTime?.getTime() ?? 0;
        const first = `${vaultId}/${timeInKey(Math.max(vault.createdAt, startTime))}`;
        const found: WireAuditEntry[] = [];
        let scanned = 0;
        // A page token is of the vault that has the name, or of one before it, or of whoever made it.
        let at = after !== undefined && after > first ? after : first;
        let next: string | undefined;
        for await (const { id, one } of entriesAfter(rows, at, { prefix: `${vaultId}/`, index }, limit)) {
          if (found.length === limit || scanned >= scannedMax) {
            next = at;
            break;
          }
          const isOfThisOne = (one?.vaultMadeAt ?? vault.createdAt) === vault.createdAt;
          if (one && isOfThisOne && matches(one, request) && one.time >= startTime) found.push(onWire(id, one));
          scanned += one ? 1 : scannedPerQuery;
          at = id;
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

/** An operation there is not would find nothing, as one that nobody has asked for does. */
const checkOperationFilter = (operation: string): void => {
  if (operation === '' || auditOperations.some((one) => one === operation)) return;
  const value = operation.slice(0, 200);
  throw new Rejection(
    'INVALID_ARGUMENT',
    'OPERATION_FILTER_INVALID',
    `operation must be empty, or one of ${auditOperations.join(', ')}, not "${value}"`,
    { field: 'operation', value },
  );
};

/** The narrowest index that serves the request; what it does not filter is filtered row by row. */
const indexFor = ({ key, principal, operation }: ListAuditEntriesRequest, vault: string): IndexEntry | undefined => {
  if (key !== '') return { index: 'key', value: within(vault, key.toLowerCase()) };
  if (principal !== '') return { index: 'principal', value: within(vault, principal) };
  return operation === '' ? undefined : { index: 'operation', value: within(vault, operation) };
};

const matches = (entry: AuditEntry, { principal, operation }: ListAuditEntriesRequest): boolean =>
  (principal === '' || entry.caller === principal || entry.onBehalfOf === principal) &&
  (operation === '' || entry.operation === operation);

/** The entries of a row with their ids, in the order of both: `<row>.<place in the row>`. */
const idsOf = (rowKey: string, row: AuditRow): readonly { readonly id: string; readonly one: AuditEntry }[] =>
  entriesOf(row).map((one, n) => ({ id: `${rowKey}.${n}`, one }));

const onWire = (id: string, entry: AuditEntry): WireAuditEntry => {
  const { key, time, result, occurrences = 1, onBehalfOf = '', change = '', vaultMadeAt: _madeAt, ...same } = entry;
  const [vault, place] = id.split('/');
  return {
    ...same,
    name: `vaults/${vault}/auditEntries/${place}`,
    time: new Date(time),
    keyVersion: key,
    result: resultOnWire[result],
    occurrenceCount: occurrences,
    onBehalfOf,
    change,
  };
};
