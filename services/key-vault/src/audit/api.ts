import type {
  ListAuditEntriesRequest,
  AuditEntry as WireAuditEntry,
} from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import { type EventStore, type IndexEntry, Rejection, type Table, table } from '@interlock/event-store';
import { type Call, pageOf, pageToken } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { Guard } from '../access/guard.ts';
import { parseVault } from '../names.ts';
import type { AuditDraft } from './draft.ts';
import { type AuditEntry, type AuditRow, auditOperations, auditTable, entriesOf, timeInKey, within } from './entry.ts';
import type { AuditLog } from './log.ts';
import { renewalsMs } from './renewals.ts';

/** Entries of a page when the request does not say. */
const pageSizeDefault = 100;
/** Entries examined for one page: a filter that matches little returns a short page with a token. */
const scannedMax = 5_000;
/** A query counts as so many entries, so that queries without matches end too. */
const scannedPerQuery = 10;
/** Rows of one query; each contains up to 64 entries. */
const rowsPerQuery = 100;

const resultOnWire = { success: 'SUCCESS', refused: 'REFUSED', failed: 'FAILED' } as const;

/** An entry and its place in the record. */
interface Found {
  readonly id: string;
  readonly entry?: AuditEntry;
}

/** The entries after a place, and after each query one item without an entry, so that queries count too. */
async function* entriesAfter(
  rows: Table<AuditRow>,
  place: string,
  { prefix, index, limit }: { readonly prefix: string; readonly index: IndexEntry | undefined; readonly limit: number },
): AsyncGenerator<Found> {
  const [rowKey = '', taken] = place.split('.');
  // A page token comes from the caller: it must not lead to the record of another vault.
  const started = taken !== undefined && rowKey.startsWith(prefix) ? await rows.get(rowKey) : undefined;
  if (started) yield* entriesIn(rowKey, started).slice(Number(taken) + 1);
  for (let next: string | undefined = rowKey; next !== undefined; ) {
    const page = await rows.list({
      prefix,
      after: next,
      limit: Math.min(limit, rowsPerQuery),
      ...(index === undefined ? {} : { index }),
    });
    for (const { key, row } of page.items) yield* entriesIn(key, row);
    next = page.next;
    if (next !== undefined) yield { id: next };
  }
}

/** The entries of a row with their ids, `<row>.<index>`. */
const entriesIn = (rowKey: string, row: AuditRow): readonly Found[] =>
  entriesOf(row).map((entry, index) => ({ id: `${rowKey}.${index}`, entry }));

/** The record of a vault: request in, page out (CMK-11, CMK-144). */
export const auditApi = (parts: { readonly store: EventStore; readonly guard: Guard; readonly log: AuditLog }) => {
  const rows = table(parts.store, auditTable);
  const list = async (request: ListAuditEntriesRequest, call: Call, entry: AuditDraft) => {
    const vaultId = parseVault(request.parent, 'parent');
    const vault = await parts.guard.managedVault(vaultId, 'keyVault/vaults/read', call, entry);
    checkKeyFilter(request.key, vaultId);
    checkOperationFilter(request.operation);
    return pageOfRecord(rows, request, vaultId, vault.createdAt);
  };
  return { listAuditEntries: parts.log.audited('VaultAuditList', list) };
};

const pageOfRecord = async (
  rows: Table<AuditRow>,
  request: ListAuditEntriesRequest,
  vaultId: string,
  createdAt: Instant,
) => {
  const { limit, after } = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
  const startTime = request.startTime?.getTime() ?? 0;
  const isMatch = (entry: AuditEntry): boolean =>
    (entry.vaultMadeAt ?? createdAt) === createdAt &&
    matches(entry, request) &&
    (entry.lastTime ?? entry.time) >= startTime;
  // A purged vault of the same name may have had another owner, so its record is not part of this one. Row keys begin with
  // the time of writing, so the entry of the creation, which started before the vault existed, is included.
  // Renewals from the start time on may be in an entry that began before it.
  const first = `${vaultId}/${timeInKey(Math.max(createdAt, startTime - renewalsMs))}`;
  // A page token may be of an earlier vault of the name.
  let place = after !== undefined && after > first ? after : first;
  const found: WireAuditEntry[] = [];
  let scanned = 0;
  const query = { prefix: `${vaultId}/`, index: indexFor(request, vaultId), limit };
  for await (const { id, entry } of entriesAfter(rows, place, query)) {
    if (found.length === limit || scanned >= scannedMax) {
      return { auditEntries: found, nextPageToken: pageToken(place) };
    }
    if (entry && isMatch(entry)) found.push(onWire(id, entry));
    scanned += entry ? 1 : scannedPerQuery;
    place = id;
  }
  return { auditEntries: found, nextPageToken: pageToken(undefined) };
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

/** An unknown operation would match nothing, like one that was never called. */
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

/** The narrowest index for the filters; the other filters apply to each entry. */
const indexFor = ({ key, principal, operation }: ListAuditEntriesRequest, vault: string): IndexEntry | undefined => {
  if (key !== '') return { index: 'key', value: within(vault, key.toLowerCase()) };
  if (principal !== '') return { index: 'principal', value: within(vault, principal) };
  return operation === '' ? undefined : { index: 'operation', value: within(vault, operation) };
};

const matches = (entry: AuditEntry, { principal, operation }: ListAuditEntriesRequest): boolean =>
  (principal === '' || entry.caller === principal || entry.onBehalfOf === principal) &&
  (operation === '' || entry.operation === operation);

const onWire = (id: string, entry: AuditEntry): WireAuditEntry => {
  const { key, time, result, occurrences = 1, onBehalfOf = '', change = '', vaultMadeAt: _madeAt, ...of } = entry;
  const { lastTime, lastTraceId = '', ...same } = of;
  const [vault, place] = id.split('/');
  return {
    ...same,
    name: `vaults/${vault}/auditEntries/${place}`,
    time: new Date(time),
    keyVersion: key,
    result: resultOnWire[result],
    occurrenceCount: occurrences,
    lastTime: lastTime === undefined ? undefined : new Date(lastTime),
    lastTraceId,
    onBehalfOf,
    change,
  };
};
