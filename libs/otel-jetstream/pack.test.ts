import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startTestNatsServer } from '../messaging/src/test-nats-server.ts';
import { packOtelJetstream } from './pack.ts';

const run = promisify(execFile);
const installed = fileURLToPath(new URL('node_modules', import.meta.url));

const sdk = `
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
export const show = () => console.log(JSON.stringify(exporter.getFinishedSpans().map((span) => ({
  name: span.name, ...span.spanContext(), parentId: span.parentSpanContext?.spanId }))));
`;

const client = `
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { instrumentJetStream, processMessage } from 'otel-jetstream';
import { show } from './sdk.js';
const connection = await connect({ servers: process.argv[2] });
const manager = await jetstreamManager(connection);
const js = instrumentJetStream(jetstream(connection), { connection });
`;

const publisher = `${client}
await manager.streams.add({ name: 'orders', subjects: ['orders.>'] });
await js.publish('orders.created', '{}');
await connection.close();
show();
`;

const receiver = `${client}
await manager.consumers.add('orders', { durable_name: 'billing', ack_policy: 'explicit' });
for await (const message of await (await js.consumers.get('orders', 'billing')).consume()) {
  await processMessage(message, () => undefined);
  message.ack();
  break;
}
await connection.close();
show();
`;

interface Shown {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId?: string;
}

test('the packed package traces a message between two processes in a separate project', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-packed-'));
  const server = await startTestNatsServer();
  try {
    const modules = join(folder, 'node_modules');
    mkdirSync(join(modules, 'otel-jetstream'), { recursive: true });
    const archive = packOtelJetstream(folder);
    execFileSync('tar', ['-xzf', archive, '--strip-components=1', '-C', join(modules, 'otel-jetstream')]);
    for (const scope of ['@nats-io', '@opentelemetry']) symlinkSync(join(installed, scope), join(modules, scope));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    for (const [name, text] of Object.entries({ sdk, publisher, receiver }))
      writeFileSync(join(folder, `${name}.js`), text);
    const spansOf = async (script: string): Promise<readonly Shown[]> =>
      JSON.parse((await run(process.execPath, [join(folder, script), server.url])).stdout);
    const [publish] = await spansOf('publisher.js');
    const received = await spansOf('receiver.js');
    const [process_, ack] = ['process', 'ack'].map((operation) =>
      received.find(({ name }) => name === `${operation} orders.created`),
    );
    assert.equal(publish?.name, 'publish orders.created');
    assert.deepEqual(
      [process_?.traceId, process_?.parentId, ack?.parentId],
      [publish?.traceId, publish?.spanId, process_?.spanId],
    );
  } finally {
    await server.remove();
    rmSync(folder, { recursive: true, force: true });
  }
});
