import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { renewable, systemClock } from '@interlock/runtime';
import { makeAuthority, makeServer, type Pair, pemOf } from '../../../../../deploy/local/certificates.ts';
import { parseNbdAddress } from './address.ts';
import { type Arrival, NbdDoor } from './door.ts';
import { nbdListener } from './listener.ts';
import { TestNbdClient } from './test-nbd-client.ts';
import { option, optionReply } from './wire.ts';

test('an address is an absolute path of a socket, or a host with a port', () => {
  assert.deepEqual(parseNbdAddress('unix:/run/d.sock'), { kind: 'unix', path: '/run/d.sock' });
  assert.deepEqual(parseNbdAddress('tls://[::1]:10809'), { kind: 'tls', host: '::1', port: 10_809 });
  for (const wrong of [
    '',
    'unix:',
    'unix:d.sock',
    'tcp://h:1',
    'tls://h',
    'tls://h:70000',
    'tls://:1',
    '/run/d.sock',
  ]) {
    assert.equal(parseNbdAddress(wrong), undefined, wrong);
  }
});

/** Serves a negotiation and nothing else, to show which clients get that far. */
const greetOnly = (seen: Duplex[]) => (stream: Duplex, arrival: Arrival) => {
  seen.push(stream);
  const door = new NbdDoor({
    exports: {
      open: () => Promise.reject(new Error('no disk here')),
      names: async () => ['subscriptions/s/resourceGroups/g/disks/d'],
    },
    clock: systemClock,
    logError: assert.fail,
  });
  void door.serve(stream, arrival);
};

test('a Unix socket admits only its user, replaces an old file, and serves without TLS', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'd.sock');
  writeFileSync(path, '');
  const listener = nbdListener({ kind: 'unix', path }, 'plaintext');
  await listener.listen(greetOnly([]));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const client = await new TestNbdClient(connect(path)).greet();
  assert.equal((await client.option(option.list)).length, 2);
  await client.option(option.abort);
  await client.ended();
  await listener.close();
});

test('a Unix socket also admits a group if one is given', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'd.sock');
  // Only root can give a file to a group that it is not in.
  const group = process.getuid?.() === 0 ? 65_534 : (process.getgid?.() ?? 0);
  const listener = nbdListener({ kind: 'unix', path }, 'plaintext', group);
  await listener.listen(greetOnly([]));
  const { mode, gid } = statSync(path);
  assert.deepEqual([mode & 0o777, gid], [0o660, group]);
  await listener.close();
});

/** A listener on TCP whose clients need a certificate of `authority`. */
const overTcp = async (authority: Pair) => {
  const { certificate: ca } = await pemOf(authority);
  const names = { dns: ['localhost'], ip: ['127.0.0.1'] };
  const { certificate, key } = await pemOf(await makeServer(authority, Date.now(), names));
  const endsAt = Date.now() + 60_000;
  const tls = renewable({ certificate, key, ca, endsAt, authorityEndsAt: endsAt });
  const port = await freePort();
  const listener = nbdListener({ kind: 'tls', host: '127.0.0.1', port }, async () => tls.current());
  await listener.listen(greetOnly([]));
  return { listener, port, ca };
};

const freePort = async (): Promise<number> => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
};

test('over TCP, a client must use STARTTLS with a certificate of the authority before other options', async (t) => {
  const [authority, stranger] = [await makeAuthority(Date.now()), await makeAuthority(Date.now())];
  const { listener, port, ca } = await overTcp(authority);
  t.after(() => listener.close());
  const secured = async (by: Pair | undefined): Promise<TestNbdClient> => {
    const socket = connect(port, '127.0.0.1');
    const client = await new TestNbdClient(socket).greet();
    assert.equal((await client.option(option.list)).at(-1)?.kind, optionReply.tlsRequired);
    assert.equal((await client.option(option.startTls)).at(-1)?.kind, optionReply.ack);
    const own = by && (await pemOf(await makeServer(by, Date.now(), { dns: ['client'], ip: [] })));
    const shown = own && { cert: own.certificate, key: own.key };
    client.release();
    return new TestNbdClient(connectTls({ socket, ca, servername: 'localhost', ...shown }));
  };
  const client = await secured(authority);
  assert.equal((await client.option(option.list)).length, 2);
  assert.equal((await client.option(option.startTls)).at(-1)?.kind, optionReply.invalid);
  client.stream.destroy();
  for (const by of [stranger, undefined]) {
    const refused = await secured(by);
    await assert.rejects(refused.option(option.list), /the connection ended/);
  }
});
