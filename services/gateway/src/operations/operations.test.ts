import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore, rowKeeper } from '@interlock/event-store';
import { type Clock, logger, seededRandom, type VirtualClock, virtualClock } from '@interlock/runtime';
import { callerOf } from '../cloud/caller.ts';
import { testNames as names, testSubscription } from '../cloud/test-names.ts';
import { RestError } from '../errors/rest-error.ts';
import type { RouteReply } from '../http/route.ts';
import { records } from '../records/record.ts';
import { openRecords } from '../records/records.ts';
import type { Work } from './operation.ts';
import { openOperations } from './operations.ts';
import { operationRoutes } from './routes.ts';

const callerWith = (principal: string) =>
  callerOf({ principal, tenant: 't', correlationId: 'c', address: '127.0.0.1', tokens: {} });
const caller = callerWith('p');
const request = { query: { 'api-version': '2024-11-01' }, origin: 'https://localhost:8443' };

const workOf = (run: () => Promise<RouteReply>): Work => ({
  action: 'disks/write',
  target: 'subscriptions/dev/resourceGroups/g1/disks/d1',
  location: 'westeurope',
  family: 'DiskOperations',
  accepted: { status: 202 },
  run,
});

/** A gateway's store, and the operations of any number of its processes. */
const openStore = async () => {
  const clock = virtualClock();
  const log = logger({ service: 'test', clock, write: () => undefined });
  const keeper = rowKeeper({ store: memoryStore({ clock }), clock, log });
  const stored = openRecords(await keeper.open(records), clock);
  const random = seededRandom(1);
  const outcomeOf = async () => ({ status: 'Succeeded', at: clock.now(), output: null }) as const;
  const open = (own: Clock = clock) =>
    openOperations({ records: stored, names, clock: own, random, log, holdMs: 2_000, outcomeOf });
  return { clock, open };
};

/** Starts work that outlasts its request. @returns the id of the operation */
const goAsync = async (operations: ReturnType<typeof openOperations>, clock: VirtualClock, work: Work) => {
  const reply = await clock.drive(operations.run(work, request, caller));
  const url = reply.headers?.['azure-asyncoperation'] ?? '';
  assert.match(
    url,
    /\/providers\/Microsoft\.Compute\/locations\/westeurope\/DiskOperations\/[0-9a-f-]{36}\?api-version=/,
  );
  assert.equal(reply.headers?.['retry-after'], '1', 'without it the command line waits 30 s');
  return /DiskOperations\/([^?]*)/.exec(url)?.[1] ?? '';
};

test('work that ends within the hold time is a synchronous reply, or its refusal', async () => {
  const { clock, open } = await openStore();
  const operations = open();
  const reply = await clock.drive(
    operations.run(
      workOf(async () => ({ status: 200, body: 'x' })),
      request,
      caller,
    ),
  );
  assert.deepEqual(reply, { status: 200, body: 'x' });
  const refused = workOf(() => Promise.reject(new RestError(409, 'Conflict', 'no')));
  await assert.rejects(clock.drive(operations.run(refused, request, caller)), { code: 'Conflict' });
});

test('longer work is an operation: every unfinished poll has Retry-After, then output or error', async () => {
  const { clock, open } = await openStore();
  const operations = open();
  const good = Promise.withResolvers<RouteReply>();
  const bad = Promise.withResolvers<RouteReply>();
  const goodId = await goAsync(
    operations,
    clock,
    workOf(() => good.promise),
  );
  const badId = await goAsync(
    operations,
    clock,
    workOf(() => bad.promise),
  );
  const [, disks] = operationRoutes({ operations });
  assert.ok(disks);
  const poll = async (id: string, query: Readonly<Record<string, string>> = {}) =>
    disks.handle({ params: { subscription: testSubscription, location: 'l', id }, query } as never, caller);
  const running = await poll(goodId);
  assert.equal((running.body as { status: string }).status, 'InProgress');
  assert.equal(running.headers?.['retry-after'], '1');
  assert.equal((await poll(goodId, { monitor: 'true' })).status, 202);

  good.resolve({ body: { id: 'd1' } });
  bad.reject(new RestError(409, 'KeyVaultKeyNotEnabled', 'the key is disabled'));
  const statusOf = async (id: string) => ((await poll(id)).body as { status: string }).status;
  while ((await statusOf(goodId)) === 'InProgress' || (await statusOf(badId)) === 'InProgress');
  assert.deepEqual(((await poll(goodId)).body as { properties: unknown }).properties, { output: { id: 'd1' } });
  assert.deepEqual(await poll(goodId, { monitor: 'true' }), { body: { id: 'd1' } });
  assert.equal(((await poll(badId)).body as { error: { code: string } }).error.code, 'KeyVaultKeyNotEnabled');
  await assert.rejects(async () => poll(badId, { monitor: 'true' }), { status: 409, code: 'KeyVaultKeyNotEnabled' });
});

test('a replica does not change an operation while the replica that started it works on it', async () => {
  const { clock, open } = await openStore();
  const work = Promise.withResolvers<RouteReply>();
  const id = await goAsync(
    open(),
    clock,
    workOf(() => work.promise),
  );
  const other = open();
  await clock.drive(clock.sleep(120_000));
  assert.equal((await other.find(testSubscription, id, caller)).finding.status, 'InProgress');
  work.resolve({ body: { id: 'd1' } });
  for (;;) {
    const { finding } = await other.find(testSubscription, id, caller);
    if (finding.status === 'InProgress') continue;
    assert.deepEqual(finding.status === 'Succeeded' && finding.output, { id: 'd1' });
    break;
  }
});

test('after the replica of an operation has ended, another one gets the outcome from the services', async () => {
  const { clock, open } = await openStore();
  let hasEnded = false;
  const sleep: Clock['sleep'] = (...of) => (hasEnded ? new Promise(() => undefined) : clock.sleep(...of));
  const id = await goAsync(
    open(Object.assign(Object.create(clock), { sleep })),
    clock,
    workOf(() => new Promise<RouteReply>(() => undefined)),
  );
  hasEnded = true;
  assert.equal((await open().find(testSubscription, id, caller)).finding.status, 'InProgress');
  // It may renew the record once more, after 5 s.
  await clock.drive(clock.sleep(20_000));
  assert.equal((await open().find(testSubscription, id, caller)).finding.status, 'Succeeded');
  await assert.rejects(open().find(testSubscription, id, callerWith('other')), { status: 404 });
  await assert.rejects(open().find(testSubscription, 'none', caller), { status: 404 });
});
