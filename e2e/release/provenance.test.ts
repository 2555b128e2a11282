import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BuildFacts, provenance } from './provenance.ts';

const facts: BuildFacts = {
  version: '1.2.3',
  commit: 'c0ffee',
  source: 'https://git.test/own',
  arguments: [],
  lockfileSha256: 'aa',
  node: 'v24.0.0',
  platform: 'linux-x64',
};
const dependenciesOf = (one: BuildFacts): readonly object[] =>
  (provenance([], one) as { predicate: { buildDefinition: { resolvedDependencies: object[] } } }).predicate
    .buildDefinition.resolvedDependencies;

test('the provenance statement has the fields that in-toto and SLSA require, and the sum of each file', () => {
  const statement = JSON.parse(JSON.stringify(provenance([{ name: 'a.tgz', sha256: 'bb' }], facts)));
  assert.equal(statement._type, 'https://in-toto.io/Statement/v1');
  assert.deepEqual(statement.subject, [{ name: 'a.tgz', digest: { sha256: 'bb' } }]);
  assert.equal(statement.predicateType, 'https://slsa.dev/provenance/v1');
  const { buildDefinition, runDetails } = statement.predicate;
  assert.match(buildDefinition.buildType, /^https:\/\/git\.test\/own\//);
  assert.equal(buildDefinition.externalParameters.version, '1.2.3');
  assert.match(runDetails.builder.id, /^https:/);
});

test('the provenance statement names the commit, and none if files differed from it', () => {
  const lockfile = { name: 'pnpm-lock.yaml', digest: { sha256: 'aa' } };
  assert.deepEqual(dependenciesOf(facts), [
    { uri: 'git+https://git.test/own', digest: { gitCommit: 'c0ffee' } },
    lockfile,
  ]);
  assert.deepEqual(dependenciesOf({ ...facts, commit: undefined }), [
    { uri: 'git+https://git.test/own', annotations: { uncommitted: true } },
    lockfile,
  ]);
});
