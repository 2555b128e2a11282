import type { JsonObject } from '@bufbuild/protobuf';

/** When the key was disabled. */
export const lossMs = Date.UTC(2026, 0, 1, 12);
const group = 'subscriptions/local/resourceGroups/g';
const vm = `${group}/virtualMachines/vm1`;
const disk = `${group}/disks/d1`;
const set = `${group}/diskEncryptionSets/des1`;
const key = 'vaults/kv1/keys/k1';
export const version = `${key}/versions/${'0'.repeat(31)}1`;

/** `at(2_000)`: two seconds after the loss, as the services write it. */
export const at = (ms: number): string => new Date(lossMs + ms).toISOString();

/** A row of the activity log. */
export const row = (
  ms: number,
  operation: string,
  status: string,
  properties: JsonObject = {},
  operationId = operation,
): JsonObject => ({
  eventTime: at(ms),
  operation: `virtualMachines/${operation}`,
  operationId,
  status,
  category: operation === 'healthEvent' ? 'RESOURCE_HEALTH' : 'ADMINISTRATIVE',
  properties,
});

/** Properties of the rows of a stop because of the key. */
export const loss: JsonObject = {
  availability: 'Unavailable',
  cause: 'KEY_DISABLED',
  keyUrl: version,
  traceId: 'c'.repeat(32),
};
const deleted: JsonObject = { ...loss, cause: 'KEY_DELETED' };

/** A machine that was created, stopped by the key, refused a start, started once the key was back, and stopped again. */
export const activityLog: readonly JsonObject[] = [
  row(-60_000, 'write', 'STARTED', {}, 'create'),
  row(-59_900, 'write', 'ACCEPTED', {}, 'create'),
  row(-58_000, 'write', 'SUCCEEDED', {}, 'create'),
  row(500, 'healthEvent', 'ACTIVE', loss),
  row(1_200, 'healthEvent', 'SUCCEEDED', loss),
  row(5_000, 'start/action', 'STARTED', {}, 'first start'),
  row(5_100, 'start/action', 'FAILED', { cause: 'KEY_DISABLED', statusCode: 'KEY_DISABLED' }, 'first start'),
  row(20_100, 'healthEvent', 'RESOLVED', { availability: 'Available' }),
  row(25_000, 'start/action', 'STARTED', {}, 'second start'),
  row(26_000, 'start/action', 'SUCCEEDED', {}, 'second start'),
  row(40_000, 'healthEvent', 'ACTIVE', deleted),
  row(40_500, 'healthEvent', 'SUCCEEDED', deleted),
];

/** The machine as compute shows it. */
export const machine: JsonObject = {
  name: vm,
  powerState: 'STOPPED',
  osDisk: { disk, sku: 'PREMIUM_SSD' },
  dataDisks: [],
  stopTime: at(40_500),
  guestIo: { readCount: '40', writeCount: '30', failureCount: '3', contentMismatchCount: '0' },
};

/** An entry of the audit log of `kv1`. */
export const audit = (ms: number, operation: string, more: JsonObject = {}): JsonObject => ({
  name: `vaults/kv1/auditEntries/${ms}`,
  time: at(ms),
  operation,
  change: '',
  result: 'SUCCESS',
  reason: '',
  keyVersion: key,
  caller: 'principals/00000000-0000-4000-8000-000000000001',
  traceId: 'd'.repeat(32),
  ...more,
});

/** Responses of the services for this group. */
export const answers = {
  ListVirtualMachines: { virtualMachines: [machine] },
  ListDisks: {
    disks: [{ name: disk, sku: 'PREMIUM_SSD', keyVersion: version, encryption: { diskEncryptionSet: set } }],
  },
  ListActivityLog: { entries: [...activityLog] },
  ListAuditEntries: {
    auditEntries: [
      audit(0, 'KeyUpdate', { change: 'disable every version' }),
      audit(400, 'KeyCheckAccess', { keyVersion: version, result: 'REFUSED', reason: 'KEY_DISABLED' }),
      audit(5_050, 'KeyCheckAccess', { keyVersion: version, result: 'REFUSED', reason: 'KEY_DISABLED' }),
      audit(20_000, 'KeyUpdate', { change: 'enable what was disabled with the key' }),
      audit(39_700, 'KeyDelete'),
    ],
  },
  GetPrincipal: { displayName: 'Olga' },
};
