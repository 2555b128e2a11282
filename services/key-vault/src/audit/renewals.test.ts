import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore, Rejection, table } from '@interlock/event-store';
import type { Call } from '@interlock/rpc';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { RateLimit } from '../access/rate-limit.ts';
import { keyUrls } from '../names.ts';
import { type AuditEntry, type AuditRow, auditTable, entriesOf } from './entry.ts';
import { AuditLog } from './log.ts';

/** A renewal as a disk host makes it, and what the vault decides. */
interface Renewal {
  readonly caller?: string;
  readonly keyVersion?: string;
  readonly address?: string;
  readonly disk?: string;
  readonly epoch?: number;
  /** Reason of a refusal. */
  readonly refused?: string;
  /** A check without an unwrap: no renewal. */
  readonly isStated?: boolean;
}

const open = () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const memory = memoryStore({ clock });
  let isDown = false;
  const store: typeof memory = {
    ...memory,
    commit: (...commit) => (isDown ? Promise.reject(new Error('the store is down')) : memory.commit(...commit)),
  };
  let requests = 0;
  const openLog = () =>
    new AuditLog({
      ...{ store, clock, random, log: logger({ service: 'test', clock, write: () => undefined }) },
      urls: keyUrls('vault.test'),
      limits: new RateLimit({}, clock),
      countWindowMs: 1,
      vaultExists: async () => true,
    });
  let log = openLog();
  const renew = async (renewal: Renewal = {}): Promise<void> => {
    requests += 1;
    const { caller = 'set', keyVersion = '1', address = '10.0.0.1:4711', disk = 'disks/d', epoch = 1 } = renewal;
    const check = log.audited('KeyCheckAccess', async (_request: object, _by: Call, entry) => {
      entry.inVault('kv1', 1);
      entry.about('vaults/kv1/keys/k', keyVersion);
      entry.forResource(disk);
      if (renewal.refused !== undefined) throw new Rejection('FAILED_PRECONDITION', renewal.refused, 'refused', {});
      if (renewal.isStated !== true) entry.renewing(epoch);
    });
    const traceparent = `00-${String(requests).padStart(32, '0')}-${'b'.repeat(16)}-01`;
    const cause = { correlationId: `c${requests}`, causes: [], caller, traceparent };
    const by = { caller: { kind: 'app', id: caller, name: `principals/${caller}`, tenant: 't' }, cause, peer: address };
    await clock.drive(check({}, by as unknown as Call));
  };
  return {
    clock,
    renew,
    refuse: (renewal: Renewal & { readonly refused: string }) =>
      assert.rejects(renew(renewal), { reason: renewal.refused }),
    restart: () => {
      log = openLog();
    },
    setDown: (is: boolean) => {
      isDown = is;
    },
    async entries(): Promise<readonly AuditEntry[]> {
      const { items } = await table<AuditRow>(store, auditTable).list({ limit: 10_000 });
      return items.flatMap(({ row }) => entriesOf(row));
    },
    /** Rows that the index of a key version finds. */
    async ofKey(keyVersion: string): Promise<number> {
      const index = { index: 'key', value: `kv1/vaults/kv1/keys/k/versions/${keyVersion}` };
      return (await table<AuditRow>(store, auditTable).list({ index, limit: 10_000 })).items.length;
    },
  };
};

/** How many requests each entry records, in order. */
const counts = (entries: readonly AuditEntry[]): readonly string[] =>
  entries.map(({ result, occurrences = 1 }) => `${result} ${occurrences}`);
const trace = (n: number): string => String(n).padStart(32, '0');

test('G9: granted renewals of one lease are one entry an hour, with count, first and last time and trace', async () => {
  const { clock, renew, entries, ofKey } = open();
  const startedAt = clock.now();
  for (let n = 0; n < 144; n += 1) {
    // Each renewal may prove the DEK of another disk, over another connection.
    await renew({ disk: `disks/d${n % 3}`, address: `10.0.0.1:${4_000 + n}` });
    await clock.pass(25_000);
  }
  await renew();
  const all = await entries();
  assert.deepEqual(counts(all), ['success 144', 'success 1']);
  const { time, lastTime, traceId, lastTraceId, resource, correlationId } = all[0] ?? assert.fail('no entry');
  assert.deepEqual([time, lastTime], [startedAt, startedAt + 143 * 25_000]);
  assert.deepEqual([traceId, lastTraceId], [trace(1), trace(144)]);
  assert.deepEqual([resource, correlationId], ['disks/d0', 'c1']);
  assert.equal(await ofKey('1'), 2);
});

test('G9: every refusal is an entry, and the first grant after it begins a new one', async () => {
  const { renew, refuse, entries, clock } = open();
  for (const renewal of [{}, {}, { refused: 'KEY_DISABLED' }, { refused: 'KEY_DISABLED' }, {}, {}]) {
    await (renewal.refused === undefined ? renew(renewal) : refuse({ refused: renewal.refused }));
    await clock.pass(25_000);
  }
  assert.deepEqual(counts(await entries()), ['success 2', 'refused 1', 'refused 1', 'success 2']);
});

test('G9: a grant after a loss begins a new entry also at a replica that saw no refusal', async () => {
  const { renew, entries } = open();
  for (const epoch of [1, 1, 3]) await renew({ epoch });
  assert.deepEqual(counts(await entries()), ['success 2', 'success 1']);
});

test('G9: renewals of another caller, key version or host, and checks that renew nothing, have entries of their own', async () => {
  const { renew, refuse, entries } = open();
  await renew();
  await renew({ caller: 'other' });
  await renew({ keyVersion: '2' });
  await renew({ address: '10.0.0.2:4711' });
  await renew({ isStated: true });
  await renew({ isStated: true });
  // A refusal of another caller ends nothing of these.
  await refuse({ caller: 'third', refused: 'KEY_DISABLED' });
  await renew();
  assert.deepEqual(
    counts(await entries())
      .filter((one) => one.startsWith('success'))
      .toSorted(),
    ['success 1', 'success 1', 'success 1', 'success 1', 'success 1', 'success 2'],
  );
});

test('KV-114: a renewal is stored before its response, one that cannot be stored fails, and a crash loses none', async () => {
  const { renew, entries, restart, setDown, ofKey } = open();
  await renew();
  await renew();
  setDown(true);
  await assert.rejects(renew(), /the store is down/);
  setDown(false);
  await renew();
  restart();
  await renew();
  assert.deepEqual(counts(await entries()).toSorted(), ['success 1', 'success 1', 'success 2']);
  assert.equal(await ofKey('1'), 3);
});

test('G9: renewals at the same time are counted, and their entry is found by its key', async () => {
  const { renew, entries, ofKey } = open();
  await Promise.all([renew(), renew(), renew()]);
  assert.deepEqual(counts(await entries()), ['success 3']);
  assert.equal(await ofKey('1'), 1);
});
