import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { freePort } from '@interlock/local/free-port.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { createStreams } from '@interlock/local/nats-streams.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { openOutside, patient } from '../cloud/clients.ts';
import { withoutTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';

/** One service on its own Postgres and NATS, which the test kills. */
let cloud: LocalCloud;
let probes = '';
const folder = mkdtempSync(join(tmpdir(), 'interlock-probes-'));
before(async () => {
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  probes = `127.0.0.1:${await freePort()}`;
  cloud = await startLocalCloud({
    data: openDataFolder(folder),
    env,
    services: ['identity'],
    settings: { ...withoutTelemetry, PROBE_ADDRESS: probes },
  });
});
after(async () => {
  await cloud?.stop();
  removeServer(openDataFolder(folder));
  rmSync(folder, { recursive: true, force: true });
});

/** The stream of the service exists and has its copies. */
const whole = { stream: true, streamCopies: true };
const ask = async (path: string): Promise<readonly [number, unknown]> => {
  const response = await fetch(`http://${probes}${path}`);
  return [response.status, await response.json()];
};
const answers = (path: string, status: number, body: object) =>
  until(`${path} answers ${status} ${JSON.stringify(body)}`, async () => {
    const [found, json] = await ask(path);
    return found === status && JSON.stringify(json) === JSON.stringify(body);
  });

test('a service stays ready without NATS and reports it; it is not ready without its store; it survives both', async () => {
  await answers('/startupz', 200, { started: true });
  await answers('/readyz', 200, { store: true, bus: true, ...whole });

  await cloud.nats.kill();
  await answers('/readyz', 200, { store: true, bus: false, ...whole });
  const outside = openOutside(cloud, patient);
  const { subscriptions } = await outside.administrator.identity.listSubscriptions({});
  assert.equal(subscriptions.length, 1);
  outside.close();
  await cloud.nats.restart();
  await answers('/readyz', 200, { store: true, bus: true, ...whole });

  await cloud.postgres.kill();
  await answers('/readyz', 503, { store: false, bus: true, ...whole });
  assert.deepEqual(await ask('/livez'), [200, { live: true }]);
  assert.deepEqual(await ask('/startupz'), [200, { started: true }]);
  await cloud.postgres.restart();
  await answers('/readyz', 200, { store: true, bus: true, ...whole });
});

test('a service that starts without its stream is not ready until an operator creates it; a running one stays ready', async () => {
  const connection = await cloud.nats.connect();
  await connection.request('$JS.API.STREAM.DELETE.interlock_identity');
  await connection.close();
  const missing = { stream: false, streamCopies: false };
  await answers('/readyz', 200, { store: true, bus: true, ...missing });
  await cloud.restart('identity');
  await answers('/readyz', 503, { store: true, bus: true, ...missing });
  await createStreams(cloud.nats, {}, { services: ['identity'], namespace: undefined });
  await answers('/readyz', 200, { store: true, bus: true, ...whole });
  const log = readFileSync(join(folder, 'logs', 'identity.log'), 'utf8');
  assert.match(
    log,
    /NATS has no stream interlock_identity; an operator creates and corrects streams: run the Job nats-streams/,
  );
});
