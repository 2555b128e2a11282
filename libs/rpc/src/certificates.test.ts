import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { systemClock as clock, logger, systemRandom as random } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type Certificates, openCertificates } from './certificates.ts';
import { openChannel } from './channel.ts';
import { connect } from './client.ts';
import type { ClientTls } from './credentials.ts';
import { RpcFailure } from './rpc-failure.ts';
import { startServer } from './server.ts';
import { service } from './service.ts';
import { type TestPair, testAuthority } from './test-authority.ts';
import { echoDefinition, openRules, principalNamed } from './test-echo.ts';
import { type SecretFolder, secretFolder } from './test-secret-folder.ts';

const dayMs = 86_400_000;
const names = { certificate: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const;

let folder: string;
let logged: string[];
let closings: (() => Promise<unknown> | unknown)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'interlock-certificates-'));
  logged = [];
  closings = [];
});
afterEach(async () => {
  for (const close of closings.toReversed()) await close();
  rmSync(folder, { recursive: true, force: true });
});

const log = logger({ service: 'test', clock, write: (line) => logged.push(line) });
const says = (text: string): boolean => logged.some((line) => line.includes(text));
const until = async (what: string, look: () => boolean): Promise<void> => {
  const endMs = clock.monotonicMs() + 30_000;
  while (!look()) {
    assert.ok(clock.monotonicMs() < endMs, `never: ${what}; ${logged.join('')}`);
    await clock.sleep(2);
  }
};
const lay = (secret: SecretFolder, pair: TestPair, ca: string): void =>
  secret.lay({ [names.certificate]: pair.certificate, [names.key]: pair.key, [names.ca]: ca });
const follow = async (secret: SecretFolder) => {
  const files = {
    certificate: secret.file(names.certificate),
    key: secret.file(names.key),
    ca: secret.file(names.ca),
    clientCa: secret.file(names.ca),
  };
  const opened = await openCertificates({ files, clock, log, intervalMs: 5 });
  closings.push(opened.close);
  return opened;
};
const serialOf = ({ certificate }: Pick<Certificates, 'certificate'>) => new X509Certificate(certificate).serialNumber;
/** Serial number of the certificate that a server presents to a new connection. */
const shownAt = (address: string, tls: ClientTls): Promise<string> =>
  new Promise((resolve, reject) => {
    const [host, port] = address.split(':');
    const { ca, certificate: cert, key } = tls;
    const socket = connectTls({ host, port: Number(port), ca, ...(cert && key ? { cert, key } : {}) }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on('error', reject);
  });

test('no call fails while certificates and authorities are replaced; the old ones are refused afterwards', async () => {
  const [before, after] = await Promise.all([testAuthority('before'), testAuthority('after')]);
  const [atServer, atClient] = [secretFolder(join(folder, 'server')), secretFolder(join(folder, 'client'))];
  const oldClient = await before.issue();
  lay(atServer, await before.issue(), before.ca);
  lay(atClient, oldClient, before.ca);
  const [serverTls, tls] = [await follow(atServer), await follow(atClient)];

  const goOn = Promise.withResolvers<void>();
  const server = await startServer({
    address: '127.0.0.1:0',
    tls: serverTls,
    services: [
      service({
        definition: echoDefinition,
        authorization: openRules,
        implementation: {
          echo: async (request) => request,
          change: async (request) => request,
          list: async function* (request) {
            yield request;
            await goOn.promise;
            yield request;
          },
          join: async () => ({ text: '' }),
        },
      }),
    ],
    authenticate: async (token) => principalNamed(token),
    authorize: async () => ({ allowed: true, principalActive: true }),
    clock,
    random,
    tracer: trace.getTracer('test'),
    log,
  });
  closings.push(() => server.stop({ graceMs: 0, streamGraceMs: 0 }));
  const clientWith = (shown: Parameters<typeof openChannel>[0]['tls']) => {
    const channel = openChannel({ address: server.address, tls: shown });
    closings.push(() => channel.close());
    const credentials = { token: async () => 'user-1', refused: () => undefined };
    const seams = { clock, random, tracer: trace.getTracer('test'), credentials, audience: 'interlock:echo' };
    // One try, because a retry would hide a failure.
    return connect({
      channel,
      definition: echoDefinition,
      retry: { attemptsMax: 1, backoffMs: 1, backoffMsMax: 1 },
      ...seams,
    });
  };

  const lasting = clientWith(tls);
  const answers = lasting.list({ text: 'a stream that lasts' })[Symbol.asyncIterator]();
  assert.deepEqual((await answers.next()).value, { text: 'a stream that lasts' });
  let calls = 0;
  let isOver = false;
  const calling = (async () => {
    for (; !isOver; calls += 1) {
      // Calls a method that is not retried, over the existing connection and over a new one.
      assert.deepEqual(await lasting.change({ text: 'a' }), { text: 'a' });
      assert.deepEqual(await clientWith(tls).change({ text: 'b' }), { text: 'b' });
    }
  })();
  const atEach = async (step: () => Promise<void>): Promise<void> => {
    await step();
    const reached = calls + 3;
    await Promise.race([calling, until('calls go on', () => calls >= reached)]);
  };

  const both = `${before.ca}\n${after.ca}`;
  const [serverPair, clientPair] = await Promise.all([after.issue(), after.issue()]);
  // Both sides trust both authorities, then each presents a new certificate, then both drop the old authority.
  for (const [secret, opened, pair, ca] of [
    [atServer, serverTls, serverTls.current(), both],
    [atClient, tls, tls.current(), both],
    [atServer, serverTls, serverPair, both],
    [atClient, tls, clientPair, both],
    [atClient, tls, clientPair, after.ca],
    [atServer, serverTls, serverPair, after.ca],
  ] as const) {
    await atEach(async () => {
      lay(secret, pair, ca);
      await until('renewed', () => opened.current().ca === ca && opened.current().certificate === pair.certificate);
    });
  }
  assert.equal(await shownAt(server.address, { ca: after.ca, ...clientPair }), serialOf(serverPair));
  isOver = true;
  await calling;
  goOn.resolve();
  assert.deepEqual((await answers.next()).value, { text: 'a stream that lasts' });
  assert.equal((await answers.next()).done, true);
  // A client that still presents the old certificate, or trusts the old authority, cannot connect.
  const isRefused = (error: unknown) => error instanceof RpcFailure && error.code === 'UNAVAILABLE';
  await assert.rejects(clientWith({ ca: after.ca, ...oldClient }).change({ text: 'c' }), isRefused);
  await assert.rejects(clientWith({ ca: before.ca, ...clientPair }).change({ text: 'c' }), isRefused);
});

test('an incomplete or mismatched renewal is not used, and the log says why, until the files are correct', async () => {
  const authority = await testAuthority('ours');
  const [first, next] = await Promise.all([authority.issue(), authority.issue()]);
  const secret = secretFolder(join(folder, 'tls'));
  lay(secret, first, authority.ca);
  const opened = await follow(secret);
  const half = next.certificate.slice(0, next.certificate.length / 2);
  const cases: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['tls.crt has a certificate that cannot be read', { 'tls.crt': half, 'tls.key': next.key, 'ca.crt': authority.ca }],
    ['tls.crt has no certificate in PEM form', { 'tls.crt': '', 'tls.key': next.key, 'ca.crt': authority.ca }],
    ['is not that of the certificate', { 'tls.crt': next.certificate, 'tls.key': first.key, 'ca.crt': authority.ca }],
    ['no private key that can be read', { 'tls.crt': next.certificate, 'tls.key': 'x', 'ca.crt': authority.ca }],
    ['ca.crt has no certificate', { 'tls.crt': next.certificate, 'tls.key': next.key, 'ca.crt': '' }],
    ['ENOENT', { 'tls.crt': next.certificate, 'ca.crt': authority.ca }],
  ];
  for (const [problem, texts] of cases) {
    logged.length = 0;
    secret.lay(texts);
    await until(problem, () => says(problem) && says('the one from before stays in use'));
    assert.equal(opened.current().certificate, first.certificate);
    logged.length = 0;
    lay(secret, first, authority.ca);
    await until('in order again', () => says('in order again'));
  }
  lay(secret, next, authority.ca);
  await until('renewed', () => says('TLS certificate renewed'));
  assert.equal(opened.current().certificate, next.certificate);
  assert.ok(says(serialOf(next)));
  assert.ok(!says('PRIVATE KEY'), 'no key is in the log');
});

