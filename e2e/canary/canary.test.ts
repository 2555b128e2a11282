import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { serviceNames } from '@interlock/local/services.ts';
import postgres from 'postgres';
import { tlsInto } from '../cloud/clients.ts';
import { openDataPath } from '../cloud/data-path.ts';
import { type OwnCloud, ownCloud, withTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { allowSet, location, makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';
import { filesBelow, messages, type Part, type Search, searchPlaces, tableRows } from './places.ts';
import { newOwnKey, newText, secretsOfDisks, secretsOfKey } from './planted.ts';
import { searchMemory } from './process-memory.ts';
import { createScanner, type Secret } from './scanner.ts';

const [first, second, refused] = [newOwnKey('first key'), newOwnKey('second key'), newOwnKey('refused key')];
/** `text` is written to a disk. A user wraps and unwraps `wrapped`. */
const [text, wrapped] = [newText('text on a disk'), newText('bytes a person wrapped', 32)];
/** Leaks of these two are planted, so that a search that finds no other leak has looked everywhere. */
const [plantedBytes, plantedKey] = [newText('planted bytes', 32), newOwnKey('planted key')];

let home: OwnCloud;
let world: World;
let diskSecrets: readonly Secret[];
/** Of all places, once: they have gigabytes. */
let search: Search;
/** Every response of the services to users, and every error. */
const answers: Part[] = [];

before(async () => {
  // A short export delay, so that all spans have arrived when the workload ends.
  home = await ownCloud({ ...withTelemetry, OTEL_BSP_SCHEDULE_DELAY: '200' });
  world = await makeWorld(home.clients, [['PREMIUM_SSD'], ['platform', 'STANDARD_SSD']], { keyPem: first.pem });
  await workload();
  diskSecrets = secretsOfDisks(home.data.path('services', 'disk'), [first, second]);
  await plant();
  const keys = [first, second, refused, plantedKey].flatMap(secretsOfKey);
  const scanner = createScanner([...keys, ...diskSecrets, text, wrapped, plantedBytes]);
  const files = filesBelow(home.folder, scanner.overlap);
  search = await searchPlaces(scanner, answers, files, tableRows(home.cloud), messages(home.cloud));
});
after(() => home?.stop());

/** Records what a service responds, an error with its causes. */
const heard = async <Answer>(what: string, ask: Promise<Answer>): Promise<Answer | undefined> => {
  const keep = (said: string): void => void answers.push({ place: `answer ${what}`, bytes: Buffer.from(said) });
  try {
    const answer = await ask;
    keep(JSON.stringify(answer));
    return answer;
  } catch (error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      keep(`${cause.stack}\n${JSON.stringify({ ...cause })}`);
    }
    return undefined;
  }
};

/** The same for a call that must succeed: a refusal would leave one response less to search. */
const answered = async <Answer>(what: string, ask: Promise<Answer>): Promise<Answer> =>
  (await heard(what, ask)) ?? assert.fail(`${what} was not answered: ${answers.at(-1)?.bytes}`);

/** The same for a call that must be refused. */
const refusedAs = async (what: string, ask: Promise<unknown>): Promise<void> =>
  assert.equal(await heard(what, ask), undefined, `${what} was answered`);

/** Create, write, read, rotate, copy, revoke, restore, refusals that contain secrets, and two crashes half way. */
const workload = async (): Promise<void> => {
  const { clients, cloud } = home;
  const { keyVault, sets, disks, compute } = clients;
  const { vault, set, group, machines } = world;
  const algorithm = 'RSA_OAEP_256';

  const disk = await disks.createDisk({
    parent: group,
    diskId: 'marked',
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set },
  });
  const path = openDataPath(tlsInto(cloud));
  await path.write(clients, disk.name, 8_192, text.bytes);
  await answered('snapshot', disks.createSnapshot({ parent: group, snapshotId: 'copy', sourceDisk: disk.name }));

  const jwkJson = JSON.stringify(second.key.export({ format: 'jwk' }));
  const imported = { parent: vault, keyId: 'k2', requestId: randomUUID() };
  const next = await answered(
    'import',
    keyVault.importKey({ ...imported, keyMaterial: { $case: 'jwkJson', value: jwkJson } }),
  );
  // Each of these is refused, and its request contains a private key.
  const broken = JSON.stringify({ ...refused.key.export({ format: 'jwk' }), qi: 'AQAB' });
  const asked = { parent: vault, keyId: 'k3' };
  for (const [what, keyMaterial] of Object.entries({
    'JWK that does not fit': { $case: 'jwkJson', value: broken },
    'half a JWK': { $case: 'jwkJson', value: broken.slice(0, -40) },
    'half a PEM': { $case: 'pem', value: refused.pem.slice(0, 900) },
    'a name that is taken': { $case: 'pem', value: refused.pem },
  } as const)) {
    const keyId = what === 'a name that is taken' ? '!' : asked.keyId;
    await refusedAs(`import of ${what}`, keyVault.importKey({ ...asked, keyId, requestId: randomUUID(), keyMaterial }));
  }
  const plaintextKey = Buffer.from(wrapped.bytes);
  const wrap = await answered('wrap', keyVault.wrapKey({ name: next.name, algorithm, plaintextKey, resource: '' }));
  const unwrap = { name: next.name, algorithm, wrappedKey: wrap.wrappedKey, resource: '' } as const;
  assert.deepEqual(Buffer.from((await keyVault.unwrapKey(unwrap)).plaintextKey), plaintextKey);
  await refusedAs('unwrap under another', keyVault.unwrapKey({ ...unwrap, name: world.keyVersion }));
  await answered('backup', keyVault.backupKey({ name: `${vault}/keys/k2` }));

  await home.cloud.kill('disk');
  await home.cloud.restart('disk');
  await answered('assign', sets.assignKey({ name: set, keyUrl: next.keyUrl }));
  await until('the set is under its second key', async () => {
    const found = await sets.getDiskEncryptionSet({ name: set });
    return found.previousKeys.length === 0 && found.activeKey?.keyVersion === next.name;
  });
  await home.cloud.kill('key-vault');
  await home.cloud.restart('key-vault');
  await until('the key is disabled', async () => Boolean(await keyVault.disableKeyVersion({ name: next.name })));
  for (const name of machines) await untilPower(clients, name, 'STOPPED');
  await refusedAs('read under a lost key', path.read(clients, disk.name, 0, 65_536));
  await answered('start under a lost key', compute.startVirtualMachine({ name: machines[0] ?? '' }));
  await keyVault.enableKeyVersion({ name: next.name });
  await allowSet(clients, vault, world.identity);
  await startAgain(clients, set, machines);
  assert.deepEqual(Buffer.from(await path.read(clients, disk.name, 8_192, text.bytes.length)), Buffer.from(text.bytes));
  path.close();
  await answered('keys', keyVault.listKeys({ parent: vault }));
  await answered('audit', keyVault.listAuditEntries({ parent: vault, pageSize: 1_000 }));
  await answered('disks', disks.listDisks({ parent: group, pageSize: 1_000 }));
  await answered('machines', compute.listVirtualMachines({ parent: group, pageSize: 1_000 }));
};

