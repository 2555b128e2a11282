import assert from 'node:assert/strict';
import { test } from 'node:test';
import { versionOf } from '../testing/test-neighbour-keys.ts';
import type { FakeDisk } from '../testing/test-neighbour-state.ts';
import { creatingSet, grantAt, keyReference, newSet, setName, type TestSets, testCause } from '../testing/test-sets.ts';
import { loseKey } from './access.ts';
import { ofKey, ofVault, ofVersion } from './change-scope.ts';
import { completeCreation, create } from './decider.ts';
import { beginning, type Event, placeOf, placeText, previewImpact } from './impact.ts';
import { assignKey } from './key-change.ts';
import { changeOptions } from './options.ts';

const key = 'vaults/kv1/keys/k1';
const otherSet = `${setName}-other`;

/** Two sets under versions 1 and 2 of one key. */
const world = async (): Promise<TestSets> => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(2));
  const principal = 'principals/00000000-0000-4000-8000-000000000009';
  await parts.sets.transact(otherSet, create(1, { ...newSet, principal }, keyReference('2')), testCause);
  await parts.sets.transact(otherSet, completeCreation(2), testCause);
  return parts;
};
const disk = (set: string, digit: string, more: Partial<FakeDisk> = {}): FakeDisk => ({
  set,
  keyVersion: versionOf(digit),
  generation: 1,
  ...more,
});

/** The whole preview, read in pages of that size. @returns `<kind> <resource>` for each line */
const preview = async (parts: TestSets, event: Event, pageSize = 100): Promise<string[]> => {
  const lines: string[] = [];
  for (let place: typeof beginning | undefined = beginning; place !== undefined; ) {
    const page: Awaited<ReturnType<typeof previewImpact>> = await previewImpact(
      parts,
      event,
      place,
      pageSize,
      testCause,
    );
    assert.ok(page.impacts.length <= pageSize, 'a page holds no more than asked for');
    lines.push(...page.impacts.map(({ kind, resource }) => `${kind} ${resource}`));
    place = page.next && placeOf(placeText(page.next));
  }
  return lines;
};

test('a preview lists every set under the key, with its machines, disks and snapshots, and nothing else', async () => {
  const parts = await world();
  parts.neighbours.stock.set('g/disks/a', disk(setName, '1'));
  parts.neighbours.stock.set('g/disks/b', disk(otherSet, '2', { sku: 'ULTRA', managedBy: 'vm2', openByMachine: true }));
  parts.neighbours.stock.set('g/snapshots/s', disk(setName, '1'));
  parts.neighbours.fleet.set('vm1', ['g/disks/a']);
  parts.neighbours.fleet.set('vm2', ['g/disks/b']);
  const ofOne = [
    `SET_LOSES_KEY ${setName}`,
    'VIRTUAL_MACHINE_STOPS vm1',
    'DISK_UNAVAILABLE g/disks/a',
    'SNAPSHOT_UNAVAILABLE g/snapshots/s',
  ];
  const ofOther = [`SET_LOSES_KEY ${otherSet}`, 'VIRTUAL_MACHINE_STOPS vm2', 'DISK_UNAVAILABLE_ONCE_STOPPED g/disks/b'];
  assert.deepEqual(await preview(parts, { action: 'DISABLE', reach: ofVersion(versionOf('1')) }), ofOne);
  assert.deepEqual(await preview(parts, { action: 'DELETE', reach: ofKey(key) }), [...ofOne, ...ofOther]);
  assert.deepEqual(await preview(parts, { action: 'DELETE', reach: ofVault('vaults/kv1') }), [...ofOne, ...ofOther]);
  assert.deepEqual(await preview(parts, { action: 'DELETE', reach: ofKey('vaults/kv1/keys/none') }), []);
});

test('CMK-112: during a rotation a preview lists only what is still under the version', async () => {
  const parts = await world();
  parts.neighbours.stock.set('g/disks/moved', disk(setName, '2', { generation: 2 }));
  parts.neighbours.stock.set('g/disks/waiting', disk(setName, '1'));
  parts.neighbours.fleet.set('vm-moved', ['g/disks/moved']);
  parts.neighbours.fleet.set('vm-waiting', ['g/disks/waiting']);
  await parts.decide(assignKey(3, keyReference('2'), grantAt(1)));
  assert.deepEqual(await preview(parts, { action: 'DISABLE', reach: ofVersion(versionOf('1')) }), [
    `SET_LOSES_KEY ${setName}`,
    'VIRTUAL_MACHINE_STOPS vm-waiting',
    'DISK_UNAVAILABLE g/disks/waiting',
  ]);
});

