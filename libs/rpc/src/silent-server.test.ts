import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMutingProxy } from '@interlock/event-store/test-cut-connections';
import { openChannel } from './channel.ts';
import { RpcFailure } from './errors.ts';
import { transports } from './test-echo.ts';

test('G2, G3: a connection on which nothing comes back any more is given up, and what is asked next goes over a new one', async (t) => {
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
