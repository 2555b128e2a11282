import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, connect as dial, type Socket } from 'node:net';
import { test } from 'node:test';
import type { Step } from '@interlock/lab';
import { openLinks } from './links.ts';

const step = (action: Step['action'], targets: readonly string[]): Step => ({
  name: action,
  atMs: 0,
  action,
  targets,
  options: {},
  line: 1,
});

const estate = { kind: 'planned', groups: [] } as const;

/** A server that echoes what it receives. */
const openEcho = async (t: { after(work: () => void): void }): Promise<string> => {
  const server = createServer((socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return `127.0.0.1:${address.port}`;
};

const dialAt = (address: string): Socket => dial(Number(address.split(':')[1]), '127.0.0.1');
/** A process with the command line of a guest, which sends the lines of its input to an address and prints what comes back. */
const guestOf = (host: string, address: string): ChildProcess => {
  const code = `const socket = require('node:net').connect(${address.split(':')[1]}, '127.0.0.1'); process.stdin.pipe(socket).pipe(process.stdout);`;
  return spawn(process.execPath, ['-e', code, `/data/services/${host}/guests/machines/a`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
};
const echoOf = (guest: ChildProcess, text: string): Promise<string> =>
  new Promise((resolve) => {
    guest.stdout?.once('data', (data) => resolve(String(data)));
    guest.stdin?.write(text);
  });
const reply = (socket: Socket, text: string): Promise<string> =>
  new Promise((resolve) => {
    socket.once('data', (data) => resolve(String(data)));
    socket.write(text);
  });

test('only the connections that the experiment slows or cuts use a proxy', async (t) => {
  assert.equal(await openLinks({ estate, timeline: [step('kill', ['disk'])] }), undefined);
  const links = await openLinks({ estate, timeline: [step('cut', ['disk', 'key-vault'])] });
  assert.ok(links);
  t.after(links.close);
  assert.notEqual(links.route('disk', 'key-vault', 'localhost:1'), 'localhost:1');
  assert.match(links.route('key-vault', 'disk', 'localhost:1'), /^localhost:\d+$/);
  assert.equal(links.route('disk', 'identity', 'localhost:1'), 'localhost:1');
  assert.equal(links.route('compute', 'key-vault', 'localhost:1'), 'localhost:1');
});

test('a disk host has connections of its own; the one with the disks of a group may be any', async (t) => {
  const hosts = { ...estate, diskHosts: 2 };
  const links = await openLinks({
    estate: hosts,
    timeline: [step('cut', ['disk-host-of-premium', 'disk']), step('cut', ['disk-host-1', 'nats'])],
  });
  assert.ok(links);
  t.after(links.close);
  type Pair = [Parameters<typeof links.route>[0], Parameters<typeof links.route>[1]];
  const isRouted = (...[from, to]: Pair): boolean => links.route(from, to, 'localhost:1') !== 'localhost:1';
  assert.ok(isRouted('disk', 'disk-host-0') && isRouted('disk', 'disk-host-1'));
  assert.ok(isRouted('disk-host-1', 'nats'));
  assert.ok(!isRouted('disk-host-0', 'nats') && !isRouted('disk', 'nats') && !isRouted('compute', 'disk-host-0'));
});

test('only the guests of a cut VM host lose a disk host, though the guests of all VM hosts call it at one address', async (t) => {
  const hosts = { ...estate, diskHosts: 1, vmHosts: 2 };
  const links = await openLinks({ estate: hosts, timeline: [step('cut', ['vm-host-1', 'disk-host-0'])] });
  assert.ok(links);
  t.after(links.close);
  const address = links.route('compute', 'disk-host-0', await openEcho(t));
  assert.match(address, /^127/);
  const [cut, other] = [guestOf('vm-host-1', address), guestOf('vm-host-0', address)];
  t.after(() => [cut, other].forEach((guest) => void guest.kill('SIGKILL')));
  for (const guest of [cut, other]) assert.equal(await echoOf(guest, 'one'), 'one');
  links.cut(['vm-host-1', 'disk-host-0']);
  let passed = false;
  const late = echoOf(cut, 'two').then((text) => {
    passed = true;
    return text;
  });
  while (!links.hasStalled(['vm-host-1', 'disk-host-0'])) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(await echoOf(other, 'two'), 'two');
  assert.equal(passed, false);
  links.heal(['vm-host-1', 'disk-host-0']);
  assert.equal(await late, 'two');
});

test('a VM host is called by compute, and calls compute and identity; a disk host is called by disk hosts too', async (t) => {
  const hosts = { ...estate, diskHosts: 2, vmHosts: 1 };
  const cut = (...targets: readonly string[]) => openLinks({ estate: hosts, timeline: [step('cut', targets)] });
  const links = [await cut('vm-host-0', 'compute'), await cut('disk-host-0', 'disk-host-1')];
  t.after(() => links.forEach((one) => void one?.close()));
  const [ofVmHost, ofDisks] = links;
  assert.notEqual(ofVmHost?.route('compute', 'vm-host-0', 'localhost:1'), 'localhost:1');
  assert.notEqual(ofVmHost?.route('vm-host-0', 'compute', 'localhost:1'), 'localhost:1');
  assert.notEqual(ofDisks?.route('disk', 'disk-host-0', 'localhost:1'), 'localhost:1');
  assert.equal(await cut('vm-host-0', 'nats'), undefined);
});

test('a link that is cut carries nothing, also for new connections, until it is healed', async (t) => {
  const links = await openLinks({ estate, timeline: [step('cut', ['disk', 'key-vault'])] });
  assert.ok(links);
  t.after(links.close);
  const address = links.route('disk', 'key-vault', await openEcho(t));
  const before = dialAt(address);
  assert.equal(await reply(before, 'one'), 'one');
  links.cut(['disk', 'key-vault']);
  const during = dialAt(address);
  let passed = 0;
  const replies = [reply(before, 'two'), reply(during, 'three')];
  for (const one of replies) void one.then(() => (passed += 1));
  while (!links.hasStalled(['disk', 'key-vault'])) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(passed, 0);
  links.heal(['disk', 'key-vault']);
  assert.deepEqual(await Promise.all(replies), ['two', 'three']);
  for (const socket of [before, during]) socket.destroy();
});

test('a slow link delays every byte and keeps their order', async (t) => {
  const links = await openLinks({ estate, timeline: [step('slow', ['key-vault'])] });
  assert.ok(links);
  t.after(links.close);
  const echo = await openEcho(t);
  const address = links.route('compute', 'key-vault', echo);
  const [slow, direct, ordered] = [dialAt(address), dialAt(echo), dialAt(address)];
  t.after(() => [slow, direct, ordered].forEach((socket) => void socket.destroy()));
  for (const socket of [slow, direct, ordered]) assert.equal(await reply(socket, 'warm'), 'warm');
  let received = '';
  slow.on('data', (data) => (received += String(data)));
  links.slow('key-vault', 3_600_000);
  slow.write('late');
  // Without the delay the reply is here before those of ten later round trips.
  for (let trips = 0; trips < 10; trips++) await reply(direct, 'on time');
  assert.equal(received, '');

  links.slow('key-vault', 20);
  let all = '';
  const whole = new Promise<void>((resolve) => {
    ordered.on('data', (data) => {
      all += String(data);
      if (all.length === 8) resolve();
    });
  });
  ordered.write('late');
  links.slow('key-vault', 0);
  ordered.write('next');
  await whole;
  assert.equal(all, 'latenext');
});
