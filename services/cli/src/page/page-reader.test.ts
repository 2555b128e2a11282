import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sleepingClock } from '../session/test-session.ts';
import { LiveRows } from './live-rows.ts';
import { PageReader } from './page-reader.ts';
import type { AuditRow, CloudRow, PageMachine } from './rows.ts';
import { group, short, TestCloud } from './test-cloud.ts';

/** A reader of a cloud, with what a viewer that reads everything has. */
function testReader(count: number) {
  const clock = sleepingClock();
  const cloud = new TestCloud(count, clock.now);
  const rows = new LiveRows();
  const reader = new PageReader({ caller: cloud, rows, clock, parent: group, title: 'g', windowMs: 600_000, short });
  let sent = 0;
  const has = new Map<string, unknown>();
  /** Reads once. @returns names of the rows that changed */
  const look = async (): Promise<readonly string[]> => {
    await clock.sleep(1_000);
    await reader.look();
    const part = rows.since(sent, Number.POSITIVE_INFINITY);
    if (part === undefined) return [];
    sent = part.upTo;
    const changed = JSON.parse(part.text).rows;
    for (const [name, row] of Object.entries(changed)) has.set(name, row);
    return Object.keys(changed);
  };
  return { cloud, clock, rows, look, has };
}

const vm1 = `${group}/virtualMachines/vm1`;

test('the page knows from stored events what happened before it was opened', async () => {
  const { cloud, clock, look, has } = testReader(2);
  cloud.disable();
  await clock.sleep(5_000);
  cloud.restore();
  await look();
  const power = has.get(`power ${vm1}`) as { state: string; reason: string }[];
  assert.deepEqual(
    power.map(({ state, reason }) => `${state} ${reason}`.trim()),
    ['starting', 'running', 'stopping KEY_DISABLED', 'stopped KEY_DISABLED'],
  );
  const changes = has.get('changes') as { step: { action: string; undoes?: string } }[];
  assert.deepEqual(
    changes.map(({ step }) => step.action),
    ['disable-key', 'enable-key'],
  );
  assert.equal(changes[1]?.step.undoes, 'change 1');
  assert.ok(has.has(`good ${vm1}`), 'the last good write is read from the journal');
});

test('a change of a key reaches the rows of its sets, machines and audit, and a quiet cloud changes no row', async () => {
  const { cloud, look, has } = testReader(2);
  await look();
  assert.equal((has.get('cloud') as CloudRow).boundMs, 60_000);
  await look();
  assert.deepEqual(await look(), [], 'no change: counters of guests and times of leases are not rows');
  cloud.disable();
  const changed = await look();
  assert.ok(changed.includes(`set ${group}/diskEncryptionSets/des1`));
  assert.ok(!changed.some((name) => name.endsWith('/vm0')), 'the machine under another key did not change');
  const machine = has.get(`machine ${vm1}`) as PageMachine;
  assert.deepEqual([machine.power, machine.reason, machine.loss?.reason], ['STOPPED', 'KEY_DISABLED', 'KEY_DISABLED']);
  const audit = [...has].filter(([name]) => name.startsWith('audit ')).map(([, row]) => row as AuditRow);
  assert.deepEqual(
    audit.map(({ operation, isGranted, reason, by, count }) => [operation, isGranted, reason, by, count]),
    [
      ['KeyUpdate', true, '', 'Olga (00000000…)', 1],
      ['KeyCheckAccess', false, 'KEY_DISABLED', 'Olga (00000000…)', 3],
    ],
  );
});

test('a machine that stops while the machines are listed is shown as stopped', async () => {
  const { cloud, look, has } = testReader(2);
  await look();
  let isAsked = false;
  cloud.afterAnswer = (method) => {
    if (isAsked || method !== 'ListVirtualMachines') return;
    isAsked = true;
    cloud.disable();
  };
  await look();
  const { power, reason } = has.get(`machine ${vm1}`) as PageMachine;
  assert.deepEqual([isAsked, power, reason], [true, 'STOPPED', 'KEY_DISABLED']);
});

