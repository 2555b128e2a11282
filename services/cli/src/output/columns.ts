import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { cutEnd, cutMiddle, widthOf } from './align.ts';
import { impactRows } from './impact-rows.ts';

/** A column in a form that fits a terminal. */
export interface NarrowColumn {
  readonly title: string;
  /** @param short a name as users type it */
  text(row: JsonObject, short: (name: string) => string): string;
  /** The minimum width, and how a text is shortened to a width; undefined: the column is never shortened. */
  readonly narrowest?: { readonly width: number; cut(text: string, width: number): string };
}

/** A name with its ids shortened to 8 digits. */
const shortIds = (name: string): string =>
  name
    .split('/')
    .map((part) => (/^[0-9a-f-]{32,36}$/.test(part) ? `${part.slice(0, 8)}…` : part))
    .join('/');
const textOf = (row: JsonObject, field: string): string => String(row[field] ?? '');

/** Shortens the name of the key and keeps the version. */
const cutKey = (text: string, width: number): string => {
  const at = text.lastIndexOf('/');
  if (widthOf(text) <= width || at < 0) return cutMiddle(text, width);
  const version = text.slice(at);
  return `${cutMiddle(text.slice(0, at), Math.max(1, width - widthOf(version)))}${version}`;
};

const listOf = (row: JsonObject, field: string): readonly string[] => {
  const { [field]: list } = row;
  return Array.isArray(list) ? list.map(String) : [];
};

/** `a/b/{get,list}` in place of `a/b/get` and `a/b/list`. */
const folded = (actions: readonly string[]): string => {
  const byParent = new Map<string, string[]>();
  for (const action of actions) {
    const at = action.lastIndexOf('/') + 1;
    const verbs = byParent.get(action.slice(0, at)) ?? [];
    byParent.set(action.slice(0, at), [...verbs, action.slice(at)]);
  }
  return [...byParent]
    .map(([parent, verbs]) => `${parent}${verbs.length === 1 ? verbs[0] : `{${verbs.join(',')}}`}`)
    .join(', ');
};

