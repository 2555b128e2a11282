import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock as clock, logger } from '@interlock/runtime';
import { connectNats, placesOf } from './nats-connection.ts';

test('G8: the log line about unreachable NATS servers contains no login and no password', async () => {
  const lines: string[] = [];
  const ending = new AbortController();
  const write = (line: string): void => {
    lines.push(line);
    ending.abort();
  };
  const servers = ['nats://login:hun@ter2@127.0.0.1:1', 'nats://127.0.0.1:2'];
  const log = logger({ service: 'test', clock, write });
  await assert.rejects(connectNats({ servers }, { clock, log, signal: ending.signal }));
  const [line = ''] = lines;
  assert.match(line, /"servers":"127\.0\.0\.1:1, 127\.0\.0\.1:2"/);
  for (const part of ['login', 'hun', 'ter2']) assert.ok(!lines.join().includes(part), line);
});

test('placesOf returns the host and port of each server without its login', () => {
  assert.equal(placesOf(['nats://u:p/w@h:4222', 'tls://u@h:1', 'h:2', 'NATS://h:3']), 'h:4222, h:1, h:2, h:3');
});
