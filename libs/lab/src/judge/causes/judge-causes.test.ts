import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CausedBy, eventId, type JsonObject, type RecordedEvent, type StreamName } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import { judgeCauses } from './judge-causes.ts';

const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/e';
const vm = 'subscriptions/s/resourceGroups/g/virtualMachines/v';
const disk = 'subscriptions/s/resourceGroups/g/disks/d';
const keyVersion = 'vaults/kv/keys/k/versions/1';

/** Records events one after the other, each as the next version of its stream. */
const history = () => {
  const events: Partial<Record<Workload, RecordedEvent[]>> = {};
  const add = (
    service: Workload,
    stream: StreamName,
    type: string,
    causes: readonly CausedBy[],
    data: JsonObject = {},
    caller = 'system:test',
  ): string => {
    const feed = events[service] ?? [];
    events[service] = feed;
    const version = feed.filter((one) => one.stream === stream).length + 1;
    const id = eventId(stream, version);
    const place = { position: feed.length + 1, stream, version, id, time: 1_000 * (feed.length + 1) };
    feed.push({ ...place, type, schema: 1, data, cause: { correlationId: 'c', causes, caller } });
    return id;
  };
  return { events, add };
};

/** A key is disabled, a machine stops, its disk is closed. @param change changes the causes of an event, by its type */
const revocation = (change: (type: string, causes: readonly CausedBy[]) => readonly CausedBy[]) => {
  const { events, add } = history();
  const opened = [{ disk, attachEpoch: 1 }];
  const disabled = add(
    'key-vault',
    `key-vaults/kv/keys/k`,
    'KeyVersionDisabled',
    [],
    { version: '1', at: 5 },
    'principals/u',
  );
  const on = (...causes: readonly CausedBy[]) => causes;
  const starting = add('compute', `vm-${vm}`, 'VmStarting', [], {
    work: { id: 'w', kind: 'start', caller: 'principals/u' },
  });
  const open = add('disk', `disk-${disk}`, 'DiskOpened', change('DiskOpened', on({ id: starting, kind: 'call' })), {
    virtualMachine: vm,
    attachEpoch: 1,
  });
  const told = on({ id: starting, kind: 'step' }, { id: open, kind: 'answer' });
  add('compute', `vm-${vm}`, 'DisksOpened', change('DisksOpened', told), { opened });
  const lost = add(
    'disk-encryption-set',
    `set-${set}`,
    'KeyAccessLost',
    change('KeyAccessLost', on({ id: disabled, kind: 'message' })),
    { keyVersion, epoch: 1, since: 5 },
  );
  const stop = {
    work: { id: 'k', kind: 'keyStop', caller: 'system:compute' },
    reason: { set, keyVersion, since: 5, reason: 'KEY_DISABLED' },
  };
  const stopping = add(
    'compute',
    `vm-${vm}`,
    'VmStopping',
    change('VmStopping', on({ id: lost, kind: 'message' })),
    stop,
  );
  const stopped = add('compute', `vm-${vm}`, 'VmStopped', change('VmStopped', on({ id: stopping, kind: 'step' })));
  const closed = add('disk', `disk-${disk}`, 'DiskClosed', change('DiskClosed', on({ id: stopped, kind: 'call' })), {
    virtualMachine: vm,
  });
  const after = on({ id: stopped, kind: 'step' }, { id: closed, kind: 'answer' });
  add('compute', `vm-${vm}`, 'DisksClosed', change('DisksClosed', after));
  return judgeCauses(events);
};

test('G10: accepts a revocation whose stored causes are those that its events imply', () => {
  const { recall, precision, faults } = revocation((_type, causes) => causes);
  assert.deepEqual(faults, []);
  assert.deepEqual([recall, precision], [1, 1]);
});

for (const dropped of [
  'DiskOpened',
  'DisksOpened',
  'KeyAccessLost',
  'VmStopping',
  'VmStopped',
  'DiskClosed',
  'DisksClosed',
]) {
  test(`G10: reports that ${dropped} has no cause`, () => {
    const { recall, faults } = revocation((type, causes) => (type === dropped ? causes.slice(1) : causes));
    assert.ok(recall < 1);
    assert.match(faults.join('\n'), new RegExp(dropped));
  });
}

test('G10: a stop because of an expiry may name the event that the vault recorded later than the date of the key', () => {
  const { events, add } = history();
  const data = { version: '1', expiresAt: 5, at: 900 };
  const expired = add('key-vault', 'key-vaults/kv/keys/k', 'KeyVersionExpired', [], data);
  add('compute', `vm-${vm}`, 'VmStopping', [{ id: expired, kind: 'call' }], {
    work: { id: 'k', kind: 'keyStop', caller: 'system:compute' },
    reason: { set, keyVersion, since: 5, reason: 'KEY_EXPIRED' },
  });
  assert.deepEqual(
    judgeCauses(events).faults.filter((fault) => fault.includes('VmStopping')),
    [],
  );
});

