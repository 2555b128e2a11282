import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Commit, type EventStore, memoryStore, table } from '@interlock/event-store';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { type AuditEntry, auditTable, entriesOf } from './entry.ts';
import { auditRetention } from './retention.ts';
import { AuditWriter } from './writer.ts';

const day = 86_400_000;
const retentionMs = 30 * day;

test('G9: entries older than the retention are deleted with their index rows in bounded batches; younger ones stay', async () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const memory = memoryStore({ clock });
  let largest = 0;
  const store: EventStore = {
    ...memory,
    commit: async (commit: Commit, cause) => {
      largest = Math.max(largest, commit.rows?.filter(({ row }) => row === null).length ?? 0);
      return memory.commit(commit, cause);
    },
  };
  const writer = new AuditWriter({ store, clock, random });
  const entry = (n: number): AuditEntry => ({
    time: clock.now(),
    operation: 'KeyUnwrap',
    key: 'vaults/kv1/keys/k/versions/1',
    requestUri: '',
    caller: `principals/${n}`,
    tenant: 't',
    httpStatusCode: 200,
    result: 'success',
    reason: '',
    resource: '',
    correlationId: `${n}`,
    traceId: '',
    durationUs: 1,
    callerAddress: '',
  });
  // One name is a prefix of another; their audit logs are still separate.
  const vaults = ['kv1', 'kv1-b', 'kv10'];
  const write = (count: number) =>
    Promise.all(
      vaults.flatMap((vault) => Array.from({ length: count }, (_, n) => writer.write([{ vault, entry: entry(n) }]))),
    );
  const pass = (days: number) => clock.drive(clock.sleep(days * day), 100 * day);
  await clock.drive(write(500));
  await pass(20);
  await clock.drive(write(3));

  const rows = table(memory, auditTable);
  const found = async (vault: string) => (await rows.list({ prefix: `${vault}/`, limit: 10_000 })).items;
  const entries = async (vault: string) => (await found(vault)).flatMap(({ row }) => entriesOf(row)).length;
  const stopping = new AbortController();
  const log = logger({ service: 'test', clock, write: () => undefined });
  const running = auditRetention({ store, clock, log, retentionMs })(stopping.signal);
  await pass(9);
  for (const vault of vaults) assert.equal(await entries(vault), 503, 'the first are 29 days old');

  await pass(3);
  for (const vault of vaults) assert.equal(await entries(vault), 3, vault);
  assert.ok(largest > 1 && largest <= 200, `${largest} rows in one commit`);
  for (const index of ['key', 'principal', 'operation'] as const) {
    const value = index === 'key' ? 'vaults/kv1/keys/k' : index === 'principal' ? 'principals/400' : 'KeyUnwrap';
    const { items } = await rows.list({ index: { index, value: `kv1/${value}` }, limit: 10_000 });
    assert.equal(items.length, index === 'principal' ? 0 : (await found('kv1')).length, `nothing is left in ${index}`);
  }

  await pass(25);
  for (const vault of vaults) assert.equal(await entries(vault), 0);
  stopping.abort();
  await clock.drive(running);
});
