import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openHelm } from '../kubernetes/helm.ts';
import { bundledIn } from './bill.ts';
import { makeRelease } from './test-release.ts';

// Makes a release without images twice: two minutes. In `npm test`, the other tests of this folder prove its parts.

const folder = mkdtempSync(join(tmpdir(), 'interlock-release-'));
const first = join(folder, 'first');
let version: string;
before(() => {
  ({ version } = makeRelease(first));
});
after(() => rmSync(folder, { recursive: true }));

const textOf = (name: string): string => readFileSync(join(first, name), 'utf8');
/** The text of a file in an npm package, or the names of all its files. */
const inPackage = (archive: string, file?: string): string =>
  execFileSync('tar', file === undefined ? ['-tzf', archive] : ['-xzOf', archive, `package/${file}`], {
    cwd: first,
    encoding: 'utf8',
  });

test('the same commit makes the same bytes, also with another umask', () => {
  const second = join(folder, 'second');
  makeRelease(second, '077');
  assert.equal(readFileSync(join(second, 'SHA256SUMS'), 'utf8'), textOf('SHA256SUMS'));
});

test('SHA256SUMS has every file, and the provenance statement has the same sums', () => {
  execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: first });
  const sums = new Map(
    textOf('SHA256SUMS')
      .trim()
      .split('\n')
      .map((line) => [line.slice(66), line.slice(0, 64)] as const),
  );
  const files = readdirSync(first).filter((name) => name !== 'SHA256SUMS');
  assert.deepEqual([...sums.keys()], files.sort());
  const own = `interlock-${version}.intoto.json`;
  const { subject } = JSON.parse(textOf(own)) as { subject: { name: string; digest: { sha256: string } }[] };
  sums.delete(own);
  assert.deepEqual(new Map(subject.map(({ name, digest }) => [name, digest.sha256])), sums);
});

test('npm packages can be published: not private, with the version and the repository', () => {
  const archives = readdirSync(first).filter((name) => /^(?!interlock-(chart|docs)-).*\.tgz$/.test(name));
  assert.equal(archives.length, 3);
  for (const archive of archives) {
    const manifest = JSON.parse(inPackage(archive, 'package.json'));
    assert.deepEqual([manifest.version, manifest.private], [version, undefined], archive);
    assert.equal(manifest.repository.url, 'git+https://git.test/own.git');
    assert.doesNotMatch(JSON.stringify(manifest), /workspace:|catalog:/);
  }
});

test('helm reads the chart', async () => {
  const chart = join(first, `interlock-chart-${version}.tgz`);
  const objects = await openHelm(folder, process.env, chart).template();
  const { spec } = objects.find(
    ({ kind, metadata }) => kind === 'StatefulSet' && metadata.name === 'disk',
  ) as unknown as {
    readonly spec: {
      readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
    };
  };
  assert.equal(spec.template.spec.containers[0]?.image, `localhost/interlock/disk:${version}`);
});

test('the bill of materials has every package that the command line contains, and no tool of developers', () => {
  const bill = JSON.parse(textOf(`interlock-${version}.cdx.json`));
  assert.deepEqual([bill.serialNumber, bill.metadata.timestamp], [undefined, undefined]);
  const listed = new Set<string>(
    bill.components.map(
      ({ group, name, version: one }: { group?: string; name: string; version: string }) =>
        `${group === undefined ? name : `${group}/${name}`} ${one}`,
    ),
  );
  const archive = `interlock-cli-${version}.tgz`;
  const out = join(folder, 'unpacked');
  mkdirSync(out);
  execFileSync('tar', ['-xzf', archive, '-C', out], { cwd: first });
  const installed = execFileSync('sh', ['-c', 'find package/app/node_modules -name package.json'], {
    cwd: out,
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .filter((file) => /node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(file))
    .map((file) => JSON.parse(readFileSync(join(out, file), 'utf8')))
    .map((manifest) => `${manifest.name} ${manifest.version}`);
  assert.ok(installed.length > 100, `${installed.length} packages`);
  const bundled = [...bundledIn(inPackage(archive, 'THIRD-PARTY.txt'))];
  assert.ok(bundled.some((name) => name.startsWith('preact ')));
  assert.deepEqual(
    [...installed, ...bundled].filter((name) => !listed.has(name)),
    [],
  );
  assert.ok(![...listed].some((name) => /^(typescript|@biomejs\/biome|playwright-core) /.test(name)));
});

test('a folder with other files is left as it is', () => {
  const foreign = join(folder, 'foreign');
  mkdirSync(foreign);
  writeFileSync(join(foreign, 'notes.txt'), 'mine');
  assert.throws(() => makeRelease(foreign));
  assert.deepEqual(readdirSync(foreign), ['notes.txt']);
});