for (const removed of [true, false]) {
  test(`G10: a stop during an earlier loss ${removed ? 'may name the later end of grants' : 'must not name a grant'} that a refusal was for`, () => {
    const { events, add } = history();
    add('key-vault', 'vault-kv', 'VaultDeleted', [], { at: 5 });
    const changed = add('key-vault', 'vault-kv', 'GrantsChanged', [], { principal: 'principals/p', removed, at: 900 });
    add('compute', `vm-${vm}`, 'VmStopping', [{ id: changed, kind: 'call' }], {
      work: { id: 'k', kind: 'keyStop', caller: 'system:compute' },
      reason: { set, keyVersion, since: 5, reason: 'VAULT_DELETED' },
    });
    const faults = judgeCauses(events).faults.filter((fault) => fault.includes('VmStopping'));
    assert.equal(faults.length === 0, removed, faults.join());
  });
}

test('G10: reports a cause of the wrong kind, a cause that no store has, and a cycle', () => {
  const asCall = revocation((type, causes) =>
    type === 'VmStopped' ? causes.map(({ id }) => ({ id, kind: 'call' })) : causes,
  );
  assert.ok(asCall.precision < 1);
  const dangling = revocation((type, causes) =>
    type === 'VmStopped' ? [...causes, { id: 'vm-x@1', kind: 'step' }] : causes,
  );
  assert.match(dangling.faults.join('\n'), /vm-x@1, which no store has/);
  const circle = revocation((type, causes) =>
    type === 'VmStopping' ? [...causes, { id: eventId(`vm-${vm}`, 4), kind: 'step' }] : causes,
  );
  assert.match(circle.faults.join('\n'), /is among its own causes/);
});

test('G10: a loss that a commit stores with the removal of the identity follows from that removal, and from nothing else', () => {
  const faultsOf = (causesOfLoss: (removed: string) => readonly CausedBy[]) => {
    const { events, add } = history();
    const stream: StreamName = `set-${set}`;
    const removed = add('disk-encryption-set', stream, 'IdentityRemoved', [], {}, 'principals/u');
    for (const version of ['1', '2', '3', '4', '5', '6']) {
      const data = { keyVersion: `vaults/kv/keys/k/versions/${version}`, epoch: 9, since: 5 };
      add('disk-encryption-set', stream, 'KeyAccessLost', causesOfLoss(removed), data, 'principals/u');
      // An earlier event of the key, which such a loss does not name.
      add('key-vault', 'key-vaults/kv/keys/k', 'KeyVersionCreated', [], { version }, 'principals/u');
    }
    const oneCommit = (events['disk-encryption-set'] ?? []).map((event) => ({ ...event, time: 1_000 }));
    return judgeCauses({ ...events, 'disk-encryption-set': oneCommit }).faults;
  };
  assert.deepEqual(
    faultsOf((removed) => [{ id: removed, kind: 'step' }]),
    [],
  );
  // One line for each of the six losses that names nothing, although the removal came before it.
  assert.equal(faultsOf(() => []).length, 6);
});

test('G10: a move may name that the volume of the last move was removed for it, and no other removal', () => {
  const faultsOf = (nameOf: (removals: readonly string[]) => string | undefined): readonly string[] => {
    const { events, add } = history();
    const stream: StreamName = `disk-${disk}`;
    const removals = [1, 2].map(() => {
      const failed = add('disk', stream, 'VolumeMoveFailed', []);
      return add('disk', stream, 'FormerVolumeRemoved', [{ id: failed, kind: 'step' }]);
    });
    const named = nameOf(removals);
    const causes: readonly CausedBy[] = named === undefined ? [] : [{ id: named, kind: 'answer' }];
    add('disk', stream, 'VolumeMoving', causes, {}, 'principals/u');
    return judgeCauses(events).faults.filter((fault) => fault.includes('VolumeMoving'));
  };
  assert.deepEqual(
    faultsOf(() => undefined),
    [],
  );
  assert.deepEqual(
    faultsOf(([, last]) => last),
    [],
  );
  assert.equal(faultsOf(([first]) => first).length, 1);
});

test('G10: a move that a drain began names the drain, or what it removed first', () => {
  const faultsOf = (kind: CausedBy['kind'], nameOf: (ids: Readonly<Record<string, string>>) => string | undefined) => {
    const { events, add } = history();
    const drain = add('disk', 'diskhost-disk-0', 'DiskHostDraining', [], {}, 'principals/u');
    const failed = add('disk', `disk-${disk}`, 'VolumeMoveFailed', []);
    const removed = add('disk', `disk-${disk}`, 'FormerVolumeRemoved', [{ id: failed, kind: 'step' }]);
    const named = nameOf({ drain, failed, removed });
    add('disk', `disk-${disk}`, 'VolumeMoving', named === undefined ? [] : [{ id: named, kind }]);
    return judgeCauses(events).faults.filter((fault) => fault.includes('VolumeMoving')).length;
  };
  assert.equal(
    faultsOf('step', ({ drain }) => drain),
    0,
  );
  assert.equal(
    faultsOf('step', ({ removed }) => removed),
    0,
  );
  assert.notEqual(
    faultsOf('step', ({ failed }) => failed),
    0,
  );
  assert.notEqual(
    faultsOf('step', () => undefined),
    0,
  );
});
