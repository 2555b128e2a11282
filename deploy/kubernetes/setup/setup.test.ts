import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import type { ClusterApi } from './cluster-api.ts';
import { makeSecrets, namesNeeded, type Secret, secretNames } from './secrets.ts';
import { HalfSetUp, journalName, setUp } from './setup.ts';

/** A cluster that keeps Secrets and, on request, fails after a number of creations. */
const cluster = () => {
  const kept = new Map<string, Secret>();
  const state = { failAfter: Number.POSITIVE_INFINITY };
  const api: ClusterApi = {
    secretNames: async () => new Set(kept.keys()),
    createSecret: async (secret) => {
      if (kept.has(secret.metadata.name)) return false;
      if (state.failAfter === 0) throw new Error('cut off');
      state.failAfter -= 1;
      kept.set(secret.metadata.name, secret);
      return true;
    },
    readSecret: async (name) => kept.get(name) ?? assert.fail(`no ${name}`),
    deleteSecret: async (name) => void kept.delete(name),
  };
  return { api, kept, state };
};
const request = { namespace: 'interlock', hasCertificates: false, now: Date.now(), random: systemRandom };
const names = namesNeeded(false);
const make = () => makeSecrets(request);
const text = (secret: Secret | undefined, key: string): string =>
  Buffer.from(secret?.data[key] ?? '', 'base64').toString();

test('makes exactly the Secrets that a cloud needs, with and without certificates, and keeps the authority', async () => {
  for (const hasCertificates of [true, false]) {
    const made = await makeSecrets({ ...request, hasCertificates });
    const expected = namesNeeded(hasCertificates);
    const kept = hasCertificates ? [] : [secretNames.authority];
    assert.deepEqual(made.map(({ metadata }) => metadata.name).sort(), [...expected, ...kept].sort());
  }
});

test('creates every Secret of a new cloud; a second run changes nothing', async () => {
  const { api, kept } = cluster();
  assert.deepEqual(await setUp(api, names, make), names);
  assert.ok(kept.has(secretNames.authority));
  const before = new Map(kept);
  assert.equal(kept.has(journalName), false);
  assert.deepEqual(await setUp(api, names, () => assert.fail('nothing is made')), []);
  assert.deepEqual(kept, before);
});

test('after a run that failed at any Secret, the next run creates the rest, and all Secrets match', async () => {
  for (let failAfter = 0; failAfter <= names.length; failAfter += 1) {
    const { api, kept, state } = cluster();
    state.failAfter = failAfter;
    await assert.rejects(setUp(api, names, make), /cut off/);
    state.failAfter = Number.POSITIVE_INFINITY;
    await setUp(api, names, make);
    assert.deepEqual([...kept.keys()].sort(), [...names, secretNames.authority].sort());
    const identities = JSON.parse(text(kept.get(secretNames.bootstrap), 'identities.json'));
    for (const { service, principalId } of identities.workloads)
      assert.equal(text(kept.get(secretNames.workload(service)), 'id'), principalId);
  }
});

test('two runs at the same time leave Secrets that match', async () => {
  const { api, kept } = cluster();
  await Promise.allSettled([setUp(api, names, make), setUp(api, names, make)]);
  await setUp(api, names, make);
  const identities = JSON.parse(text(kept.get(secretNames.bootstrap), 'identities.json'));
  const { principalId } = JSON.parse(text(kept.get(secretNames.administrator), 'administrator.json'));
  assert.equal(identities.administrator.principalId, principalId);
});

test('if a Secret of an existing cloud is missing, setup names it and does not create it', async () => {
  const { api, kept } = cluster();
  await setUp(api, names, make);
  const name = secretNames.workload('key-vault');
  kept.delete(name);
  await assert.rejects(
    setUp(api, names, make),
    (error) => error instanceof HalfSetUp && error.message.includes(`Missing: ${name}.`),
  );
  assert.equal(kept.has(name), false);
});

test('a certificate is valid for every name of its service and no other; one authority signs them all', async () => {
  const { X509Certificate } = await import('node:crypto');
  const made = await make();
  const of = (name: string, key: string) =>
    text(
      made.find(({ metadata }) => metadata.name === name),
      key,
    );
  const ca = new X509Certificate(of(secretNames.tls('identity'), 'ca.crt'));
  for (const service of ['identity', 'disk'] as const) {
    const certificate = new X509Certificate(of(secretNames.tls(service), 'tls.crt'));
    for (const name of [service, `${service}.interlock.svc`, 'localhost'])
      assert.equal(certificate.checkHost(name), name, name);
    assert.ok(certificate.checkHost(`${service}-0.${service}.interlock.svc`));
    assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
    assert.ok(certificate.verify(ca.publicKey));
  }
  assert.equal(new X509Certificate(of(secretNames.tls('disk'), 'tls.crt')).checkHost('key-vault'), undefined);
});
