import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { RpcFailure } from '@interlock/rpc';
import { UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';

const event = (position: number, second: number) => ({
  position: String(position),
  eventTime: `2026-01-01T00:00:0${second}Z`,
  stream: 'key-vaults/kv1/keys/k1',
  type: 'KeyVersionDisabled',
  data: { version: '1' },
});
const page = (head: number, ...events: JsonObject[]): JsonObject => ({ events, headPosition: String(head) });

test('events reads every page of a service after a position', async () => {
  const { run, lines, sent } = testProgram({ ReadEvents: [page(3, event(2, 1)), page(3, event(3, 2))] });
  await run('events', '--service', 'key-vault', '--after', '1');
  assert.deepEqual(lines, [
    '2026-01-01T00:00:01Z  key-vault 2  key-vaults/kv1/keys/k1  KeyVersionDisabled {"version":"1"}',
    '2026-01-01T00:00:02Z  key-vault 3  key-vaults/kv1/keys/k1  KeyVersionDisabled {"version":"1"}',
  ]);
  assert.deepEqual(
    sent.map(({ service, request }) => [service, request.afterPosition]),
    [
      ['key-vault', '1'],
      ['key-vault', '2'],
    ],
  );
});

test('events --follow starts from now, and continues after a service did not respond', async () => {
  const gone = new RpcFailure('UNAVAILABLE', 'ReadEvents', 'disk', 'connect ECONNREFUSED');
  const { run, lines, asides, sent } = testProgram({
    ReadEvents: [page(7), page(7), gone, page(8, event(8, 1)), page(8)],
  });
  await run('events', '--service', 'disk', '--follow', '--timeout', '4s', '-o', 'json');
  assert.deepEqual(
    lines.map((line) => [JSON.parse(line).service, JSON.parse(line).position]),
    [['disk', '8']],
  );
  assert.equal(asides.length, 1);
  assert.equal(sent[1]?.request.afterPosition, '7');
});

test('events reads every service unless one is named; a position needs its service', async () => {
  const { run, sent } = testProgram({ ReadEvents: page(0) });
  await run('events');
  assert.deepEqual(
    sent.map(({ service }) => service),
    ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'],
  );
  await assert.rejects(run('events', '--after', '1'), UsageError);
  await assert.rejects(run('events', '--service', 'vault'), UsageError);
});
