import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Span, spanStore } from '@interlock/lab/spans/span-store';
import { renderTrace, traceTree } from '@interlock/lab/spans/trace-tree';
import { inSpan, systemRandom } from '@interlock/runtime';
import { startTelemetry } from '@interlock/runtime/telemetry';
import { receivedSpans } from './received-spans.ts';
import { spansInLine, startSpanReceiver } from './span-receiver.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const traceA = 'a'.repeat(32);
const traceB = 'b'.repeat(32);
const spanId = (digit: number) => String(digit).repeat(16);

function span(id: number, more: Partial<Span>): Span {
  return {
    traceId: traceA,
    spanId: spanId(id),
    parentSpanId: undefined,
    service: 'key-vault',
    name: `span ${id}`,
    kind: 'internal',
    startMs: 1_000 + id,
    durationMs: 2,
    status: 'unset',
    statusMessage: '',
    attributes: {},
    links: [],
    events: [],
    ...more,
  };
}

const link = (traceId: string, id: number) => ({ traceId, spanId: spanId(id), attributes: {} });

test('draws a trace as a tree, with linked spans on dotted lines', () => {
  const store = spanStore();
  store.add([
    span(4, {
      traceId: traceB,
      service: 'disk',
      name: 'drop key',
      parentSpanId: spanId(3),
      status: 'error',
      statusMessage: 'no lease',
    }),
    span(2, { name: 'send key-vault', parentSpanId: spanId(1), startMs: 1_002.5 }),
    span(3, { traceId: traceB, service: 'disk', name: 'process key-vault', links: [link(traceA, 2)] }),
    span(1, { name: 'DisableKeyVersion', durationMs: 12.34 }),
    span(5, { service: 'compute', name: 'stop', parentSpanId: spanId(1), durationMs: 20_000 }),
  ]);
  assert.equal(
    renderTrace(traceTree(store, traceA)),
    `trace ${traceA}: 5 spans, 3 services, 20.0 s
key-vault  DisableKeyVersion       +0.0     12.3 ms
├─ key-vault  send key-vault       +1.5      2.0 ms
│  └┄ disk  process key-vault      +2.0      2.0 ms
│     └─ disk  drop key            +3.0      2.0 ms  FAILED no lease
└─ compute  stop                   +4.0      20.0 s`,
  );
});

test('a span that is a child of its parent and links to it appears once', () => {
  const store = spanStore();
  store.add([span(1, {}), span(2, { parentSpanId: spanId(1), links: [link(traceA, 1)] })]);
  const [root] = traceTree(store, traceA);
  assert.deepEqual(
    root?.children.map((child) => [child.span.spanId, child.via]),
    [[spanId(2), 'parent']],
  );
});

test('draws two spans that link to each other once each', () => {
  const store = spanStore();
  store.add([span(1, { links: [link(traceB, 2)] }), span(2, { traceId: traceB, links: [link(traceA, 1)] })]);
  assert.match(renderTrace(traceTree(store, traceA)), /: 2 spans/);
});

test('names each missing span above its children and above the spans that link to it', () => {
  const store = spanStore();
  store.add([
    span(1, {}),
    span(2, { service: 'compute', parentSpanId: spanId(9) }),
    span(3, { service: 'compute', parentSpanId: spanId(2) }),
    span(4, { service: 'compute', parentSpanId: spanId(9) }),
    span(5, { traceId: traceB, service: 'disk', links: [link(traceA, 8)] }),
    span(6, { traceId: traceB, service: 'disk', parentSpanId: spanId(5) }),
  ]);
  const why = 'was not received: its process ended before the export, it has not ended, or it is exported elsewhere';
  assert.equal(
    renderTrace(traceTree(store, traceA)),
    `trace ${traceA}: 6 spans, 3 services, 7.0 ms; 2 not received
key-vault  span 1          +0.0      2.0 ms
(span ${spanId(9)} ${why})
├─ compute  span 2         +1.0      2.0 ms
│  └─ compute  span 3      +2.0      2.0 ms
└─ compute  span 4         +3.0      2.0 ms
(span ${spanId(8)} ${why})
└┄ disk  span 5            +4.0      2.0 ms
   └─ disk  span 6         +5.0      2.0 ms`,
  );
  assert.equal(renderTrace(traceTree(store, traceB)).split('\n')[0], `trace ${traceB}: 2 spans, 1 services, 3.0 ms`);
  assert.equal(renderTrace(traceTree(spanStore(), traceB)), 'no spans of this trace were received');
});

test('a span with links to a received and a missing span appears under the received one only', () => {
  const store = spanStore();
  store.add([span(1, {}), span(2, { traceId: traceB, links: [link(traceA, 1), link(traceA, 9)] })]);
  assert.deepEqual(
    traceTree(store, traceA).map(({ missing, children }) => [missing, children.length]),
    [[undefined, 1]],
  );
});

test('drops the oldest spans above the maximum, from every index', () => {
  const store = spanStore(2);
  store.add([span(1, { links: [link(traceB, 7)] }), span(2, { attributes: { 'interlock.vm': 'x' } }), span(3, {})]);
  assert.deepEqual(store.count(), { held: 2, dropped: 1 });
  assert.deepEqual(
    store.spansOfTrace(traceA).map(({ name }) => name),
    ['span 2', 'span 3'],
  );
  assert.deepEqual(store.spansLinkingTo({ traceId: traceB, spanId: spanId(7) }), []);
  assert.deepEqual(store.spansLinkingInto(traceB), []);
  assert.deepEqual(
    store.findByAttribute('interlock.vm', 'x').map(({ name }) => name),
    ['span 2'],
  );
  assert.deepEqual(store.findByAttribute('interlock.vm', 'y'), []);
});

