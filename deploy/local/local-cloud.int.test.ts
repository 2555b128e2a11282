import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createScope } from '@interlock/runtime';
import { openDataFolder } from './data-folder.ts';
import { startLocalCloud } from './local-cloud.ts';
import { processStart } from './lock.mjs';
import { removeStreams } from './nats-streams.ts';
import type { Crash } from './restartable.ts';
import { serviceNames } from './services.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const env = { PATH: process.env.PATH, DATABASE_URL: process.env.DATABASE_URL, NATS_URL: process.env.NATS_URL };
const uniqueName = () => `test_${randomBytes(4).toString('hex')}`;

/** Answers each HTTP request with its environment, and exits with status 9 on a request for /fail. */
const fixture = join(folder, 'service.ts');
writeFileSync(
  fixture,
  `import { createServer } from 'node:http';
   const [host, port] = process.env.SERVICE_ADDRESS.split(':');
   const server = createServer((request, response) => {
     if (request.url === '/fail') { console.error('something broke'); process.exit(9); }
     response.end(JSON.stringify(process.env));
   });
   process.on('SIGTERM', () => process.exit(0));
   server.listen(Number(port), host, () => console.log(JSON.stringify({ ready: true, service: 'fixture', address: process.env.SERVICE_ADDRESS })));`,
);
const broken = join(folder, 'broken.ts');
writeFileSync(broken, `console.error('the setting LEASE_TTL is wrong'); process.exit(78);`);

const ask = async (address: string): Promise<Record<string, string>> =>
  JSON.parse(await (await fetch(`http://${address}/`)).text());

async function gone(pid: number): Promise<void> {
  while (processStart(pid) !== undefined) await delay(5);
}

test('every service gets its settings, its files, its database and the addresses of the others', async (t) => {
  const data = openDataFolder(join(folder, 'environment'));
  const name = uniqueName();
  const cloud = await startLocalCloud({
    data,
    env,
    name,
    temporary: true,
    entry: () => fixture,
    settings: { LEASE_TTL_MS: '1000' },
  });
  t.after(cloud.stop);
  const seen = await Promise.all(serviceNames.map((service) => ask(cloud.addresses[service])));
  for (const [index, service] of serviceNames.entries()) {
    const { [index]: own } = seen;
    assert(own !== undefined);
    assert.equal(own.KEY_VAULT_ADDRESS, cloud.addresses['key-vault']);
    assert.equal(own.DISK_ENCRYPTION_SET_ADDRESS, cloud.addresses['disk-encryption-set']);
    assert.equal(own.SERVICE_ADDRESS, cloud.addresses[service].replace('localhost', '127.0.0.1'));
    assert.equal(new URL(own.DATABASE_URL ?? '').pathname, `/${name}_${service.replaceAll('-', '_')}`);
    assert.equal(own.DATA_FOLDER, data.path('services', service));
    assert.equal(own.NATS_NAMESPACE, name);
    assert.equal(own.LEASE_TTL_MS, '1000');
    for (const file of [
      'TLS_CERTIFICATE_FILE',
      'TLS_KEY_FILE',
      'TLS_CA_FILE',
      'WORKLOAD_SECRET_FILE',
      'BOOTSTRAP_FILE',
      'MASTER_KEY_FILE',
    ]) {
      assert(existsSync(own[file] ?? ''), `${file} names a file`);
    }
  }
  assert.equal(new Set(seen.map((own) => own.WORKLOAD_ID)).size, serviceNames.length);
  assert.equal(JSON.parse(readFileSync(data.path('cloud.json'), 'utf8')).addresses.disk, cloud.addresses.disk);
  assert.equal(statSync(data.path('administrator.json')).mode & 0o777, 0o600);
  await cloud.stop();
  assert(!existsSync(data.path('cloud.json')));
});

test('a cloud that is closed while it starts ends its services first, reports no crash and frees the folder', async () => {
  const scope = createScope();
  const crashes: Crash[] = [];
  const data = openDataFolder(join(folder, 'interrupted'));
  let closing: Promise<void> | undefined;
  const starting = startLocalCloud({
    data,
    env,
    name: uniqueName(),
    temporary: true,
    entry: () => fixture,
    within: scope,
    onCrash: (crash) => crashes.push(crash),
    say: (line) => {
      if (/serves on/.test(line)) closing ??= scope.close();
    },
  });
  await assert.rejects(starting, /stopped while it started/);
  await closing;
  assert.deepEqual(crashes, []);
  assert.equal(existsSync(data.path('cloud.json')), false);
  // The folder is free for another cloud.
  const again = await startLocalCloud({
    data,
    env,
    name: uniqueName(),
    temporary: true,
    services: [],
    entry: () => fixture,
  });
  await again.stop();
});

