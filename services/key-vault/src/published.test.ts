import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyVaultEvent as Wire } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import type { JsonObject, RecordedEvent } from '@interlock/event-store';
import type { KeyEvent } from './key/events.ts';
import { keyUrls } from './names.ts';
import { toFact } from './published.ts';
import type { VaultEvent } from './vault/events.ts';

const at = 1_000_000;
const position = 7;
const version = '1'.repeat(32);
const key = 'vaults/kv1/keys/k1';
const principal = 'principals/set';

/** What is published of an event: the name of its fact and what the fact says of access; undefined: nothing. */
type Published = readonly [name: string, says?: object] | undefined;
type Cases<Event extends { readonly type: string }> = {
  readonly [Type in Event['type']]: readonly (readonly [
    event: Omit<Extract<Event, { type: Type }>, 'type' | 'at'>,
    published: Published,
  ])[];
};

const material = { version, materialId: 'm', bits: 2048, n: 'n', e: 'e', origin: 'generated' } as const;
const attributes = { enabled: true, operations: [], tags: {} } as const;
const authorization = { source: version, target: 't', principal, diskEncryptionSet: 'd', authorizedBy: 'o' };
const unspecified = { reason: 'KEY_ACCESS_REASON_UNSPECIFIED' };

const keyCases: Cases<KeyEvent> = {
  KeyVersionCreated: [
    [
      { requestId: 'r', digest: 'd', ...material, ...attributes },
      ['KeyVersionCreated', { enabled: true, keyUrl: `https://kv1.vault.test/keys/k1/${version}` }],
    ],
  ],
  KeyVersionEnabled: [[{ version }, ['KeyVersionEnabled']]],
  KeyVersionDisabled: [[{ version }, ['KeyVersionDisabled', { reason: 'KEY_DISABLED' }]]],
  KeyVersionDatesSet: [
    [{ version }, ['KeyVersionDatesSet', unspecified]],
    [{ version, notBefore: at, expiresAt: at + 1 }, ['KeyVersionDatesSet', unspecified]],
    [{ version, expiresAt: at }, ['KeyVersionDatesSet', { reason: 'KEY_EXPIRED' }]],
    [{ version, notBefore: at + 1 }, ['KeyVersionDatesSet', { reason: 'KEY_NOT_YET_VALID' }]],
  ],
  KeyOperationsSet: [
    [{ version, operations: ['wrapKey', 'unwrapKey'] }, ['KeyOperationsSet', unspecified]],
    [{ version, operations: ['wrapKey', 'sign'] }, ['KeyOperationsSet', { reason: 'ACCESS_DENIED' }]],
    [{ version, operations: ['unwrapKey'] }, ['KeyOperationsSet', { reason: 'ACCESS_DENIED' }]],
  ],
  KeyVersionExpired: [[{ version, expiresAt: at }, ['KeyExpired', { expireTime: new Date(at) }]]],
  KeyVersionBegan: [[{ version, notBefore: at }, ['KeyVersionDatesSet', { ...unspecified, notBefore: new Date(at) }]]],
  KeyVersionNearExpiry: [[{ version, expiresAt: at + 9 }, ['KeyNearExpiry', { expireTime: new Date(at + 9) }]]],
  KeyDeleted: [[{ purgeAt: at + 9 }, ['KeyDeleted', { scheduledPurgeTime: new Date(at + 9) }]]],
  KeyRecovered: [[{}, ['KeyRecovered']]],
  KeyRestored: [[{ requestId: 'r', versions: [] }, ['KeyRecovered']]],
  KeyPurged: [[{}, ['KeyPurged']]],
  KeyVersionKeptDisabled: [[{ version }, undefined]],
  KeyRotationPolicySet: [[{}, undefined]],
  KeyTagsSet: [[{ version, tags: {} }, undefined]],
  RewrapAuthorized: [[authorization, undefined]],
  RewrapAuthorizationsCancelled: [[{}, undefined]],
};

const policies = { permissionModel: 'access_policy', accessPolicies: {} } as const;
const place = { resourceGroup: 'subscriptions/s/resourceGroups/g', tenant: 'tenants/t', location: 'l' };
const closed = { defaultAction: 'deny', ipRules: [], publicAccessDisabled: false } as const;
const change = { principal, removed: true, position: 3 };

const vaultCases: Cases<VaultEvent> = {
  AccessPolicySet: [
    [{ principal, permissions: ['get', 'wrapKey'] }, ['AccessPolicySet', { keyPermissions: ['GET', 'WRAP_KEY'] }]],
  ],
  AccessPolicyRemoved: [[{ principal }, ['AccessPolicyRemoved', { principal }]]],
  PermissionModelSet: [
    [{ permissionModel: 'role_assignment' }, ['PermissionModelSet', { permissionModel: 'ROLE_ASSIGNMENT' }]],
  ],
  NetworkRulesSet: [
    [{ networkRules: { ...closed, bypass: true } }, ['NetworkRulesSet', { trustedServicesServed: true }]],
    [{ networkRules: { ...closed, bypass: false } }, ['NetworkRulesSet', { trustedServicesServed: false }]],
  ],
  GrantsChanged: [
    [{ ...change, source: 'roleAssignments/r' }, ['GrantsChanged', { key: '', principal, removed: true }]],
  ],
  IdentityAnswerChanged: [[{ ...change, key }, ['GrantsChanged', { key, principal, removed: true }]]],
  VaultDeleted: [[{ purgeAt: at + 9 }, ['VaultDeleted', { scheduledPurgeTime: new Date(at + 9) }]]],
  VaultRecovered: [[{}, ['VaultRecovered']]],
  VaultPurged: [[{}, ['VaultPurged']]],
  VaultCreated: [[{ ...place, ...policies, sku: 'standard', retentionDays: 90, purgeProtected: true }, undefined]],
  PurgeProtectionEnabled: [[{}, undefined]],
  VaultPurgeStarted: [[{}, undefined]],
};

const factOf = (stream: RecordedEvent['stream'], type: string, event: object) =>
  toFact(keyUrls('vault.test'))({
    position,
    stream,
    version: 1,
    id: 'id',
    type,
    schema: 1,
    data: { ...event, at } as JsonObject,
    cause: { correlationId: 'c', causes: [], caller: 'system:test' },
    time: at,
  });

const all = [
  ...Object.entries(keyCases).map((one) => [`key-${key}`, { vault: 'vaults/kv1', key }, ...one] as const),
  ...Object.entries(vaultCases).map((one) => ['vault-kv1', { vault: 'vaults/kv1' }, ...one] as const),
];
for (const [stream, names, type, cases] of all) {
  const isPublished = cases.some(([, published]) => published !== undefined);
  test(`KV-110: ${type} is ${isPublished ? 'published with its position as access epoch' : 'not published'}`, () => {
    for (const [event, published] of cases) {
      const fact = factOf(stream, type, event);
      assert.equal(fact?.type, published?.[0]);
      if (fact === null || published === undefined) continue;
      const { event: said, changeTime } = Wire.decode(fact.payload);
      assert.ok(said);
      const ofVersion = 'version' in event ? { keyVersion: `${key}/versions/${version}` } : {};
      const expected = { ...names, ...ofVersion, ...published[1], accessEpoch: position };
      assert.deepEqual({ ...said.value, ...expected }, said.value, `${type} says ${JSON.stringify(expected)}`);
      assert.equal(changeTime?.getTime(), at);
    }
  });
}
