import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { type Finding, type Probes, startProbes } from './probe-server.ts';

let probes: Probes | undefined;
let isStopping = false;
afterEach(async () => {
  await probes?.close();
  isStopping = false;
});

const start = async (findings?: readonly Finding[] | Error): Promise<Probes> => {
  probes = await startProbes('127.0.0.1:0', () => isStopping);
  if (findings !== undefined) {
    probes.started(async () => {
      if (findings instanceof Error) throw findings;
      return findings;
    });
  }
  return probes;
};
const ask = async (path: string): Promise<readonly [number, unknown]> => {
  const response = await fetch(`http://${probes?.address}${path}`);
  return [response.status, await response.json()];
};
const finding = (name: string, isThere: boolean, counts = true): Finding => ({ name, isThere, counts });

describe('probes of a kubelet', () => {
  test('a starting process is live, not started and not ready', async () => {
    await start();
    assert.deepEqual(await ask('/livez'), [200, { live: true }]);
    assert.deepEqual(await ask('/startupz'), [503, { started: false }]);
    assert.deepEqual(await ask('/readyz'), [503, { started: false }]);
  });

  test('a started process is ready if all required findings are present', async () => {
    await start([finding('store', true), finding('bus', true, false)]);
    assert.deepEqual(await ask('/startupz'), [200, { started: true }]);
    assert.deepEqual(await ask('/readyz'), [200, { store: true, bus: true }]);
  });

  test('a process without its store is live but not ready', async () => {
    await start([finding('store', false), finding('bus', true, false)]);
    assert.deepEqual(await ask('/readyz'), [503, { store: false, bus: true }]);
    assert.deepEqual(await ask('/livez'), [200, { live: true }]);
  });

  test('a process with an unreachable bus is ready, and reports the bus', async () => {
    await start([finding('store', true), finding('bus', false, false)]);
    assert.deepEqual(await ask('/readyz'), [200, { store: true, bus: false }]);
  });

  test('a stopping process is live but not ready', async () => {
    await start([finding('store', true)]);
    isStopping = true;
    assert.deepEqual(await ask('/readyz'), [503, { stopping: true }]);
    assert.deepEqual(await ask('/livez'), [200, { live: true }]);
  });

  test('a process whose findings cannot be read is not ready', async () => {
    await start(new Error('cannot look'));
    assert.deepEqual(await ask('/readyz'), [503, { looked: false }]);
  });

  test('other paths are 404, and an address that cannot be bound is an error', async () => {
    const { address } = await start();
    assert.equal((await ask('/metrics'))[0], 404);
    await assert.rejects(
      startProbes(address, () => false),
      /EADDRINUSE/,
    );
    await assert.rejects(
      startProbes('nowhere', () => false),
      /nowhere is not host:port/,
    );
  });
});
