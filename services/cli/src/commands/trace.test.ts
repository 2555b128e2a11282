import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Terminal } from '../output/terminal.ts';
import { run } from './run.ts';

const span = (traceId: string, name: string, startMs: number, more: object = {}) => ({
  traceId: traceId.repeat(32),
  spanId: name.padEnd(16, '0').slice(0, 16),
  service: 'key-vault',
  name,
  kind: 'internal',
  startMs,
  durationMs: 5,
  status: 'unset',
  statusMessage: '',
  attributes: {},
  links: [],
  events: [],
  ...more,
});

/** Only `out` is called. */
const silent = { err: () => undefined } as unknown as Terminal;

test('trace list shows the newest traces with their duration, services and failures', async () => {
  const data = mkdtempSync(join(tmpdir(), 'interlock-trace-'));
  try {
    const spans = [
      span('a', 'DisableKey', 1_000),
      span('a', 'process', 1_010, { service: 'disk', parentSpanId: 'x'.repeat(16), status: 'error' }),
      span('b', 'CreateVault', 2_000),
    ];
    writeFileSync(join(data, 'spans.jsonl'), spans.map((one) => `${JSON.stringify(one)}\n`).join(''));
    const shown: string[] = [];
    const take = (text: string) => void shown.push(text);
    const terminal: Terminal = { ...silent, out: take };
    assert.equal(await run(['trace', 'list', '--json'], { INTERLOCK_DATA: data }, terminal), 0);
    const listed = JSON.parse(shown.join('\n'));
    assert.deepEqual(
      listed.map(({ root, durationMs, services, failed }: Record<string, unknown>) => [
        root,
        durationMs,
        services,
        failed,
      ]),
      [
        ['key-vault CreateVault', 5, 1, 0],
        ['key-vault DisableKey', 15, 2, 1],
      ],
    );
    rmSync(join(data, 'spans.jsonl'));
    assert.equal(await run(['trace', 'list'], { INTERLOCK_DATA: data }, terminal), 1);
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});
