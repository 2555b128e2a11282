import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openKeyStateReads } from './key-states.ts';

/** Reads whose head the test provides; the version of a state is the number of the read. */
const byHand = () => {
  const heads: { readonly read: (epoch: number) => void; readonly fail: (error: Error) => void }[] = [];
  const loads: string[] = [];
  const states = (kind: string) => ({
    loadMany: async (ids: readonly string[]) => {
      loads.push(`${kind} ${ids.join(',')}`);
      return ids.map((id) => ({ id, state: { status: 'absent' } as const, version: heads.length }));
    },
  });
  const look = openKeyStateReads({
    store: { head: () => new Promise((resolve, reject) => heads.push({ read: resolve, fail: reject })) },
    vaults: states('vaults'),
    keys: states('keys'),
  });
  return { look, heads, loads };
};

test('lookups of one turn of the event loop are read together, each vault and key once', async () => {
  const { look, heads, loads } = byHand();
  const looks = [look('v1', 'k1'), look('v1', 'k2'), look('v1', 'k1')];
  await nextTurn();
  heads[0]?.read(7);
  const seen = await Promise.all(looks);
  assert.deepEqual(loads, ['vaults v1', 'keys k1,k2']);
  assert.deepEqual(
    seen.map(({ epoch, vault, key }) => [epoch, vault.id, key.id]),
    [
      [7, 'v1', 'k1'],
      [7, 'v1', 'k2'],
      [7, 'v1', 'k1'],
    ],
  );
});

test('G1: no caller is judged by a read that started before its call', async () => {
  const { look, heads } = byHand();
  const first = look('v1', 'k1');
  await nextTurn();
  const later = [look('v1', 'k1'), look('v2', 'k9')];
  await nextTurn();
  assert.equal(heads.length, 1, 'what comes meanwhile waits');
  heads[0]?.read(1);
  assert.equal((await first).epoch, 1);
  await nextTurn();
  heads[1]?.read(2);
  for (const one of later) assert.deepEqual([(await one).epoch, (await one).key.version], [2, 2]);
  assert.equal(heads.length, 2, 'and shares the next look');
});

test('a failed read rejects only its own callers, and the next read still happens', async () => {
  const { look, heads } = byHand();
  const first = look('v1', 'k1');
  await nextTurn();
  const later = look('v1', 'k1');
  heads[0]?.fail(new Error('the store is away'));
  await assert.rejects(first, /the store is away/);
  await nextTurn();
  heads[1]?.read(5);
  assert.equal((await later).epoch, 5);
});