test('CMK-108: a purge makes everything under the key unreadable for good, also if the set has another key since', async () => {
  const parts = await world();
  parts.neighbours.stock.set('g/disks/lost', disk(setName, '1'));
  parts.neighbours.stock.set('g/snapshots/lost', disk(setName, '1'));
  const lost = ['DISK_UNREADABLE g/disks/lost', 'SNAPSHOT_UNREADABLE g/snapshots/lost'];
  const event: Event = { action: 'PURGE', reach: ofVersion(versionOf('1')) };
  assert.deepEqual((await preview(parts, event)).slice(1), lost);
  const areAlready = async () =>
    (await previewImpact(parts, event, beginning, 100, testCause)).impacts.map(({ already }) => already);
  assert.deepEqual(await areAlready(), [false, false, false]);
  await parts.decide(loseKey(4, { keyVersion: versionOf('1'), reason: 'KEY_PURGED', epoch: 9, since: 4, traceId: '' }));
  assert.deepEqual(await areAlready(), [true, true, true]);
  await parts.decide(assignKey(5, keyReference('2'), grantAt(10)));
  assert.deepEqual((await preview(parts, event)).slice(1), lost, 'nothing moves away from a purged key');
});

test('CMK-104: an expiry under NEXT_START stops no machine, and takes no disk from one that runs', async () => {
  const parts = await world();
  parts.neighbours.stock.set(
    'g/disks/a',
    disk(setName, '1', { sku: 'PREMIUM_SSD', managedBy: 'vm1', openByMachine: true }),
  );
  parts.neighbours.fleet.set('vm1', ['g/disks/a']);
  await parts.decide(changeOptions(3, { keyExpiry: 'next_start' }));
  const reach = ofVersion(versionOf('1'));
  assert.deepEqual((await preview(parts, { action: 'EXPIRE', reach })).slice(1), [
    'VIRTUAL_MACHINE_FAILS_AT_NEXT_START vm1',
    'DISK_UNAVAILABLE_ONCE_STOPPED g/disks/a',
  ]);
  assert.deepEqual((await preview(parts, { action: 'DISABLE', reach })).slice(1), [
    'VIRTUAL_MACHINE_STOPS vm1',
    'DISK_UNAVAILABLE g/disks/a',
  ]);
});

test('CMK-102: an ultra disk loses its data at once if its machine is off, otherwise once the machine stops', async () => {
  const parts = await world();
  const reach = ofVersion(versionOf('1'));
  const kindWhere = async (openByMachine: boolean) => {
    parts.neighbours.stock.set('g/disks/u', disk(setName, '1', { sku: 'ULTRA', managedBy: 'vm1', openByMachine }));
    return (await preview(parts, { action: 'DISABLE', reach })).at(-1);
  };
  assert.equal(await kindWhere(false), 'DISK_UNAVAILABLE g/disks/u');
  assert.equal(await kindWhere(true), 'DISK_UNAVAILABLE_ONCE_STOPPED g/disks/u');
});

test('a preview has the same lines, each once, whatever the page size', async () => {
  const parts = await world();
  for (let n = 0; n < 23; n++) {
    const name = `g/disks/d${String(n).padStart(2, '0')}`;
    parts.neighbours.stock.set(name, disk(n % 3 === 0 ? otherSet : setName, n % 3 === 0 ? '2' : '1'));
    parts.neighbours.fleet.set(`vm${String(n).padStart(2, '0')}`, [name]);
  }
  const event: Event = { action: 'DELETE', reach: ofKey(key) };
  const whole = await preview(parts, event);
  assert.equal(whole.length, 2 + 23 + 23);
  for (const pageSize of [1, 2, 7, 1_000])
    assert.deepEqual(await preview(parts, event, pageSize), whole, `${pageSize}`);
});

test('an invalid page token is refused', () => {
  for (const text of ['', 'machines', 'elsewhere\na\nb', 'done\na\nb\nc']) {
    assert.throws(() => placeOf(text), { code: 'INVALID_ARGUMENT', reason: 'PAGE_TOKEN_INVALID' }, text);
  }
});

test('effects that already hold are marked, and so are machines that will start again automatically', async () => {
  const parts = await world();
  parts.neighbours.stock.set('g/disks/a', disk(setName, '1'));
  parts.neighbours.fleet.set('vm1', ['g/disks/a']);
  await parts.decide(changeOptions(3, { autoRestart: true }));
  const event = { action: 'DISABLE', reach: ofKey(key) } as const;
  const lines = async (of: Event): Promise<string[]> => {
    const { impacts } = await previewImpact(parts, of, beginning, 100, testCause);
    return impacts
      .filter(({ diskEncryptionSet }) => diskEncryptionSet === setName)
      .map(({ kind, already, startsAgain }) =>
        [kind, already && 'already', startsAgain && 'again'].filter(Boolean).join(' '),
      );
  };
  assert.deepEqual(await lines(event), ['SET_LOSES_KEY', 'VIRTUAL_MACHINE_STOPS again', 'DISK_UNAVAILABLE']);
  await parts.decide(
    loseKey(4, { keyVersion: versionOf('1'), reason: 'KEY_DISABLED', epoch: 9, since: 4, traceId: '' }),
  );
  assert.deepEqual(await lines(event), [
    'SET_LOSES_KEY already',
    'VIRTUAL_MACHINE_STOPS again',
    'DISK_UNAVAILABLE already',
  ]);
  const purge = await lines({ ...event, action: 'PURGE' });
  assert.ok(!purge.join().includes('already'), 'a purge is a new loss: until now the key was only disabled');
  assert.ok(purge.includes('VIRTUAL_MACHINE_STOPS'), 'a purged key never comes back, so nothing starts again with it');
});
