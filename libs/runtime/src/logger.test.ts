import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logger } from './logger.ts';

function capture() {
  const lines: string[] = [];
  const log = logger({
    service: 'disk',
    clock: { now: () => Date.UTC(2026, 0, 1) },
    write: (line) => lines.push(line),
  });
  return { log, last: () => JSON.parse(lines.at(-1) ?? ''), lines };
}

test('a log line is one line of JSON with time, level, service and event', () => {
  const { log, last, lines } = capture();
  log.with({ disk: 'd1' }).info('disk opened', { epoch: 3 });
  assert.deepEqual(last(), {
    time: '2026-01-01T00:00:00.000Z',
    level: 'info',
    service: 'disk',
    event: 'disk opened',
    disk: 'd1',
    epoch: 3,
  });
  log.error('two\nlines');
  assert.equal(lines.at(-1)?.includes('\n'), false);
});

test('an error is logged with all its causes', () => {
  const { log, last } = capture();
  const socket = new Error('socket closed');
  const error = new Error('append failed', { cause: new AggregateError([new Error('a'), socket], 'both failed') });
  log.error('request failed', { error });
  const [outer, inner] = last().error;
  assert.equal(outer.message, 'append failed');
  assert.match(outer.stack, /logger\.test\.ts/);
  assert.equal(inner.message, 'both failed');
  assert.equal(inner.errors[1][0].message, 'socket closed');
});

test('errors that cause each other do not hang the log', () => {
  const { log, last } = capture();
  const error = new Error('a');
  error.cause = new Error('b', { cause: error });
  log.error('loop', { error });
  assert.ok(last().error.length > 2);
});

test('fields with names of secrets, and bytes, are hidden at any depth', () => {
  const { log, lines } = capture();
  log.info('x', {
    clientSecret: 'hush',
    nested: { accessToken: 'hush', list: [{ plaintext: 'hush', password: 'hush' }] },
    dek: 'hush',
    key: Buffer.from('hush'),
    keys: [new Uint8Array(Buffer.from('hush'))],
  });
  const line = lines.at(-1) ?? '';
  assert.doesNotMatch(line, /hush|104|"0":/);
  assert.match(line, /‹4 bytes›/);
});

test('a value that JSON cannot hold, or with a cycle, does not prevent the log line', () => {
  const { log, last } = capture();
  const cycle: Record<string, unknown> = { name: 'c' };
  cycle.self = cycle;
  const twice = { a: 1 };
  log.info('x', { big: 2n ** 70n, nothing: undefined, cycle, twice: [twice, twice], error: 'text' });
  assert.equal(last().big, '1180591620717411303424');
  assert.equal(last().cycle.self, '‹cycle›');
  assert.deepEqual(last().twice, [{ a: 1 }, { a: 1 }]);
});
