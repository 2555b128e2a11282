import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent, StreamName } from '@interlock/event-store';
import type { ReadVmEvent } from '../events/compute.ts';
import type { ReadDiskEvent, ReadSnapshotEvent } from '../events/disk.ts';
import type { ReadSetEvent } from '../events/disk-encryption-set.ts';
import type { ReadPrincipalEvent } from '../events/identity.ts';
import type { ReadKeyEvent, ReadVaultEvent } from '../events/key-vault.ts';
import { judgeRecording } from './judge-recording.ts';
import { type Recording, type RefusedOperation, replay } from './replay.ts';

const [vault, keyVersion, set] = ['kv', 'vaults/kv/keys/k/versions/1', 'sets/s'];
const traceId = '0af7651916cd43dd8448eb211c80319c';
const terms = {
  authzTtlMs: 1_000,
  leases: { ttlMs: 2_000, unreachableGraceMs: 10_000 },
  sweepIntervalMs: 1_000,
  guestStopTimeoutMs: 1_000,
};
/** The time at which the key is disabled. */
const lostMs = 100_000;

/** Events that the judge reads, and one that it does not. */
type EventType =
  | (
      | ReadDiskEvent
      | ReadKeyEvent
      | ReadPrincipalEvent
      | ReadSetEvent
      | ReadSnapshotEvent
      | ReadVaultEvent
      | ReadVmEvent
    )['type']
  | 'VmKeptOff';

const event = (stream: StreamName, time: number, type: EventType, data: object = {}): RecordedEvent => ({
  position: time,
  stream,
  version: 1,
  id: `${type} of ${stream}`,
  type,
  schema: 1,
  data: { ...data },
  cause: {
    correlationId: 'c',
    causes: [],
    caller: 'principals/p',
    traceparent: `00-${traceId}-b7ad6b7169203331-01`,
  },
  time,
});

const keyLoss = { reason: 'KEY_DISABLED', disk: 'd1', set, keyVersion, since: lostMs, traceId, accessEpoch: 9 };

/** The events of a machine with one disk of a class, from its creation. */
const machine = (name: string, disk: string, sku: 'PREMIUM_SSD' | 'ULTRA', isUnderKey: boolean) => ({
  disk: [
    event(`disk-${disk}`, 10, 'DiskCreated', {
      sku: sku.toLowerCase(),
      encryption: isUnderKey ? { type: 'customer', set } : { type: 'platform' },
      keyVersion: isUnderKey ? keyVersion : '',
      volume: { volumeId: disk, headerSequence: 1 },
    }),
    event(`disk-${disk}`, 11, 'DiskAttached', { virtualMachine: name }),
    event(`disk-${disk}`, 12, 'DiskOpened', { attachEpoch: 1, virtualMachine: name }),
  ],
  compute: [
    event(`vm-${name}`, 9, 'VmCreationStarted'),
    event(`vm-${name}`, 13, 'VmCreated', {
      disks: [{ disk, sku, isOs: true, lun: 0 }],
      opened: [{ disk, accessEpoch: 1 }],
    }),
    event(`vm-${name}`, 14, 'VmStarted'),
  ],
});

/** A cloud in which the key is disabled. `after` is what compute stores afterwards. */
const recording = (after: readonly RecordedEvent[], change: Partial<Recording> = {}): Recording => {
  const machines = [
    machine('stops', 'd1', 'PREMIUM_SSD', true),
    machine('ultra', 'd2', 'ULTRA', true),
    machine('other', 'd3', 'PREMIUM_SSD', false),
  ];
  return {
    terms,
    events: {
      identity: [event('principal-i', 1, 'PrincipalCreated')],
      'key-vault': [
        event(`vault-${vault}`, 1, 'VaultCreated', {
          resourceGroup: 'g',
          permissionModel: 'access_policy',
          accessPolicies: { 'principals/i': ['get', 'wrapKey', 'unwrapKey'] },
        }),
        event('key-vaults/kv/keys/k', 2, 'KeyVersionCreated', {
          version: '1',
          enabled: true,
          operations: ['wrapKey', 'unwrapKey'],
          n: 'n',
          at: 2,
        }),
        event('key-vaults/kv/keys/k', lostMs, 'KeyVersionDisabled', { version: '1' }),
      ],
      'disk-encryption-set': [
        event(`set-${set}`, 3, 'SetCreating', {
          principal: 'principals/i',
          key: { keyVersion },
          requestedOptions: { keyExpiry: 'stop' },
        }),
      ],
      disk: machines.flatMap(({ disk }) => disk),
      compute: [...machines.flatMap(({ compute }) => compute), ...after],
    },
    ...change,
  };
};

const stopped = [
  event('vm-stops', lostMs + 50, 'VmStopping', { reason: keyLoss }),
  event('vm-stops', lostMs + 90, 'VmStopped', { reason: keyLoss }),
];
/** A much later event, so that the loss lasts. */
const later = event('vm-other', lostMs + 60_000, 'VmKeptOff');

const failing = (of: Recording): readonly string[] =>
  judgeRecording(of).flatMap(({ rule, subject, holds }) => (holds ? [] : `${rule} ${subject}`));

