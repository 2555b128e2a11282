import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { LauncherError } from './data-folder.ts';
import { freePorts } from './free-port.ts';
import { requireFree, wantedPorts } from './wanted-ports.ts';

const occupy = async (t: TestContext, host: string, port: number): Promise<void> => {
  const server = createServer().listen(port, host);
  t.after(() => server.close());
  await once(server, 'listening');
};

test('a port in use is refused before anything is started, with the variable that chooses another', async (t) => {
  const [port = 0, loopbackPort = 0, nbd = 0] = await freePorts(3);
  const wanted = wantedPorts({ NBD_LISTEN: `tls://127.0.0.1:${nbd}` }, { host: 'localhost', port, loopbackPort });
  await requireFree(wanted);
  // The check leaves them free.
  await requireFree(wanted);
  const messageOf = async (): Promise<string> => {
    const error = await requireFree(wanted).then(
      () => assert.fail('the ports were accepted'),
      (refusal: unknown) => refusal,
    );
    assert.ok(error instanceof LauncherError);
    return error.message;
  };
  await occupy(t, '::1', port);
  assert.match(await messageOf(), new RegExp(`^Port ${port} of ::1, for the gateway, .*\\bINTERLOCK_GATEWAY_PORT=`));
  await occupy(t, '127.0.0.1', loopbackPort);
  await occupy(t, '127.0.0.1', nbd);
  assert.match(await messageOf(), /INTERLOCK_GATEWAY_PORT=.*INTERLOCK_LOOPBACK_PORT=.*NBD_LISTEN=tls:/s);
});

test('one port for both servers of the gateway is refused', async () => {
  const [port = 0] = await freePorts(1);
  await assert.rejects(
    requireFree(wantedPorts({}, { host: 'localhost', port, loopbackPort: port })),
    /INTERLOCK_LOOPBACK_PORT=/,
  );
});

test('without a gateway and without NBD over TCP, no port is needed', () => {
  assert.deepEqual(wantedPorts({}, undefined), []);
  assert.deepEqual(wantedPorts({ NBD_LISTEN: 'unix:/run/x.sock' }, undefined), []);
});