test('the audit log is read when something happened, and rarely otherwise, because reading it adds an entry', async () => {
  const { cloud, look, has } = testReader(1);
  const reads = (): number => cloud.calls.get('ListAuditEntries') ?? 0;
  for (let n = 0; n < 3; n++) await look();
  const before = reads();
  for (let n = 0; n < 10; n++) await look();
  assert.equal(reads(), before, 'within 15 s');
  cloud.disable();
  await look();
  assert.equal(reads(), before + 1);
  for (let n = 0; n < 30; n++) await look();
  assert.ok(reads() <= before + 5, `${reads() - before} in 31 s`);
  assert.ok([...has.keys()].some((name) => name.startsWith('audit ')));
  assert.ok(![...has.values()].some((row) => JSON.stringify(row)?.includes('VaultAuditList')));
});

test('what is known of a cloud stays when it ends, and it continues when it returns', async () => {
  const { cloud, look, has } = testReader(2);
  await look();
  cloud.end(true);
  assert.deepEqual(await look(), ['cloud']);
  assert.equal((has.get('cloud') as CloudRow).state, 'gone');
  assert.equal((has.get(`machine ${vm1}`) as PageMachine).power, 'RUNNING');
  cloud.disable();
  cloud.end(false);
  await look();
  assert.equal((has.get('cloud') as CloudRow).state, 'live');
  assert.equal((has.get(`machine ${vm1}`) as PageMachine).power, 'STOPPED');
});

test('what the caller may not read is listed, and the rest is shown', async () => {
  const { cloud, look, has } = testReader(2);
  cloud.refuse('ReadEvents', 'ListAuditEntries');
  await look();
  const { state, unread } = has.get('cloud') as CloudRow;
  assert.equal(state, 'live');
  assert.deepEqual(
    unread.map((one) => one.replace(/:.*no right/, ': no right')),
    [
      'stored events of compute: no right to call ReadEvents',
      'stored events of key-vault: no right to call ReadEvents',
      'audit log: no right to call ListAuditEntries',
    ],
  );
  const power = has.get(`power ${vm1}`) as { state: string }[];
  assert.deepEqual(
    power.map((one) => one.state),
    ['running'],
    'as compute lists it',
  );
});

test('2,500 machines: a reading without changes changes no row, and journals of few machines are read', async () => {
  const { cloud, look } = testReader(2_500);
  const first = await look();
  assert.equal(first.filter((name) => name.startsWith('machine ')).length, 2_501);
  assert.ok(first.filter((name) => name.startsWith('power ')).length === 2_501);
  assert.deepEqual(await look(), []);
  cloud.disable();
  const changed = await look();
  assert.equal(changed.filter((name) => name.startsWith('power ')).length, 2_500);
  // Of 12 machines that stopped, and in each of three readings of two under the key and of the only one that is not.
  assert.equal(cloud.calls.get('ReadGuestJournal'), 12 + 3 * 3);
});

test('disk hosts are shown with their disks, also without any; the disks name them if the caller may list none', async () => {
  const { cloud, look, has } = testReader(2);
  await look();
  assert.deepEqual(has.get('host diskHosts/h1'), { name: 'diskHosts/h1', state: 'HOST_SERVING', diskCount: 3 });
  assert.deepEqual(has.get('host diskHosts/h2'), { name: 'diskHosts/h2', state: 'HOST_UNREACHABLE', diskCount: 0 });
  cloud.forbid('ListDiskHosts');
  await look();
  assert.equal(has.get('host diskHosts/h2'), null);
  assert.deepEqual(has.get('host diskHosts/h1'), { name: 'diskHosts/h1', state: 'HOST_SERVING', diskCount: 3 });
  assert.deepEqual((has.get('cloud') as CloudRow).unread, []);
});