/** Lists that are wider than a terminal: their columns without `-o wide`. */
export const narrowColumns: Readonly<Record<string, readonly NarrowColumn[]>> = {
  'interlock.key_vault.v1.AuditEntry': [
    { title: 'time', text: (row) => textOf(row, 'time').replace(/\.\d+Z$/, 'Z') },
    {
      title: 'operation',
      text: (row) => {
        const { occurrenceCount: count } = row;
        const times = Number(count ?? 1) > 1 ? ` ×${count}` : '';
        return cutEnd(`${textOf(row, 'operation')}${times} ${textOf(row, 'change')}`.trim(), 28);
      },
      narrowest: { width: 18, cut: cutEnd },
    },
    {
      title: 'result',
      text: (row) => textOf(row, 'reason') || textOf(row, 'result'),
      narrowest: { width: 13, cut: cutEnd },
    },
    // Without the vault: the list is of one vault.
    {
      title: 'key',
      text: (row, short) => shortIds(short(textOf(row, 'keyVersion')).replace(/^[^/]+\//, '')),
      narrowest: { width: 12, cut: cutKey },
    },
    // The widths to here leave room for the caller in 80 columns: who used the key is what the list is for.
    {
      title: 'caller',
      text: (row, short) => shortIds(short(textOf(row, 'caller'))),
      narrowest: { width: 9, cut: cutMiddle },
    },
    { title: 'for', text: (row, short) => shortIds(short(textOf(row, 'onBehalfOf'))) },
    {
      title: 'resource',
      text: (row, short) => shortIds(short(textOf(row, 'resource'))),
      narrowest: { width: 9, cut: cutMiddle },
    },
    { title: 'trace id', text: (row) => textOf(row, 'traceId') },
  ],
  'interlock.disk_encryption_set.v1.Impact': [
    { title: 'resource', text: (row) => textOf(row, 'resource'), narrowest: { width: 16, cut: cutMiddle } },
    { title: 'effect', text: (row) => textOf(row, 'effect'), narrowest: { width: 14, cut: cutMiddle } },
    { title: 'detail', text: (row) => textOf(row, 'detail'), narrowest: { width: 8, cut: cutMiddle } },
    { title: 'set', text: (row) => textOf(row, 'set'), narrowest: { width: 6, cut: cutMiddle } },
    { title: 'key', text: (row) => textOf(row, 'key'), narrowest: { width: 7, cut: cutMiddle } },
  ],
  'interlock.disk.v1.DiskHost': [
    { title: 'name', text: (row, short) => short(textOf(row, 'name')) },
    { title: 'state', text: (row) => textOf(row, 'state') },
    { title: 'liveness', text: (row) => textOf(row, 'liveness') },
    { title: 'disks', text: (row) => textOf(row, 'diskCount') },
    { title: 'snapshots', text: (row) => textOf(row, 'snapshotCount') },
    { title: 'zone', text: (row) => textOf(row, 'zone') },
  ],
  'interlock.compute.v1.VmHost': [
    { title: 'name', text: (row, short) => short(textOf(row, 'name')) },
    { title: 'state', text: (row) => textOf(row, 'state') },
    { title: 'liveness', text: (row) => textOf(row, 'liveness') },
    { title: 'machines', text: (row) => textOf(row, 'machineCount') },
    { title: 'capacity', text: (row) => textOf(row, 'guestCapacity') },
    { title: 'zone', text: (row) => textOf(row, 'zone') },
  ],
  'interlock.identity.v1.Role': [
    // As users type it.
    { title: 'name', text: (row) => textOf(row, 'name').replace('roles/', '') },
    {
      title: 'allows',
      text: (row) => {
        const not = listOf(row, 'notActions');
        const all = folded([...listOf(row, 'actions'), ...listOf(row, 'dataActions')]);
        return not.length === 0 ? all : `${all} but not ${folded(not)}`;
      },
      narrowest: { width: 30, cut: cutEnd },
    },
  ],
};

/** Lists whose rows are arranged otherwise without `-o wide`. */
export const arrangements: Readonly<
  Record<string, (rows: readonly JsonValue[], short: (name: string) => string) => readonly JsonObject[]>
> = { 'interlock.disk_encryption_set.v1.Impact': impactRows };

/** To this width names in other lists are shortened before columns are omitted. */
export const anyNarrowest: NonNullable<NarrowColumn['narrowest']> = { width: 48, cut: cutMiddle };

/**
 * Columns of lists by type: state, reason and time come first. A column is a path into the JSON of the resource, optionally with
 * `TITLE:` before it. `?` shows only `yes`; `!` and another path omit a value that equals the other one. Other types show every
 * plain field.
 */
export const columns: Readonly<Record<string, readonly string[]>> = {
  'interlock.key_vault.v1.Vault': [
    'name',
    'state',
    'resourceGroup',
    'location',
    'permissionModel',
    'purge protected:purgeProtectionEnabled',
    'deleteTime',
  ],
  'interlock.key_vault.v1.Key': [
    'name',
    'state',
    'reason:unavailableReason',
    'since:unavailableSince!deleteTime',
    'keySizeBits',
    'currentVersion',
    'deleteTime',
    'recoveryLevel',
  ],
  'interlock.key_vault.v1.KeyVersion': ['name', 'enabled', 'notBefore', 'expireTime', 'origin', 'createTime'],
  'interlock.key_vault.v1.AuditEntry': [
    'time',
    'operation',
    'change',
    'result',
    'reason',
    'keyVersion',
    'caller',
    'for:onBehalfOf',
    'resource',
    'count:occurrenceCount',
    'traceId',
  ],
  'interlock.disk_encryption_set.v1.DiskEncryptionSet': [
    'name',
    'provisioningState',
    'access:keyAccess.0.state',
    'reason:keyAccess.0.reason',
    'since:keyAccess.0.since',
    'active key:activeKey.keyVersion',
  ],
  'interlock.disk_encryption_set.v1.AssociatedResource': [
    'name',
    'rotationState',
    'key version:keyVersion',
    'generation',
    'machine:managedBy',
  ],
  'interlock.disk_encryption_set.v1.Impact': [
    'kind',
    'resource',
    'set:diskEncryptionSet',
    'already?',
    'starts again:startsAgain?',
    'disks',
    'machine:virtualMachine',
    'powerState',
    'sku',
    'key versions:keyVersions',
  ],
  'interlock.disk.v1.Disk': [
    'name',
    'state',
    'availability',
    'reason:unavailableReason',
    'since:unavailableSince',
    'sku',
    'sizeGib',
    'managedBy',
    'set:encryption.diskEncryptionSet',
    'host:diskHost',
    'host state:diskHostState',
  ],
  'interlock.disk.v1.Snapshot': [
    'name',
    'provisioningState',
    'availability',
    'reason:unavailableReason',
    'since:unavailableSince',
    'sourceDisk',
    'sizeGib',
    'keyVersion',
    'createTime',
  ],
  'interlock.compute.v1.VirtualMachine': [
    'name',
    'powerState',
    'provisioningState',
    'stop cause:stopCause',
    'vm host:vmHost',
    'reason:stopReason.reason',
    'since:stopReason.since',
    'key is back:keyReturned?',
    'key:stopReason.keyVersion',
    'host:stopReason.diskHost',
    'next start fails:nextStartLosses.0.reason',
    'failure:failure.code',
    'reads:guestIo.readCount',
    'writes:guestIo.writeCount',
    'failed:guestIo.failureCount',
    'mismatches:guestIo.contentMismatchCount',
  ],
  'interlock.compute.v1.AccessLoss': [
    'reason',
    'disk',
    'host:diskHost',
    'set:diskEncryptionSet',
    'key:keyVersion',
    'since',
    'traceId',
  ],
  'interlock.compute.v1.ActivityLogEntry': [
    'eventTime',
    'operation',
    'status',
    'category',
    'health:properties.availability',
    'cause:properties.cause',
    'caller',
    'trace:properties.traceId',
  ],
  'interlock.compute.v1.InstanceStatus': ['code', 'level', 'displayStatus', 'message', 'time'],
  'interlock.identity.v1.Principal': ['name', 'type', 'displayName', 'state', 'owner', 'workload'],
  'interlock.identity.v1.Role': ['name', 'title', 'actions', 'notActions', 'dataActions', 'definitionId'],
  'interlock.messaging.v1.ParkedFact': [
    'name',
    'type:fact.type',
    'stream:fact.stream',
    'errorReason',
    'errorMessage',
    'attemptCount',
    'parkTime',
  ],
  'interlock.messaging.v1.Fact': ['position', 'type', 'stream', 'version', 'eventTime'],
};

/** Fields that only documents show (`-o json`): they would fill the screen. */
export const machineFields: ReadonlySet<string> = new Set(['interlock.key_vault.v1.KeyVersion.public_key']);

/** Fields of a single resource that are shown first. */
export const firstFields: readonly string[] = [
  'name',
  'provisioningState',
  'powerState',
  'state',
  'availability',
  'enabled',
  'unavailableReason',
  'unavailableSince',
  'stopCause',
  'stopReason',
  'keyReturned',
  'nextStartLosses',
  'failure',
  'keyAccess',
  'rotation',
];