/** Writes the planted secrets to a response, a log, a span, a table and a message. */
const plant = async (): Promise<void> => {
  const { cloud, folder } = home;
  const { bytes } = plantedBytes;
  const line = JSON.stringify({ event: 'unwrapped', dek: { type: 'Buffer', data: [...bytes] } });
  appendFileSync(join(folder, 'logs', 'planted.log'), `${line}\n`);
  const spans = await fetch(`${spanEndpoint(folder)}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(spanWith(Buffer.from(bytes).toString('base64'))),
  });
  assert.equal(spans.status, 200);
  const sql = postgres(cloud.databaseUrls.compute, { max: 1, onnotice: () => undefined });
  await sql`create table planted as select decode(${Buffer.from(bytes).toString('hex')}, 'hex') as secret`;
  await sql.end();
  const nats = await cloud.nats.connect();
  const stream = { name: 'PLANTED', subjects: ['planted'], storage: 'file', num_replicas: 1 };
  await nats.request('$JS.API.STREAM.CREATE.PLANTED', JSON.stringify(stream));
  await nats.request('planted', Buffer.concat([Buffer.from([10, 32]), bytes]));
  await nats.close();
  answers.push({ place: 'answer planted', bytes: Buffer.from(`could not parse ${plantedKey.pem}`) });
};

const isPlanted = ({ name }: { readonly name: string }): boolean => name.startsWith('planted');

test('G8: no response, error, log, span, event, row, message or file contains a data key, private key or plain text', (t) => {
  assert.ok(diskSecrets.length >= 9, 'the owner’s keys open the disks');
  const { leaks, places, bytes } = search;
  t.diagnostic(`${places} places, ${Math.round(bytes / 2 ** 20)} MiB, ${diskSecrets.length / 3} data keys`);
  assert.deepEqual(
    leaks.filter((leak) => !isPlanted(leak)),
    [],
  );
  assert.ok(places > 200 && bytes > 50 * 2 ** 20, 'all places were searched');
});

test('G8: the scanner finds a leak planted in a response, a log, a span, a table and a message', () => {
  const found = new Set(search.leaks.filter(isPlanted).map(({ place }) => place));
  for (const place of [
    'answer planted',
    'file logs/planted.log',
    'file spans.jsonl',
    'table compute public.planted',
    'message planted',
  ]) {
    assert.ok(found.has(place), `${place} was overlooked`);
  }
});

test('G8: only key-vault has private keys in memory, and only key-vault and disk have data keys', (t) => {
  const privateKeys = createScanner([first, second, refused].flatMap(secretsOfKey));
  for (const service of serviceNames) {
    const { finds, bytes } = searchMemory(home.cloud.pid(service), privateKeys);
    t.diagnostic(`${service}: ${Math.round(bytes / 2 ** 20)} MiB, ${finds.length} finds of private keys`);
    assert.ok(bytes > memoryBytesMin, `${service}: its memory was searched`);
    if (service !== 'key-vault') assert.deepEqual(finds, [], service);
    else assert.ok(finds.length > 0, 'processes with private keys are found');
  }
  const dataKeys = createScanner(diskSecrets);
  for (const service of ['identity', 'disk-encryption-set', 'compute'] as const) {
    assert.deepEqual(searchMemory(home.cloud.pid(service), dataKeys).finds, [], service);
  }
});

test('G8: after an access loss the memory of the disk service holds no cipher keys', async (t) => {
  const ciphers = createScanner(diskSecrets.filter(({ name }) => !name.startsWith('DEK')));
  const deks = createScanner(diskSecrets.filter(({ name }) => name.startsWith('DEK')));
  const pid = home.cloud.pid('disk');
  assert.ok(searchMemory(pid, ciphers).finds.length > 0, 'while disks are open their ciphers have keys');
  const set = await home.clients.sets.getDiskEncryptionSet({ name: world.set });
  await home.clients.keyVault.disableKeyVersion({ name: set.activeKey?.keyVersion ?? '' });
  for (const name of world.machines) await untilPower(home.clients, name, 'STOPPED');
  await until('no cipher has its key', async () => searchMemory(pid, ciphers).finds.length === 0);
  t.diagnostic(
    `what the runtime keeps of unwrapped data keys: ${searchMemory(pid, deks).finds.length} of ${diskSecrets.length / 3}`,
  );
});

/** Every Node process uses more memory than this. */
const memoryBytesMin = 32 * 2 ** 20;

/** Where the launcher receives spans. */
const spanEndpoint = (folder: string): string => JSON.parse(readFileSync(join(folder, 'cloud.json'), 'utf8')).spans;

/** One span with this text in an attribute, in OTLP's JSON format. */
const spanWith = (stringValue: string) => {
  const attributes = [{ key: 'secret', value: { stringValue } }];
  const times = { startTimeUnixNano: '1000000', endTimeUnixNano: '2000000' };
  const span = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), name: 'planted', kind: 1, attributes, ...times };
  return { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] };
};
