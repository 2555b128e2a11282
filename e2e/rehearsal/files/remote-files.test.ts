import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeAuthority, makeServer, pemOf } from '@interlock/local/certificates.ts';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type FilesTls, startFileServer } from './file-server.ts';
import { localFiles } from './host-files.ts';
import { remoteFiles } from './remote-files.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-files-'));
after(() => rmSync(root, { recursive: true, force: true }));
const data = openDataFolder(root);
const [volumes, guests] = [data.path('services', 'disk', 'volumes'), data.path('services', 'compute', 'guests')];
const own = openDataFolder(join(root, 'own'));
const id = '01234567-89ab-4cde-8f01-23456789abcd';
const [needle, content] = [randomBytes(32), randomBytes(64 * 1024)];

const header = (): Buffer => {
  const wrap = { keyVersion: 'vaults/a/keys/b/versions/1', algorithm: 'RSA-OAEP-256', wrapped: 'd3JhcHBlZA==' };
  const json = JSON.stringify({ diskId: id, cipher: 'AES-256-XTS-4096', generation: 1, sequence: 3, wrap });
  const bytes = Buffer.alloc(4_096);
  bytes.write('ILKDISKH', 0, 'latin1');
  bytes.writeUInt32BE(json.length, 12);
  bytes.write(json, 16);
  return bytes;
};
for (const folder of [volumes, guests]) mkdirSync(folder, { recursive: true });
writeFileSync(join(volumes, 'v.header'), header());
writeFileSync(join(volumes, 'v.data'), content);
writeFileSync(join(guests, 'io.jsonl'), `{"leaked":"${needle.toString('hex')}"}\n`);

const authority = await makeAuthority(Date.now());
const tlsFor = async (name: string): Promise<FilesTls> => {
  const { certificate, key } = await pemOf(await makeServer(authority, Date.now(), { dns: [name], ip: [] }));
  return { ca: (await pemOf(authority)).certificate, cert: certificate, key };
};
const tls = await tlsFor('interlock-client');
const [disk, compute] = await Promise.all([volumes, guests].map((folder) => startFileServer(folder, 0, tls)));
after(() => Promise.all([disk?.stop(), compute?.stop()]));
const addresses = { disk: `127.0.0.1:${disk?.port}`, compute: `127.0.0.1:${compute?.port}` };
const remote = (by: FilesTls) => remoteFiles(addresses, by, localFiles(own));
const wanted = [
  { id, ranges: [{ offset: 4_096, length: 8_192 }] },
  { id: 'ffffffff-89ab-4cde-8f01-23456789abcd', ranges: [] },
];

test('files beside the hosts show the same as files on this machine', async () => {
  const [here, there] = await Promise.all([localFiles(data), remote(tls)].map((files) => files.volumes(wanted)));
  assert.deepEqual([...(there?.keys() ?? [])], [id]);
  const [one, other] = [here?.get(id), there?.get(id)];
  assert.deepEqual(other?.header, one?.header);
  assert.equal(other?.slots, 1);
  assert.equal(other?.allocatedBytes, one?.allocatedBytes);
  assert.deepEqual(other?.raw(4_096, 8_192), content.subarray(4_096, 12_288));
  assert.throws(() => other?.raw(0, 4_096), /were not fetched/);
});

test('a search finds bytes on each host and in the files of the rehearsal, and names the file', async () => {
  writeFileSync(own.path('spans.jsonl'), needle);
  const { leaks, places, bytes } = await remote(tls).search([{ name: 'dek', bytes: needle }]);
  assert.deepEqual(leaks, [
    { place: 'file spans.jsonl', name: 'dek', form: 'raw' },
    { place: 'compute: file io.jsonl', name: 'dek', form: 'hex' },
  ]);
  assert.equal(places, 4);
  assert.ok(bytes > content.length);
});

test('a service of the same cloud, and a caller without a certificate of its authority, read no files', async () => {
  await assert.rejects(remote(await tlsFor('disk')).volumes(wanted), (error: Error) =>
    /403: only interlock-client may read files/.test(String(error.cause)),
  );
  const stranger = await pemOf(
    await makeServer(await makeAuthority(Date.now()), Date.now(), { dns: ['interlock-client'], ip: [] }),
  );
  await assert.rejects(remote({ ...tls, cert: stranger.certificate, key: stranger.key }).volumes(wanted));
});

test('a server of another name is not called, and too many bytes are refused', async () => {
  const service = await startFileServer(volumes, 0, await tlsFor('disk'));
  const files = remoteFiles({ ...addresses, disk: `127.0.0.1:${service.port}` }, tls, localFiles(own));
  await assert.rejects(files.volumes(wanted), (error: Error) => /interlock-client/.test(String(error.cause)));
  await service.stop();
  const many = [{ id, ranges: Array.from({ length: 3 }, () => ({ offset: 0, length: 64 * 1024 * 1024 })) }];
  await assert.rejects(remote(tls).volumes(many), (error: Error) => /ranges may have/.test(String(error.cause)));
});