test('CMK-100, CMK-102, CMK-111: an access loss stops machines with a non-ultra disk under the key, and no others', () => {
  const verdicts = judgeRecording(recording([...stopped, later]));
  assert.deepEqual(
    verdicts.map(({ rule, subject, holds }) => [rule, subject, holds]),
    [
      ['CMK-100', 'stops', true],
      ['CMK-102', 'ultra', true],
      ['CMK-111', 'other', true],
    ],
  );
  const [first] = verdicts;
  assert.equal(first?.seen, 'stopped 90 ms after the loss, for KEY_DISABLED');
  assert.deepEqual(
    first?.evidence.map(({ type, atMs, traceId: trace }) => [type, atMs, trace]),
    [
      ['KeyVersionDisabled', lostMs, traceId],
      ['VmStopping', lostMs + 50, traceId],
    ],
  );
});

test('G2, CMK-100: reports a machine that keeps running under a lost key, unless a disturbance explains it', () => {
  assert.deepEqual(failing(recording([later])), ['G2 other', 'CMK-100 stops']);
  const disturbances = [{ parts: ['compute'] as const, fromMs: lostMs - 10 }];
  assert.deepEqual(failing(recording([later], { disturbances })), []);
});

test('G3, CMK-102, CMK-111: reports a machine that stops without a reason', () => {
  const ultra = event('vm-ultra', lostMs + 50, 'VmStopping', { reason: { ...keyLoss, disk: 'd2' } });
  assert.deepEqual(failing(recording([...stopped, ultra, later])), ['G3 ultra', 'CMK-102 ultra']);
  const restarted = [{ parts: ['disk'] as const, fromMs: lostMs + 1, toMs: lostMs + 20, restarted: 'disk' as const }];
  assert.deepEqual(failing(recording([...stopped, ultra, later], { disturbances: restarted })), []);
  const other = event('vm-other', lostMs + 50, 'VmStopping', { reason: { ...keyLoss, disk: 'd3' } });
  assert.deepEqual(failing(recording([...stopped, other])), ['CMK-111 other']);
});

test('CMK-110: a machine that attaches a disk under the key at the moment of the loss may stop or not', () => {
  const disk = { disk: 'd4', sku: 'PREMIUM_SSD', isOs: false, lun: 1 };
  const attaching = event('vm-other', lostMs - 10, 'DiskAttaching', { disk });
  const created = event('disk-d4', 15, 'DiskCreated', {
    sku: 'premium_ssd',
    encryption: { type: 'customer', set },
    keyVersion,
    volume: { volumeId: 'd4', headerSequence: 1 },
  });
  const reason = { ...keyLoss, disk: 'd4' };
  const stop = event('vm-other', lostMs + 50, 'VmStopping', { reason });
  for (const after of [[], [stop]]) {
    const { events, ...rest } = recording([...stopped, attaching, ...after]);
    const compute = (events.compute ?? []).toSorted((a, b) => a.time - b.time);
    assert.deepEqual(failing({ ...rest, events: { ...events, compute, disk: [...(events.disk ?? []), created] } }), []);
  }
});

test('G4, CMK-106: a start during the loss must fail', () => {
  const start = event('vm-stops', lostMs + 1_000, 'VmStarting');
  const failed = event('vm-stops', lostMs + 1_010, 'VmStartFailed', { failure: { code: 'KEY_DISABLED' } });
  assert.deepEqual(failing(recording([...stopped, start, failed, later])), []);
  const ran = event('vm-stops', lostMs + 1_010, 'VmStarted');
  assert.deepEqual(failing(recording([...stopped, start, ran])), ['G4 stops', 'CMK-106 stops']);
});

test('G10: reports a stop that does not name the trace of its cause', () => {
  const reason = { ...keyLoss, traceId: 'f'.repeat(32) };
  assert.deepEqual(failing(recording([event('vm-stops', lostMs + 50, 'VmStopping', { reason })])), [
    'G10 stops',
    'G10 stops',
  ]);
});

test('G10: a machine that stopped because the vault was unreachable must name the loss once the vault is back', () => {
  const disturbances = [{ parts: ['key-vault'] as const, fromMs: lostMs - 10, toMs: lostMs + 20_000 }];
  const reason = { ...keyLoss, reason: 'KEY_VAULT_UNREACHABLE', accessEpoch: 0 };
  const outage = [
    event('vm-stops', lostMs + 12_000, 'VmStopping', { reason }),
    event('vm-stops', lostMs + 12_040, 'VmStopped', { reason }),
  ];
  const explained = event('vm-stops', lostMs + 21_000, 'OutageExplained', { loss: keyLoss, disks: ['d1'] });
  assert.deepEqual(failing(recording([...outage, later], { disturbances })), ['G10 stops']);
  assert.deepEqual(failing(recording([...outage, explained, later], { disturbances })), []);
});

/** `stops` was stopped with another loss than the true one. */
const stoppedFor = (change: Partial<typeof keyLoss>) => {
  const reason = { ...keyLoss, ...change };
  const events = [
    event('vm-stops', lostMs + 50, 'VmStopping', { reason }),
    event('vm-stops', lostMs + 90, 'VmStopped', { reason }),
  ];
  return failing(recording([...events, later]));
};

