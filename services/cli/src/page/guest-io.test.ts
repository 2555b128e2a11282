import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { GuestIo } from './guest-io.ts';
import { LiveRows } from './live-rows.ts';
import type { IoMinute } from './rows.ts';

/** Begin of a minute, in milliseconds since the epoch. */
const startMs = 60_000 * 29_000_000;

/** Journals of machines, in pages of two operations. */
const journals = () => {
  const operations = new Map<string, JsonObject[]>();
  const calls: string[] = [];
  return {
    calls,
    add(machine: string, atMs: number, { tookMs = 4, ok = true, kind = 'WRITE' } = {}): void {
      const [invokeTimeMs, completeTimeMs] = [String(startMs + atMs - tookMs), String(startMs + atMs)];
      const known = operations.get(machine) ?? [];
      operations.set(machine, [...known, { disk: 'd', kind, sequence: '1', ok, invokeTimeMs, completeTimeMs }]);
    },
    call: async (_service: unknown, _method: unknown, { name, after }: JsonObject): Promise<JsonObject> => {
      calls.push(String(name));
      const [all, from] = [operations.get(String(name)) ?? [], Number(after || 0)];
      const to = Math.min(all.length, from + 2);
      return { operations: all.slice(from, to), readTo: String(to), atEnd: to === all.length };
    },
  };
};

const opened = (guests: ReturnType<typeof journals>) => {
  const rows = new LiveRows();
  const io = new GuestIo({ call: guests.call }, rows);
  const seen = (): readonly IoMinute[] => {
    rows.publish();
    const { text } = rows.since(0, 1_000_000) ?? assert.fail('there are no rows');
    return Object.values(JSON.parse(text).rows);
  };
  return { io, seen };
};

test('operations are counted by second, failures apart, and only new ones are read again', async () => {
  const guests = journals();
  const { io, seen } = opened(guests);
  guests.add('vm1', 1_100, { tookMs: 2 });
  guests.add('vm1', 1_900, { tookMs: 6, kind: 'READ' });
  guests.add('vm1', 2_000, { ok: false });
  guests.add('vm1', 2_500, { kind: 'ADOPT' });
  guests.add('vm2', 61_000);
  const machines = ['vm1', 'vm2'].map((name) => ({ name, group: 'des1' }));
  await io.read(machines, startMs);
  const minute = startMs / 60_000;
  assert.deepEqual(
    seen().map((row) => [row.minute - minute, row.machines, row.seconds]),
    [
      [
        0,
        ['vm1', 'vm2'],
        [
          [1, 2, 0, 4, 6],
          [2, 0, 1, null, null],
        ],
      ],
      [1, ['vm1', 'vm2'], [[1, 1, 0, 4, 4]]],
    ],
  );
  guests.calls.length = 0;
  guests.add('vm1', 61_500, { tookMs: 10 });
  await io.read(machines, startMs + 60_000);
  assert.deepEqual(guests.calls, ['vm1', 'vm2'], 'one page each');
  assert.deepEqual(
    seen().map((row) => [row.minute - minute, row.seconds]),
    [[1, [[1, 2, 0, 7, 10]]]],
    'the first minute is forgotten',
  );
});

test('two machines of each of six groups are followed, and one reading takes five pages of a journal', async () => {
  const guests = journals();
  const { io, seen } = opened(guests);
  const machines = Array.from({ length: 80 }, (_, n) => ({ name: `vm${n}`, group: `des${n % 8}` }));
  for (let n = 0; n < 13; n++) guests.add('vm0', 1_000 + n);
  await io.read(machines, startMs);
  assert.equal(new Set(guests.calls).size, 12);
  assert.equal(guests.calls.filter((name) => name === 'vm0').length, 5);
  assert.deepEqual(seen()[0]?.seconds, [[1, 10, 0, 4, 4]]);
  await io.read(machines, startMs);
  assert.deepEqual(seen()[0]?.seconds, [[1, 13, 0, 4, 4]]);
  await io.read([], startMs);
  assert.deepEqual(seen(), []);
});
