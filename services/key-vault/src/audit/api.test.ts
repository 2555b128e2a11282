import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ListAuditEntriesRequest } from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import { type Cause, category, type EventStore, memoryStore } from '@interlock/event-store';
import { type Call, type Principal, pageToken } from '@interlock/rpc';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { createGuard } from '../access/guard.ts';
import { RateLimit } from '../access/rate-limit.ts';
import { keyUrls } from '../names.ts';
import { create, finishPurge, remove, startPurge } from '../vault/decider.ts';
import { vaults as vaultStreams } from '../vault/vault.ts';
import { auditApi } from './api.ts';
import { AuditLog } from './log.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const caller: Principal = { kind: 'app', id: 'p', name: 'principals/p', tenant: 't' };
const call = { caller, cause, peer: '127.0.0.1:1' } as Call;

/** The audit log of a vault that does not exist yet, at one replica. */
const recording = () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const memory = memoryStore({ clock });
  let commits = Promise.resolve();
  const store: EventStore = {
    ...memory,
    async commit(...asked) {
      await commits;
      return memory.commit(...asked);
    },
  };
  const vaults = category(store, vaultStreams);
  const request = {
    resourceGroup: 'subscriptions/s/resourceGroups/g',
    tenant: 'tenants/t',
    location: 'l',
    sku: 'standard',
    permissionModel: 'role_assignment',
    accessPolicies: {},
    retentionDays: 90,
    purgeProtected: false,
  } as const;
  const guard = createGuard({ clock, vaults, authorize: async () => ({ allowed: true, principalActive: true }) });
  const log = new AuditLog({
    store,
    clock,
    random,
    log: logger({ service: 'test', clock }),
    urls: keyUrls('vault.test'),
    limits: new RateLimit({}, clock),
    countWindowMs: 1,
    vaultExists: async () => true,
  });
  let answers = Promise.resolve();
  const get = log.audited('KeyGet', async (_request: object, by: Call, entry) => {
    await guard.keyVault('kv1', 'vaults/kv1/keys/k', 'get', by, entry);
    await answers;
  });
  const api = auditApi({ store, guard, log });
  return {
    clock,
    make: (at: number) => vaults.transact('kv1', create(at, request), cause),
    /** Asks, and does not wait for the response. */
    ask: () => get({}, call),
    get: () => clock.drive(get({}, call)),
    /** Commits wait for this from here on. */
    holdCommits(until: Promise<void>) {
      commits = until;
    },
    /** Answers wait for this from here on. */
    holdAnswers(until: Promise<void>) {
      answers = until;
    },
    async purge() {
      for (const decide of [remove(0, 1), startPurge(clock.now()), finishPurge(clock.now())])
        await vaults.transact('kv1', decide, cause);
    },
    async listed(filter: { readonly pageToken?: string; readonly startTime?: Date } = {}) {
      const asked = ListAuditEntriesRequest.fromPartial({ parent: 'vaults/kv1', operation: 'KeyGet', ...filter });
      const { auditEntries } = await clock.drive(api.listAuditEntries(asked, call));
      return auditEntries.map(({ time }) => time?.getTime());
    },
  };
};

test("G9: a call at a replica whose clock is behind the vault's creation time is in the vault's audit log", async () => {
  const { clock, make, get, listed } = recording();
  await make(clock.now() + 50);
  const askedAt = clock.now();
  await get();
  assert.deepEqual(await listed(), [askedAt]);
});

test('CMK-144: no page token lists audit entries of an earlier vault with the same name', async () => {
  const { clock, make, get, purge, listed } = recording();
  await make(clock.now());
  await get();
  await purge();
  await clock.pass(10);
  await make(clock.now());
  const askedAt = clock.now();
  await get();
  for (const place of [undefined, 'kv1/0', `kv1/${askedAt - 10}`])
    assert.deepEqual(await listed({ pageToken: pageToken(place) }), [askedAt], place);
});

test('CMK-144: a start time selects audit entries exactly, even if an earlier entry shares the row', async () => {
  const { clock, make, ask, holdCommits, listed } = recording();
  await make(clock.now());
  const held = Promise.withResolvers<void>();
  holdCommits(held.promise);
  // The first entry is being stored; the others share the next commit.
  const asked = [ask()];
  await clock.pass(1);
  asked.push(ask());
  await clock.pass(10);
  const startTime = new Date(clock.now());
  asked.push(ask());
  await clock.pass(1);
  held.resolve();
  await clock.drive(Promise.all(asked));
  assert.equal((await listed()).length, 3);
  assert.deepEqual(await listed({ startTime }), [startTime.getTime()]);
});

test("CMK-144: a call that ends after its vault was purged and recreated is not in the new vault's audit log", async () => {
  const { clock, make, ask, get, purge, holdAnswers, listed } = recording();
  await make(clock.now());
  const held = Promise.withResolvers<void>();
  holdAnswers(held.promise);
  const late = ask();
  await clock.pass(10);
  await purge();
  await make(clock.now());
  await clock.pass(10);
  held.resolve();
  await clock.drive(late);
  assert.deepEqual(await listed(), []);
  const askedAt = clock.now();
  await get();
  assert.deepEqual(await listed(), [askedAt]);
});
