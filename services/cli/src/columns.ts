import type { JsonObject } from '@bufbuild/protobuf';

/** A column of a list as a terminal of usual width has room for it. */
export interface NarrowColumn {
  readonly title: string;
  /** @param short a name as people type it */
  text(row: JsonObject, short: (name: string) => string): string;
}

/** The beginning of what is an id, in place of it. */
const begun = (name: string): string =>
  name
    .split('/')
    .map((part) => (/^[0-9a-f-]{32,36}$/.test(part) ? `${part.slice(0, 8)}…` : part))
    .join('/');
const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const textOf = (row: JsonObject, field: string): string => String(row[field] ?? '');

/** Lists whose columns in full are wider than any terminal: as they are shown unless `--wide` is said. */
export const narrowColumns: Readonly<Record<string, readonly NarrowColumn[]>> = {
  'interlock.key_vault.v1.AuditEntry': [
    { title: 'time', text: (row) => textOf(row, 'time').replace(/\.\d+Z$/, 'Z') },
    { title: 'operation', text: (row) => cut(`${textOf(row, 'operation')} ${textOf(row, 'change')}`.trim(), 28) },
    { title: 'result', text: (row) => cut(textOf(row, 'reason') || textOf(row, 'result'), 22) },
    // Of the vault that is listed.
    { title: 'key', text: (row, short) => cut(begun(short(textOf(row, 'keyVersion')).replace(/^[^/]+\//, '')), 22) },
    { title: 'caller', text: (row, short) => begun(short(textOf(row, 'caller'))) },
    { title: 'for', text: (row, short) => begun(short(textOf(row, 'onBehalfOf'))) },
    { title: 'resource', text: (row, short) => cut(begun(short(textOf(row, 'resource'))), 20) },
    { title: 'count', text: ({ occurrenceCount: count }) => (Number(count ?? 1) > 1 ? String(count) : '') },
    { title: 'trace id', text: (row) => textOf(row, 'traceId') },
  ],
};

/**
 * Columns of lists by type: the state, why, and since when come before the rest. A column is a path into the JSON of the
 * resource, with `TITLE:` before it where its last word would say too little, and `?` behind it where only yes is worth a word. Other types show every plain field.
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
  'interlock.key_vault.v1.Key': ['name', 'state', 'keySizeBits', 'currentVersion', 'deleteTime', 'recoveryLevel'],
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
  ],
  'interlock.disk.v1.Snapshot': ['name', 'provisioningState', 'sourceDisk', 'sizeGib', 'keyVersion', 'createTime'],
  'interlock.compute.v1.VirtualMachine': [
    'name',
    'powerState',
    'provisioningState',
    'stop cause:stopCause',
    'reason:stopReason.reason',
    'since:stopReason.since',
    'key is back:keyReturned?',
    'key:stopReason.keyVersion',
    'failure:failure.code',
  ],
  'interlock.compute.v1.ActivityLogEntry': [
    'eventTime',
    'operation',
    'status',
    'category',
    'cause:properties.cause',
    'caller',
    'trace:properties.traceId',
  ],
  'interlock.compute.v1.InstanceStatus': ['code', 'level', 'displayStatus', 'message', 'time'],
  'interlock.identity.v1.Principal': ['name', 'type', 'displayName', 'state', 'owner', 'workload'],
  'interlock.identity.v1.Role': ['name', 'title'],
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

/** Fields that are for programs only: they would fill the screen. `--json` has them. */
export const machineFields: ReadonlySet<string> = new Set(['interlock.key_vault.v1.KeyVersion.public_key']);

/** Fields shown first of a single resource, where it has them. */
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
  'failure',
  'keyAccess',
  'rotation',
];