test("receives the spans of Interlock's own telemetry and writes them to the file", async (t) => {
  const file = join(folder, 'spans.jsonl');
  const kept = spanStore();
  const receiver = await startSpanReceiver({ store: kept, file, random: systemRandom });
  t.after(receiver.stop);
  const store = receiver.spans;
  const telemetry = startTelemetry({
    service: 'compute',
    random: systemRandom,
    tracesEndpoint: `${receiver.endpoint}/v1/traces`,
  });
  t.after(telemetry.shutdown);
  await inSpan(telemetry.tracer, 'outer', { attributes: { 'interlock.vm': 'vm-1', count: 3 } }, () =>
    inSpan(telemetry.tracer, 'inner', {}, async () => undefined),
  );
  await telemetry.flush();
  assert.equal(kept.count().held, 0, 'no query yet');
  const [outer] = store.findByAttribute('interlock.vm', 'vm-1');
  assert(outer !== undefined);
  assert.equal(outer.service, 'compute');
  assert.equal(outer.attributes.count, 3);
  const [root] = traceTree(store, outer.traceId);
  assert.deepEqual([root?.span.name, root?.children[0]?.span.name], ['outer', 'inner']);
  assert(Math.abs(outer.startMs - Date.now()) < 60_000);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    lines.flatMap(spansInLine).toSorted((a, b) => a.startMs - b.startMs),
    store.spansOfTrace(outer.traceId),
  );
  const told = await fetch(`${receiver.endpoint}/traces/${outer.traceId}`);
  assert.deepEqual(await told.json(), JSON.parse(JSON.stringify(store.spansOfTrace(outer.traceId))));
});

test('parses exports at the first query, and drops the oldest above the maximum', () => {
  const kept = spanStore();
  const received = receivedSpans(kept, 3);
  const request = (...numbers: number[]) =>
    JSON.stringify({
      resourceSpans: [
        {
          scopeSpans: [
            {
              spans: numbers.map((number) => ({
                traceId: traceA,
                spanId: spanId(number),
                name: `span ${number}`,
                startTimeUnixNano: '1',
                endTimeUnixNano: '2',
                attributes: [{ key: 'said', value: { stringValue: '"endTimeUnixNano":' } }],
              })),
            },
          ],
        },
      ],
    });
  for (const numbers of [[1], [2, 3], [4]]) received.take(request(...numbers));
  assert.deepEqual(kept.count(), { held: 0, dropped: 0 });
  assert.deepEqual(
    received.spans.spansOfTrace(traceA).map(({ name }) => name),
    ['span 2', 'span 3', 'span 4'],
  );
  assert.deepEqual(received.spans.count(), { held: 3, dropped: 1 });

  for (const text of [request(5), '{', request(6)]) received.take(text);
  assert.throws(() => received.spans.count(), SyntaxError);
  assert.deepEqual(received.spans.count(), { held: 5, dropped: 1 });
});

test('writes spans that the receiving process adds itself to the file too', async (t) => {
  const file = join(folder, 'own.jsonl');
  const receiver = await startSpanReceiver({ store: spanStore(), file, random: systemRandom });
  t.after(receiver.stop);
  const own = span(1, { service: 'rehearsal' });
  receiver.spans.add([own]);
  assert.deepEqual(receiver.spans.spansOfTrace(traceA), [own]);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), JSON.parse(JSON.stringify(own)));
});

test('takes spans although its file has no space', async (t) => {
  const full = join(folder, 'no-space.jsonl');
  symlinkSync('/dev/full', full);
  const receiver = await startSpanReceiver({ store: spanStore(), file: full, random: systemRandom });
  t.after(receiver.stop);
  const own = span(1, { service: 'rehearsal' });
  receiver.spans.add([own]);
  assert.deepEqual(receiver.spans.spansOfTrace(traceA), [own]);
});

test('refuses an export it cannot read, with the reason, and accepts the next one', async (t) => {
  const store = spanStore();
  const receiver = await startSpanReceiver({ store, file: join(folder, 'refused.jsonl'), random: systemRandom });
  t.after(receiver.stop);
  const post = async (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => {
    const response = await fetch(`${receiver.endpoint}/v1/traces`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    });
    return `${response.status} ${await response.text()}`;
  };
  const request = (traceId: string) =>
    JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [{ traceId, spanId: spanId(1) }] }] }] });
  assert.match(await post('{'), /^400 /);
  assert.match(await post(request('xyz')), /^400 .*traceId must have 32 hex digits/);
  assert.match(await post('{}', { 'content-type': 'application/x-protobuf' }), /^415 .*http\/json/);
  assert.match(await post('not zipped', { 'content-encoding': 'gzip' }), /^400 /);
  assert.equal((await fetch(new URL('/v1/traces', receiver.endpoint), { method: 'POST' })).status, 404);
  assert.equal(store.count().held, 0);
  assert.match(await post(Uint8Array.from(gzipSync(request(traceA))), { 'content-encoding': 'gzip' }), /^200 /);
  assert.equal(store.count().held, 1);
});

test('moves a full file aside and starts a new one', async (t) => {
  const file = join(folder, 'full.jsonl');
  const receiver = await startSpanReceiver({ store: spanStore(), file, random: systemRandom, fileBytesMax: 300 });
  t.after(receiver.stop);
  for (let count = 0; count < 3; count += 1) {
    const spans = [{ traceId: traceA, spanId: spanId(1) }];
    await fetch(`${receiver.endpoint}/v1/traces`, {
      method: 'POST',
      body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }),
      headers: { 'content-type': 'application/json' },
    });
  }
  assert(existsSync(join(folder, 'full.1.jsonl')));
  assert.equal(readFileSync(file, 'utf8').trimEnd().split('\n').length, 1);
});
