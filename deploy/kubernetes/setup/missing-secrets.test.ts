import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { CannotAdd, makeMissing, secretsInText } from './missing-secrets.ts';
import { makeSecrets, namesNeeded, type Secret, secretNames } from './secrets.ts';

const request = { namespace: 'interlock', hasCertificates: false, now: Date.now(), random: systemRandom };
const cloud = await makeSecrets(request);
const without = (...names: readonly string[]): readonly Secret[] =>
  cloud.filter(({ metadata }) => !names.includes(metadata.name));
const namesOf = (secrets: readonly Secret[]): readonly string[] => secrets.map(({ metadata }) => metadata.name).sort();
const text = (secrets: readonly Secret[], name: string, key: string): string =>
  Buffer.from(secrets.find(({ metadata }) => metadata.name === name)?.data[key] ?? '', 'base64').toString();
const refused = (existing: readonly Secret[], words: RegExp) =>
  assert.rejects(makeMissing(existing, request), (error) => error instanceof CannotAdd && words.test(error.message));

const added = [
  secretNames.workload('gateway'),
  secretNames.store('gateway'),
  secretNames.clientAddress,
  secretNames.nats('operator'),
  secretNames.tls('gateway'),
];

test('makes exactly the Secrets that are missing, and none for a cloud that has all', async () => {
  assert.deepEqual(namesOf(await makeMissing(without(...added), request)), [...added].sort());
  for (const name of added) assert.deepEqual(namesOf(await makeMissing(without(name), request)), [name]);
  assert.deepEqual(await makeMissing(cloud, request), []);
  assert.deepEqual(await makeMissing(without(secretNames.authority), request), []);
});

test('an added certificate is signed by the authority of the others, for the names of its service', async () => {
  const made = await makeMissing(without(...added), request);
  const name = secretNames.tls('gateway');
  const ca = new X509Certificate(text(cloud, secretNames.tls('identity'), 'ca.crt'));
  const certificate = new X509Certificate(text(made, name, 'tls.crt'));
  assert.ok(certificate.verify(ca.publicKey));
  assert.equal(certificate.checkHost('gateway.interlock.svc'), 'gateway.interlock.svc');
  assert.equal(text(made, name, 'ca.crt'), text(cloud, secretNames.tls('identity'), 'ca.crt'));
});

test('the authority may come from outside of the cluster, behind what kubectl prints', async () => {
  const list = { kind: 'List', items: without(...added, secretNames.authority) };
  const authority = cloud.find(({ metadata }) => metadata.name === secretNames.authority);
  const input = `${JSON.stringify(list, undefined, 4)}\n${JSON.stringify(authority)}\n`;
  assert.deepEqual(namesOf(await makeMissing(secretsInText(input), request)), [...added].sort());
});

test('without the authority, or with another one, no certificate is made; the error says how to replace all', async () => {
  await refused(without(secretNames.authority, secretNames.tls('gateway')), /replace all certificates: secrets/);
  const other = (await makeSecrets(request)).filter(({ metadata }) => metadata.name === secretNames.authority);
  await refused([...without(secretNames.authority, secretNames.tls('gateway')), ...other], /not the authority/);
  const external = { ...request, hasCertificates: true };
  const names = namesNeeded(true);
  const production = cloud.filter(({ metadata }) => names.includes(metadata.name) && !added.includes(metadata.name));
  assert.deepEqual(
    namesOf(await makeMissing(production, external)),
    added.filter((name) => name !== secretNames.tls('gateway')).sort(),
  );
});

test('a Secret that matches others is never made alone: it was lost, and a backup has it', async () => {
  const alone = new Set([
    ...added,
    ...cloud.map(({ metadata }) => metadata.name).filter((name) => /-(tls|nats)-/.test(name)),
  ]);
  const bound = namesNeeded(false).filter((name) => !alone.has(name) && name !== secretNames.postgres);
  assert.ok(bound.includes(secretNames.workload('key-vault')) && bound.includes(secretNames.bootstrap));
  for (const name of bound) await refused(without(name), new RegExp(`^${name}: missing.*Restore`));
});

test('without a cloud nothing is made, and input of another kind is refused with how to make it', async () => {
  await refused(cloud.slice(0, 0), /run it without --missing/);
  for (const input of ['', '\n', 'secret/interlock-bootstrap', '{"kind":"List","items":[]}'])
    assert.throws(() => secretsInText(input), /kubectl --namespace interlock get secret --output json/, input);
});
