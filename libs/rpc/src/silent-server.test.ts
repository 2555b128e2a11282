import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startMutingProxy } from '@interlock/event-store/test-cut-connections';
import { openChannel } from './channel.ts';
import { RpcFailure } from './rpc-failure.ts';
import { transports } from './test-echo.ts';

test('G2, G3: a client closes a connection that returns nothing, and sends the next call over a new one', async (t) => {
  const echo = await transports.gRPC();
  const [host = '', port] = echo.channel.peer.split(':');
  const proxy = await startMutingProxy(host, Number(port));
  const channel = openChannel({ address: `127.0.0.1:${proxy.port}`, tls: 'plaintext', silenceMs: 200 });
  t.after(async () => {
    channel.close();
    proxy.close();
    await echo.close();
  });
  const client = echo.connect({ channel });
  const ask = async (text: string) => (await client.change({ text }, { deadlineMs: 3_000 })).text;
  assert.equal(await ask('heard'), 'heard');
  proxy.mute();
  await assert.rejects(ask('unheard'), RpcFailure);
  assert.equal(await ask('heard again'), 'heard again');
});

test('a server stops within 5 s although a client has become silent without closing its connection', async (t) => {
  const echo = await transports.gRPC();
  const [host = '', port] = echo.channel.peer.split(':');
  const proxy = await startMutingProxy(host, Number(port));
  const channel = openChannel({ address: `127.0.0.1:${proxy.port}`, tls: 'plaintext' });
  const client = echo.connect({ channel });
  await client.echo({ text: 'there' });
  proxy.mute();
  t.after(() => {
    channel.close();
    proxy.close();
    echo.channel.close();
  });
  // The server cuts off remaining connections after two seconds.
  const patience = AbortSignal.timeout(5_000);
  const isLate = once(patience, 'abort').then(() => 'late');
  assert.equal(await Promise.race([echo.stopServer(), isLate]), undefined);
});