test('G10: a stop must show the true reason and the trace of the true cause', () => {
  assert.deepEqual(stoppedFor({}), []);
  assert.deepEqual(stoppedFor({ reason: 'KEY_DELETED' }), ['G10 stops']);
  assert.deepEqual(stoppedFor({ traceId: '1af7651916cd43dd8448eb211c80319c' }), ['G10 stops', 'G10 stops']);
  assert.ok(stoppedFor({ set: 'sets/other' }).includes('G10 stops'));
  assert.ok(stoppedFor({ keyVersion: `${keyVersion}0` }).includes('G10 stops'));
});

test('G10: a refused start and a lost disk must show the true reason', () => {
  const shown = (type: 'VmStartFailed' | 'NextStartBlocked', reason: string) =>
    failing(
      recording([
        ...stopped,
        event('vm-ultra', lostMs + 100, type, {
          failure: { code: reason },
          blocked: [{ ...keyLoss, reason, disk: 'd2' }],
        }),
        later,
      ]),
    );
  for (const type of ['VmStartFailed', 'NextStartBlocked'] as const) {
    assert.deepEqual(shown(type, 'KEY_DISABLED'), [], type);
    assert.deepEqual(shown(type, 'KEY_DELETED'), ['G10 ultra'], type);
  }
});

test('G10: a set must publish the true reason', () => {
  const of = recording([...stopped, later]);
  const lost = event(`set-${set}`, lostMs + 10, 'KeyAccessLost', { reason: 'KEY_DELETED', keyVersion });
  const sets = [...(of.events['disk-encryption-set'] ?? []), lost];
  assert.deepEqual(failing({ ...of, events: { ...of.events, 'disk-encryption-set': sets } }), [`G10 ${set}`]);
});

/** What a user's snapshot was refused for. */
const refusedAt = (atMs: number, change: Partial<RefusedOperation> = {}): RefusedOperation => ({
  ...{ step: 'snapshot', atMs, reason: 'KEY_DISABLED', set, keyVersion, message: 'refused' },
  ...change,
});

/** What the refusals should have named, of a key that is lost for ten seconds. */
const wrongRefusals = (...refusals: readonly RefusedOperation[]): readonly (string | undefined)[] => {
  const { events, ...rest } = recording([...stopped, event('vm-other', lostMs + 200_000, 'VmKeptOff')], { refusals });
  const enabled = event('key-vaults/kv/keys/k', lostMs + 10_000, 'KeyVersionEnabled', { version: '1' });
  const keyVault = [...(events['key-vault'] ?? []), enabled];
  return replay({ ...rest, events: { ...events, 'key-vault': keyVault } }).refusals.map(({ wrong }) => wrong?.actual);
};

test('CMK-105, G10: an operation is refused for the reason for which its key was lost', () => {
  assert.deepEqual(wrongRefusals(refusedAt(lostMs + 1), refusedAt(lostMs + 9_000)), [undefined, undefined]);
  assert.deepEqual(wrongRefusals(refusedAt(lostMs + 11_000)), [undefined], 'the set does not know yet that it is back');
});

for (const [title, change] of [
  ['before its key was lost', { atMs: lostMs - 1 }],
  ['long after its key was given back', { atMs: lostMs + 90_000 }],
  ['for another reason', { reason: 'KEY_DELETED' }],
  ['for an outage, which is no refusal of the vault', { reason: 'KEY_VAULT_UNREACHABLE' }],
  ['for another version', { keyVersion: 'vaults/kv/keys/k/versions/2' }],
  ['for another set', { set: 'sets/other' }],
  ['without naming its key', { set: '', keyVersion: '' }],
] as const)
  test(`CMK-105, G10: an operation that is refused ${title} is found`, () => {
    const refused = refusedAt(lostMs + 1_000, change);
    assert.deepEqual(wrongRefusals(refused), [refused.reason]);
  });

test('CMK-105, G1: a snapshot that is made under a key that was lost is found', () => {
  const made = (acceptedMs: number): readonly string[] => {
    const { events, ...rest } = recording([...stopped, event('vm-other', lostMs + 60_000, 'VmKeptOff')]);
    const stream = 'snapshot-s1';
    const snapshot = [
      event(stream, acceptedMs, 'SnapshotCreating', { sourceDisk: 'd1', volumeId: 's1' }),
      event(stream, acceptedMs + 500, 'SnapshotCreated', {
        encryption: { type: 'customer', set },
        keyVersion,
        volume: { volumeId: 's1', headerSequence: 1 },
      }),
    ];
    return failing({ ...rest, events: { ...events, disk: [...(events.disk ?? []), ...snapshot] } });
  };
  assert.deepEqual(made(lostMs - 1), []);
  assert.deepEqual(made(lostMs + terms.leases.ttlMs - 1), [], 'within the bound');
  assert.deepEqual(made(lostMs + terms.leases.ttlMs + 1), ['G1 s1']);
});
