import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { Session } from '../session/session.ts';
import { type Answers, testProgram } from '../session/test-session.ts';
import { probeDiskHosts, probeLeases, probePower, probeServices, showFindings } from './probe.ts';
import { run } from './run.ts';

/** The session that a probe gets, with services that return these responses. */
const sessionWith = async (answers: Answers): Promise<{ session: Session }> => {
  const { promise, resolve } = Promise.withResolvers<Session>();
  await testProgram(answers, { onProbe: resolve }).run('probe', 'services');
  return { session: await promise };
};

const set = 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1';
const lease = (state: string, ageMs: number) => ({
  diskEncryptionSet: set,
  keyVersion: 'vaults/v/keys/k/versions/1',
  state,
  ageMs: String(ageMs),
});

test('services pass the probe unless one has consumer lag, parked facts, a gone replica, a failing relay or a hold', async () => {
  const calm: Answers = { GetRelay: { gap: '0' }, ListConsumers: { consumers: [{ gap: '0', parkedCount: 0 }] } };
  const { session } = await sessionWith(calm);
  assert.ok((await probeServices(session, 0)).every(({ isSo }) => isSo));

  const unsteady: readonly (readonly [Answers, RegExp])[] = [
    [{ ...calm, ListConsumers: { consumers: [{ gap: '3', parkedCount: 0 }] } }, /3 facts behind/],
    [{ ...calm, ListConsumers: { consumers: [{ gap: '0', parkedCount: 1 }] } }, /1 parked/],
    [
      {
        ...calm,
        ListReplicas: { replicas: [{ name: 'replicas/r1', state: 'GONE', goneTime: '2026-01-01T00:00:00Z' }] },
      },
      /0 parked: r1 is gone since 2026/,
    ],
    [{ ...calm, GetRelay: { failingSince: '2026-01-01T00:00:00Z' } }, /published nothing since 2026/],
  ];
  for (const [answers, words] of unsteady) {
    const found = await probeServices((await sessionWith(answers)).session, 0);
    const ofServices = found.filter(({ text }) => !/^(postgres|nats) /.test(text));
    assert.ok(ofServices.every(({ isSo, text }) => !isSo && words.test(text)));
  }
  const held = { ...calm, GetHold: { hold: { holdId: 'restore-1', reason: 'ASKED_FOR' } } };
  const onHold = (await probeServices((await sessionWith(held)).session, 0)).filter(({ isSo }) => !isSo);
  assert.deepEqual(
    onHold.map(({ text }) => text),
    [
      'key-vault is on hold, 0 facts behind, 0 parked: no key may be used since undefined: ASKED_FOR, hold restore-1 (interlock hold show)',
    ],
  );
  const behind = await sessionWith({ ...calm, ListConsumers: { consumers: [{ gap: '3', parkedCount: 0 }] } });
  assert.ok(
    (await probeServices(behind.session, 3)).every(({ isSo }) => isSo),
    'as many as were allowed',
  );
});

test('a service that does not respond is a finding, and the others are still reported', async () => {
  const calm: Answers = { GetRelay: { gap: '0' }, ListConsumers: { consumers: [] } };
  const { session } = await sessionWith(calm);
  const silent: Partial<Record<string, Error>> = {
    disk: new RpcFailure('UNAVAILABLE', 'GetRelay', 'p', 'connect ECONNREFUSED'),
    compute: new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'the event store cannot be reached'),
    identity: new TypeError('defect'),
  };
  const without = (...names: readonly string[]) => ({
    ...session,
    caller: {
      call: async (...call: Parameters<Session['caller']['call']>) => {
        const outage = names.includes(call[0]) ? silent[call[0]] : undefined;
        if (outage) throw outage;
        return session.caller.call(...call);
      },
    },
  });
  const found = await probeServices(without('disk', 'compute'), 0);
  assert.deepEqual(
    found.filter(({ isSo }) => isSo).map(({ text }) => text.split(' ')[0]),
    ['identity', 'key-vault', 'disk-encryption-set', 'nats'],
  );
  assert.match(found.map(({ text }) => text).join('\n'), /^disk is unreachable, .*ECONNREFUSED$/m);
  assert.match(found.map(({ text }) => text).join('\n'), /^compute is no store, .*: cannot reach Postgres$/m);
  assert.match(found.map(({ text }) => text).join('\n'), /^postgres is failing: compute cannot reach it$/m);
  await assert.rejects(probeServices(without('identity'), 0), TypeError);
});

