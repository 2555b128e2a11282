import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { type Certificates, openCertificates } from './certificates.ts';
import { openDataFolder } from './data-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const dayMs = 86_400_000;
const serverOf = (files: Certificates) => new X509Certificate(readFileSync(files.certificateFile));

test('a TLS client that trusts the authority accepts the server under each of its names and under no other', async () => {
  const files = await openCertificates(openDataFolder(join(folder, 'tls')), Date.now());
  const server = createServer({ cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ca = readFileSync(files.authorityFile);
  const handshake = async (options: { ca?: Buffer; servername: string }) => {
    const socket = connect({ host: '127.0.0.1', port, ...options });
    try {
      await once(socket, 'secureConnect');
      return 'accepted';
    } catch (error) {
      return error instanceof Error && 'code' in error ? error.code : error;
    } finally {
      socket.destroy();
    }
  };
  assert.equal(await handshake({ ca, servername: 'localhost' }), 'accepted');
  assert.equal(await handshake({ ca, servername: 'example.org' }), 'ERR_TLS_CERT_ALTNAME_INVALID');
  assert.equal(await handshake({ servername: 'localhost' }), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  const certificate = serverOf(files);
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
  assert.equal(certificate.checkIP('::1'), '::1');
  server.close();
});

test('only the owner can read the private keys', async () => {
  const data = openDataFolder(join(folder, 'modes'));
  const { keyFile } = await openCertificates(data, Date.now());
  for (const file of [keyFile, data.path('certificates', 'authority.key')]) {
    assert.equal(statSync(file).mode & 0o777, 0o600);
  }
});

test('keeps a valid certificate, and renews one that expires soon under the same authority', async () => {
  const data = openDataFolder(join(folder, 'renewal'));
  const now = Date.now();
  const first = await openCertificates(data, now);
  const authority = readFileSync(first.authorityFile, 'utf8');
  const serial = serverOf(first).serialNumber;
  assert.equal(serverOf(await openCertificates(data, now + 100 * dayMs)).serialNumber, serial);

  const renewed = serverOf(await openCertificates(data, now + 340 * dayMs));
  assert.notEqual(renewed.serialNumber, serial);
  assert.equal(readFileSync(first.authorityFile, 'utf8'), authority);
  assert(renewed.verify(new X509Certificate(authority).publicKey));
});

test('a new authority issues a new server certificate', async () => {
  const data = openDataFolder(join(folder, 'authority'));
  const files = await openCertificates(data, Date.now());
  rmSync(files.authorityFile);
  const renewed = serverOf(await openCertificates(data, Date.now()));
  assert(renewed.verify(new X509Certificate(readFileSync(files.authorityFile)).publicKey));
});
