import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoredEvent } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { testNames, testSubscription } from '../cloud/test-names.ts';
import { type EventForm, eventShown } from './shape.ts';

const vault = { name: 'kv1', resourceGroup: 'subscriptions/dev/resourceGroups/g1' };
const version = '0123456789abcdef0123456789abcdef';

const stored = (type: string, stream: string, data: object = {}): StoredEvent => ({
  position: 7,
  eventId: `${stream}@3`,
  stream,
  version: 3,
  eventTime: new Date('2026-01-02T03:04:05Z'),
  type,
  schema: 1,
  data: { ...data },
  withheld: [],
  meta: {},
});
const shown = (event: StoredEvent, form: EventForm = 'eventgrid') => eventShown(testNames, vault, event, form);

const topic = `/subscriptions/${testSubscription}/resourceGroups/g1/providers/Microsoft.KeyVault/vaults/kv1`;
const data = {
  Id: `https://kv1.vault.interlock.localhost:8443/keys/k1/${version}`,
  VaultName: 'kv1',
  ObjectType: 'Key',
  ObjectName: 'k1',
  Version: version,
  NBF: null,
  EXP: 1_900_000_000,
};

test('KV-111: an event of a key has the form of Event Grid or of CloudEvents, with the same id in both', () => {
  const event = stored('KeyVersionNearExpiry', 'key-vaults/kv1/keys/k1', { version, expiresAt: 1_900_000_000_123 });
  const grid = shown(event);
  const id = grid !== undefined && 'id' in grid ? String(grid.id) : '';
  assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.deepEqual(grid, {
    ...{ id, topic, subject: 'k1', eventType: 'Microsoft.KeyVault.KeyNearExpiry', data },
    ...{ eventTime: '2026-01-02T03:04:05.000Z', dataVersion: '1', metadataVersion: '1' },
  });
  assert.deepEqual(shown(event, 'cloudevents'), {
    ...{ id, source: topic, subject: 'k1', type: 'Microsoft.KeyVault.KeyNearExpiry', data },
    ...{ time: '2026-01-02T03:04:05.000Z', specversion: '1.0' },
  });
});

test('KV-110: subscribers receive new versions, expiry and policies, not disable, delete or recover', () => {
  const typeOf = (type: string, stream = 'key-vaults/kv1/keys/k1') => {
    const event = shown(stored(type, stream, { version }));
    return event !== undefined && 'eventType' in event ? event.eventType : undefined;
  };
  assert.equal(typeOf('KeyVersionCreated'), 'Microsoft.KeyVault.KeyNewVersionCreated');
  assert.equal(typeOf('KeyVersionExpired'), 'Microsoft.KeyVault.KeyExpired');
  for (const type of ['AccessPolicySet', 'AccessPolicyRemoved', 'PermissionModelSet'])
    assert.equal(typeOf(type, 'vault-vaults/kv1'), 'Microsoft.KeyVault.VaultAccessPolicyChanged', type);
  for (const type of ['KeyVersionDisabled', 'KeyDeleted', 'KeyRecovered', 'KeyPurged'])
    assert.equal(typeOf(type), undefined, type);
});

test('events of another vault are left out, also of one whose name begins the same', () => {
  for (const other of ['kv', 'kv10', 'kv1-b'])
    assert.equal(shown(stored('KeyVersionCreated', `key-vaults/${other}/keys/k1`, { version })), undefined, other);
});