test('a service can be killed, restarted, paused and resumed, and keeps its address', async (t) => {
  const data = openDataFolder(join(folder, 'life'));
  const crashes: Crash[] = [];
  const cloud = await startLocalCloud({
    data,
    env,
    name: uniqueName(),
    temporary: true,
    services: ['disk'],
    entry: () => fixture,
    onCrash: (crash) => crashes.push(crash),
  });
  t.after(cloud.stop);
  const first = cloud.pid('disk');
  await cloud.kill('disk');
  await assert.rejects(ask(cloud.addresses.disk));
  await cloud.restart('disk');
  assert.notEqual(cloud.pid('disk'), first);
  await ask(cloud.addresses.disk);

  cloud.pause('disk');
  const waiting = ask(cloud.addresses.disk).then(() => 'answered');
  // A stopped process does not respond; that it does so after SIGCONT is what the test waits for.
  while (!readFileSync(`/proc/${cloud.pid('disk')}/stat`, 'utf8').includes(') T ')) await delay(1);
  cloud.resume('disk');
  assert.equal(await waiting, 'answered');
  assert.throws(() => cloud.pid('compute'), /compute was not started/);
  await cloud.stop();
  assert.deepEqual(crashes, [], 'requested ends are no crashes');
});

test('reports a crash with the end of the log and a function that restarts the service', async (t) => {
  const data = openDataFolder(join(folder, 'crash'));
  const { promise: crashed, resolve } = Promise.withResolvers<Crash>();
  const cloud = await startLocalCloud({
    data,
    env,
    name: uniqueName(),
    temporary: true,
    services: ['compute'],
    entry: () => fixture,
    onCrash: resolve,
  });
  t.after(cloud.stop);
  await assert.rejects(fetch(`http://${cloud.addresses.compute}/fail`));
  const { name, status, message, restart } = await crashed;
  assert.deepEqual([name, status], ['compute', 9]);
  assert.match(message, /compute ended with status 9[\s\S]*something broke/);
  // The report is enough to restart the service.
  assert.equal(await restart(), cloud.pid('compute'));
  await ask(cloud.addresses.compute);
  await cloud.stop();
});

test('reports killed servers like services, and restarts them on the same ports', async (t) => {
  const crashes = new Map<string, Crash>();
  const said: string[] = [];
  const cloud = await startLocalCloud({
    data: openDataFolder(join(folder, 'servers')),
    env: { PATH: process.env.PATH },
    services: [],
    say: (line) => said.push(line),
    onCrash: (crash) => crashes.set(crash.name, crash),
  });
  t.after(cloud.stop);
  for (const [name, server] of [['NATS', cloud.nats] as const, ['Postgres', cloud.postgres] as const]) {
    const { pid } = server;
    assert.ok(pid !== undefined);
    assert.ok(said.some((line) => line.startsWith(name) && line.endsWith(`, process ${pid}`)));
    process.kill(pid, 'SIGKILL');
    while (!crashes.has(name)) await delay(5);
    assert.match(crashes.get(name)?.message ?? '', new RegExp(`^${name} was ended by signal 9`));
    assert.equal(await crashes.get(name)?.restart(), server.pid);
    assert.match(said.at(-1) ?? '', new RegExp(`^${name} serves again \\(process ${server.pid}, \\d+ ms\\)$`));
  }
  // Both respond at their previous addresses.
  await removeStreams(cloud.nats, 'none');
  await cloud.postgres.createDatabases(['after']);
  await cloud.stop();
});

test('a failed start gives the reason, ends every process and frees the folder', async () => {
  const data = openDataFolder(join(folder, 'fails'));
  const pids: number[] = [];
  await assert.rejects(
    startLocalCloud({
      data,
      env,
      name: uniqueName(),
      temporary: true,
      entry: (service) => (service === 'compute' ? broken : fixture),
      say: (line) => {
        if (line.startsWith('identity serves')) pids.push(1);
      },
      onCrash: () => assert.fail('a service that did not start did not crash'),
    }),
    /compute ended with status 78[\s\S]*the setting LEASE_TTL is wrong/,
  );
  assert.equal(pids.length, 1, 'the others did start');
  // The folder and everything in it is free again.
  const again = await startLocalCloud({
    data,
    env,
    name: uniqueName(),
    temporary: true,
    services: ['disk'],
    entry: () => fixture,
  });
  await again.stop();
});

test('when the launcher is killed, every process of its cloud ends, its own Postgres and NATS too', async () => {
  const root = join(folder, 'killed');
  const script = `
    import { openDataFolder } from ${JSON.stringify(import.meta.resolve('./data-folder.ts'))};
    import { startLocalCloud } from ${JSON.stringify(import.meta.resolve('./local-cloud.ts'))};
    const cloud = await startLocalCloud({
      data: openDataFolder(${JSON.stringify(root)}),
      env: { PATH: process.env.PATH },
      services: ['identity', 'disk'],
      entry: () => ${JSON.stringify(fixture)},
    });
    cloud.pause('disk');
    console.log(JSON.stringify([cloud.postgres.pid, cloud.nats.pid, cloud.pid('identity'), cloud.pid('disk')]));`;
  const launcher = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { value } = await createInterface({ input: launcher.stdout })[Symbol.asyncIterator]().next();
  const pids: number[] = JSON.parse(value ?? '[]');
  assert.equal(pids.filter((pid) => processStart(pid) !== undefined).length, 4);
  launcher.kill('SIGKILL');
  for (const pid of pids) await gone(pid);
});
