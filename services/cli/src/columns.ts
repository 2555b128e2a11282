/**
 * Columns of lists by type: the state, why, and since when come before the rest. A column is a path into the JSON of the
 * resource, with `TITLE:` before it where its last word would say too little. Other types show every plain field.
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
    'result',
    'reason',
    'keyVersion',
    'caller',
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
  'interlock.disk_encryption_set.v1.Impact': [
    'kind',
    'resource',
    'set:diskEncryptionSet',
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
    'reason:stopReason.reason',
    'since:stopReason.since',
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
  'stopReason',
  'failure',
  'keyAccess',
  'rotation',
];
