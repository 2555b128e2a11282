import { createServer } from 'node:http';
import { fork } from 'node:child_process';
import { SpanKind } from '@opentelemetry/api';
import { systemRandom } from './random.ts';
import { startTelemetry } from './telemetry.ts';
import { inSpan } from './tracing.ts';
if (process.argv[2] === 'sink') {
  const s = createServer((q, a) => { q.resume(); q.on('end', () => { a.setHeader('content-type', 'application/json'); a.end('{}'); }); });
  s.listen(0, '127.0.0.1', () => process.send?.((s.address() as { port: number }).port));
} else {
  const sink = fork(import.meta.filename, ['sink']);
  const port = await new Promise((r) => sink.once('message', r));
  const mode = process.argv[2] ?? 'on';
  const t = startTelemetry({ service: 'x', random: systemRandom, disabled: mode === 'off', ...(mode === 'on' ? { tracesEndpoint: `http://127.0.0.1:${port}/v1/traces`, batch: { delayMs: 1000, queueSizeMax: 16384, batchSizeMax: 1024 } } : {}) });
  const attributes = { 'rpc.system': 'grpc', 'rpc.service': 'interlock.key_vault.v1.CryptographyService', 'rpc.method': 'UnwrapKey', 'server.address': '127.0.0.1', 'server.port': 4000, 'interlock.key.version': 'vaults/a/keys/b/versions/0123456789abcdef0123456789abcdef' };
  const one = () => inSpan(t.tracer, 'interlock.key_vault.v1.CryptographyService/UnwrapKey', { kind: SpanKind.SERVER, attributes }, async (span) => { span.setAttribute('rpc.grpc.status_code', 0); await inSpan(t.tracer, 'append key', { attributes: { 'interlock.stream': 'x', 'interlock.stream.version': 3 } }, async () => undefined); });
  const run = async (n: number) => { for (let i = 0; i < n; i++) { await one(); if (i % 50 === 0) await new Promise((r) => setImmediate(r)); } };
  await run(4000); await t.flush();
  const best: number[] = [];
  for (let k = 0; k < 8; k++) { const u = process.cpuUsage(); await run(4000); await t.flush(); const d = process.cpuUsage(u); best.push((d.user + d.system) / 8000); }
  best.sort((a, b) => a - b);
  console.log(mode, 'µs CPU a span', best[1]!.toFixed(2), best[4]!.toFixed(2));
  await t.shutdown(); sink.kill(); process.exit(0);
}
