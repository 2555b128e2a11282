import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { targetOf } from './address-list.ts';
import { openChannel } from './channel.ts';
import { RpcFailure } from './rpc-failure.ts';
import { transports } from './test-echo.ts';

test('a client with a list of addresses reaches another server after one has stopped', async () => {
  const [a, b] = await Promise.all([transports.gRPC(), transports.gRPC()]);
  const channel = openChannel({ address: `${a.channel.peer},${b.channel.peer}`, tls: 'plaintext' });
  const client = a.connect({ channel });
  const ask = async () => (await client.change({ text: 'x' })).text;
  /** Retries, because the client does not retry a call that is running while its server stops. */
  const askAgain = async (): Promise<string> => {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof RpcFailure && error.code === 'UNAVAILABLE')) throw error;
        await systemClock.sleep(20);
      }
    }
  };
  try {
    assert.equal(await ask(), 'x');
    await a.stopServer();
    assert.equal(await askAgain(), 'x');
  } finally {
    channel.close();
    await Promise.all([a.close(), b.close()]);
  }
});

test('targetOf returns a single address unchanged, and throws for a malformed list', () => {
  assert.equal(targetOf('identity:7400'), 'identity:7400');
  assert.equal(targetOf('dns:///identity:7400'), 'dns:///identity:7400');
  for (const wrong of ['a:1,', 'a:1,b', 'a:1, b:2', 'a:1,b:2:3'])
    assert.throws(() => targetOf(wrong), /in the list of addresses/);
});