test('leases pass the probe unless one is paused or held for too long, on every page', async () => {
  const { session } = await sessionWith({
    ListLeases: [
      { leases: [lease('HELD', 1_000)], nextPageToken: 'more' },
      { leases: [lease('HELD', 61_000), lease('PAUSED', 70_000), lease('LOST', 0), lease('PINNED', 90_000)] },
    ],
  });
  const found = await probeLeases(session, 60_000);
  assert.deepEqual(
    found.map(({ isSo }) => isSo),
    [true, false, false, true, true],
  );
});

test('a machine passes the probe in the requested power state only', async () => {
  const { session } = await sessionWith({ GetVirtualMachine: { powerState: 'RUNNING' } });
  assert.deepEqual(await probePower(session, 'RUNNING', ['vm1']), [{ isSo: true, text: 'vm1 is RUNNING' }]);
  assert.deepEqual(await probePower(session, 'STOPPED', ['vm1']), [{ isSo: false, text: 'vm1 is RUNNING' }]);
});

test('a disk host passes the probe if it responds, is open and has room; one that was named, or all', async () => {
  const host = (number: number, more: JsonObject = {}) => ({
    ...{ name: `diskHosts/disk-${number}`, state: 'OPEN', liveness: 'SERVING', diskCount: '2' },
    ...{ capacityBytes: '1000', freeBytes: '500', ...more },
  });
  const { session } = await sessionWith({
    ListDiskHosts: {
      diskHosts: [
        host(0),
        host(1, { liveness: 'UNREACHABLE' }),
        host(2, { state: 'CORDONED' }),
        host(3, { freeBytes: '99' }),
        host(4, { capacityBytes: '0', freeBytes: '0' }),
      ],
    },
    GetDiskHost: host(7),
  });
  const found = await probeDiskHosts(session, []);
  assert.deepEqual(
    found.map(({ isSo }) => isSo),
    [true, false, false, false, true],
  );
  assert.equal(found[1]?.text, 'disk-1 is OPEN and UNREACHABLE, 2 disks, 0 snapshots, 50 % free');
  assert.deepEqual(await probeDiskHosts(session, ['disk-7']), [
    { isSo: true, text: 'disk-7 is OPEN and SERVING, 2 disks, 0 snapshots, 50 % free' },
  ]);
});

test('a finding that fails is shown as NOT OK, and an empty list as nothing to check', async () => {
  const lines: string[] = [];
  const { session } = await sessionWith({});
  const shown = { ...session, terminal: { ...session.terminal, out: (text: string) => lines.push(text) } };
  assert.equal(
    showFindings(shown, [
      { isSo: true, text: 'a' },
      { isSo: false, text: 'b' },
    ]),
    false,
  );
  assert.equal(showFindings(shown, []), true);
  assert.deepEqual(lines, ['ok      a', 'NOT OK  b', 'ok      nothing to check']);
});

test('a probe that cannot run ends with 1, a usage error with 2', async () => {
  const said: string[] = [];
  const terminal = {
    out: () => undefined,
    err: (text: string) => said.push(text),
    screen: () => undefined,
    outBytes: async () => undefined,
    in: async function* () {},
    readFile: () => Buffer.alloc(0),
    writeFile: async () => undefined,
    newFile: (path: string) => ({ path, write: () => undefined, discard: () => undefined }),
  };
  const nowhere = { INTERLOCK_DATA: '/nonexistent/interlock' };
  assert.equal(await run(['probe', 'services'], nowhere, terminal), 1);
  assert.match(said.join('\n'), /no cloud runs/);
  assert.equal(await run(['probe', 'leases', '--json'], nowhere, terminal), 1);
  assert.equal(JSON.parse(said.at(-1) ?? '').error.reason, 'NO_CLOUD', 'to a program as every other failure');
  assert.equal(await run(['probe', 'running'], nowhere, terminal), 2);
});

test('a refusal is not a finding: it ends the probe with an error', async () => {
  const { session } = await sessionWith({
    GetVirtualMachine: new Rejection('NOT_FOUND', 'VM_NOT_FOUND', 'no such machine'),
  });
  await assert.rejects(probePower(session, 'RUNNING', ['vm1']), Rejection);
});