test('an expired or future certificate does not replace a valid one; a valid one replaces an expired one', async () => {
  const authority = await testAuthority('ours');
  const past = { notBefore: new Date(Date.now() - 2 * dayMs), notAfter: new Date(Date.now() - dayMs) };
  const future = { notBefore: new Date(Date.now() + dayMs), notAfter: new Date(Date.now() + 2 * dayMs) };
  const [ended, early, good] = await Promise.all([authority.issue(past), authority.issue(future), authority.issue()]);
  const secret = secretFolder(join(folder, 'tls'));
  lay(secret, ended, authority.ca);
  // With only an expired certificate the process starts too: it waits for a better one, and a metric shows the expiry.
  const opened = await follow(secret);
  assert.equal(opened.current().endsAt, Math.floor(past.notAfter.getTime() / 1_000) * 1_000);
  lay(secret, good, authority.ca);
  await until('renewed', () => opened.current().certificate === good.certificate);
  for (const [pair, problem] of [
    [ended, 'has ended'],
    [early, 'on only'],
  ] as const) {
    logged.length = 0;
    lay(secret, pair, authority.ca);
    await until(problem, () => says(problem));
    assert.equal(opened.current().certificate, good.certificate);
    logged.length = 0;
    lay(secret, good, authority.ca);
    await until('in order again', () => says('in order again'));
  }
});

test('the error about unusable files at the start names them', async () => {
  const authority = await testAuthority('ours');
  const pair = await authority.issue();
  const secret = secretFolder(join(folder, 'tls'));
  lay(secret, pair, 'nothing');
  await assert.rejects(follow(secret), /tls\/ca\.crt has no certificate in PEM form/);
  lay(secret, { ...pair, key: (await authority.issue()).key }, authority.ca);
  await assert.rejects(follow(secret), /the key in .*tls\.key is not that of the certificate in .*tls\.crt/);
});
