import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { UsageError } from '../problems.ts';
import type { GlobalFlags } from './environment.ts';
import { placeOf } from './place.ts';
import { readSettings } from './settings.ts';
import { testProgram } from './test-session.ts';

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'interlock-contexts-'));
  // A launcher has used this folder.
  writeFileSync(join(home, 'administrator.json'), '{}');
});
afterEach(() => rmSync(home, { recursive: true }));

const env = () => ({ XDG_CONFIG_HOME: home });
const file = () => join(home, 'interlock/config.json');
/** Runs `interlock context …`. @returns what it wrote to standard output and standard error */
const context = async (...args: readonly string[]) => {
  const { run, lines, asides } = testProgram({}, { env: env() });
  await run('context', ...args);
  return { shown: lines.join('\n'), said: asides.join('\n') };
};
const principal = '00000000-0000-4000-8000-000000000007';
const services = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];
/** Flags for a cloud that is given by addresses. Creates the files that they name. */
const production = (): readonly string[] => {
  for (const name of ['ca.crt', 'tls.crt', 'tls.key', 'me.secret']) writeFileSync(join(home, name), `${name}\n`);
  return [
    ...services.flatMap((service, n) => ['--address', `${service}=cloud.example:740${n}`]),
    ...['--ca-file', join(home, 'ca.crt'), '--certificate-file', join(home, 'tls.crt')],
    ...['--key-file', join(home, 'tls.key'), '--as', `${principal}:${join(home, 'me.secret')}`],
    ...['--group', 'web', '--subscription', 'subscriptions/s1', '--tenant', 't1'],
  ];
};

test('a context is added, listed, shown, made the current one and removed; its file is private', async () => {
  assert.match((await context('list')).shown, /^none$/);
  assert.match((await context('add', 'local', '--data', home, '--group', 'demo')).said, /is the current/);
  assert.equal(statSync(file()).mode & 0o777, 0o600);
  assert.match((await context('add', 'prod', ...production())).said, /interlock context use prod makes it/);
  assert.match((await context('list')).shown, /^\* local +demo +\/.*\n {2}prod +web +cloud\.example:7400$/m);
  assert.match((await context('show', 'prod')).shown, /^compute +cloud\.example:7404$/m);
  await context('use', 'prod');
  const document = JSON.parse((await context('list', '-o', 'json')).shown);
  assert.deepEqual(
    document.contexts.map(({ name, isCurrent }: Record<string, unknown>) => [name, isCurrent]),
    [
      ['local', false],
      ['prod', true],
    ],
  );
  assert.match((await context('remove', 'prod')).said, /no context is current/);
  await assert.rejects(context('show'), /no context is current/);
  await assert.rejects(context('use', 'prod'), /no context "prod"; existing contexts: local/);
});

test('context add refuses flags that do not describe how to reach one cloud', async () => {
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /exactly one of --data, --kube-context and --address$/],
    [['--data', home, '--kube-context', 'kind'], /given: --data and --kube-context/],
    [['--address', 'identity=a:1'], /--address needs --ca-file/],
    [['--address', 'identity=a:1', '--ca-file', '/none'], /--address is missing for key-vault/],
    [['--address', 'identity', '--ca-file', '/none'], /must look like identity=host:port/],
    [['--address', 'vm=a:1', '--ca-file', '/none'], /--address must be one of identity,/],
    [['--data', home, '--key-file', 'k'], /need each other/],
    [['--data', home, '--as', `${principal}:/none`], /cannot be read/],
    [
      ['--data', join(home, 'none')],
      /none is not the data folder of a cloud: it has no administrator\.json\. npm run up/,
    ],
    [['--data', tmpdir()], /is not the data folder of a cloud/],
    [['--data', home, '--namespace', 'n'], /--namespace needs --kube-context/],
  ];
  for (const [flags, words] of refusals)
    await assert.rejects(
      context('add', 'c', ...flags),
      (error) => error instanceof UsageError && words.test(error.message),
    );
  await assert.rejects(context('add', 'a/b', '--data', home), /<name> must be/);
  await context('add', 'c', '--data', home);
  await assert.rejects(context('add', 'c', '--data', home), /context "c" exists/);
});

test('settings come from flags, then the environment, then the context', async () => {
  await context('add', 'prod', ...production());
  const read = (flags: GlobalFlags, more: Record<string, string> = {}) => readSettings(flags, { ...env(), ...more });
  const settings = read({});
  assert.equal(settings.addresses.compute, 'cloud.example:7404');
  assert.equal(settings.authority, 'ca.crt\n');
  assert.deepEqual(settings.client, { certificate: 'tls.crt\n', key: 'tls.key\n' });
  assert.deepEqual(settings.credentials, { principal, secret: 'me.secret' });
  assert.deepEqual(settings.names, { subscription: 'subscriptions/s1', group: 'web' });
  assert.equal(settings.tenant, 'tenants/t1');
  assert.equal(read({}, { INTERLOCK_GROUP: 'e' }).names.group, 'e');
  assert.equal(read({ group: 'f' }, { INTERLOCK_GROUP: 'e' }).names.group, 'f');
  const elsewhere = { INTERLOCK_COMPUTE_ADDRESS: 'other:1' };
  assert.equal(read({}, elsewhere).addresses.compute, 'other:1', 'the current context is a default');
  assert.equal(
    read({ context: 'prod' }, elsewhere).addresses.compute,
    'cloud.example:7404',
    'one that is named is not',
  );
});

test('the cloud is taken from the first of flag, environment and current context that names one', async () => {
  await context('add', 'local', '--data', home);
  await context('add', 'kind', '--kube-context', 'kind-kind', '--namespace', 'prod');
  const place = (flags: GlobalFlags, more: Record<string, string> = {}) => {
    const { data, cluster } = placeOf(flags, { ...env(), ...more });
    return cluster === undefined ? data : `${cluster.context}/${cluster.namespace}`;
  };
  assert.equal(place({}), home);
  assert.equal(place({ context: 'kind' }), 'kind-kind/prod');
  assert.equal(place({ context: 'kind', namespace: 'n' }), 'kind-kind/n');
  assert.equal(place({}, { INTERLOCK_CONTEXT: 'kind' }), 'kind-kind/prod');
  assert.equal(place({}, { INTERLOCK_DATA: '/data/env' }), '/data/env');
  assert.equal(place({ data: '/data/flag' }, { INTERLOCK_CONTEXT: 'kind' }), '/data/flag');
  assert.equal(place({}, { INTERLOCK_KUBE_CONTEXT: 'k3d', INTERLOCK_CONTEXT: 'local' }), 'k3d/interlock');
  assert.equal(place({ kubeContext: 'k3d' }, { INTERLOCK_NAMESPACE: 'n' }), 'k3d/n');
  assert.throws(() => place({ context: 'kind', data: '/d' }), /--context and --data each name a cloud/);
  assert.throws(() => place({ context: 'kind-kind' }), /--kube-context names a context of kubectl/);
});

test('a damaged context file is reported and not overwritten', async () => {
  await context('add', 'local', '--data', home);
  writeFileSync(file(), '{');
  await assert.rejects(context('add', 'other', '--data', home), /config\.json is invalid/);
  assert.equal(readFileSync(file(), 'utf8'), '{');
});
