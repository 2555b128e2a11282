import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LauncherError, repository } from '../local/data-folder.ts';
import { buildImage, exportBill, findBuilder, importDebianBase, runProgram } from './builder.ts';
import { images } from './services.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-builder-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Creates a program of that name that records its arguments and runs the script. @returns an environment that finds it */
const program = (name: string, script: string): NodeJS.ProcessEnv => {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\necho "$@" >> ${join(folder, 'calls')}\n${script}\n`);
  chmodSync(path, 0o755);
  return { ...process.env, PATH: `${folder}:/usr/bin:/bin` };
};
const request = {
  image: 'disk',
  reference: 'localhost/interlock/disk:0.1.0',
  base: undefined,
  certificates: undefined,
  isCached: true,
  labels: {},
  platform: undefined,
};

test('without buildah, podman or docker, the error says how to install one', async () => {
  await assert.rejects(findBuilder({ PATH: '/nonexistent' }), /apt-get install buildah/);
});

test('buildah, podman and docker build from one Containerfile, and the size and digest of the image are read', async () => {
  const answers = {
    buildah: `case "$1" in images) echo '[{"id":"abc","size":"149 MB"}]';; esac`,
    podman: `case "$1" in images) echo '[{"Id":"sha256:abc","Size":149000000}]';; esac`,
    docker: `case "$1" in image) echo '[{"Id":"sha256:abc","Size":149000000}]';; esac`,
  };
  for (const name of ['buildah', 'podman', 'docker'] as const) {
    const env = program(name, answers[name]);
    writeFileSync(join(folder, 'calls'), '');
    const { sizeBytes, digest } = await buildImage({ name, env }, request);
    assert.equal(sizeBytes, 149_000_000);
    assert.equal(digest, 'sha256:abc');
    const [build = ''] = readFileSync(join(folder, 'calls'), 'utf8').split('\n');
    assert.match(
      build,
      /^build --build-arg SERVICE=disk --build-arg REVISION=unknown .*--file \S+deploy\/Containerfile --tag localhost\/interlock\/disk:0\.1\.0/,
    );
    assert.doesNotMatch(build, /BASE=|--no-cache/);
  }
});

test('the build gets the revision label as REVISION, for --version', async () => {
  const env = program('podman', `case "$1" in images) echo '[{"Id":"a","Size":1}]';; esac`);
  writeFileSync(join(folder, 'calls'), '');
  await buildImage(
    { name: 'podman', env },
    { ...request, labels: { 'org.opencontainers.image.revision': '4bc4bbe-dirty' } },
  );
  assert.match(readFileSync(join(folder, 'calls'), 'utf8'), /--build-arg REVISION=4bc4bbe-dirty /);
});

test('the build gets the base, the certificates and --no-cache', async () => {
  const env = program('buildah', `case "$1" in images) echo '[{"id":"a","size":"1.5 GB"}]';; esac`);
  writeFileSync(join(folder, 'calls'), '');
  const { sizeBytes } = await buildImage(
    { name: 'buildah', env },
    { ...request, base: 'b@sha256:0', certificates: '/ca.pem', isCached: false },
  );
  assert.equal(sizeBytes, 1_500_000_000);
  const calls = readFileSync(join(folder, 'calls'), 'utf8');
  assert.match(calls, /--build-arg BASE=b@sha256:0 .*--volume \/ca\.pem:\S+:ro .*--no-cache/);
});

test('the build gets labels and a platform only if they are set', async () => {
  const env = program('podman', `case "$1" in images) echo '[{"Id":"a","Size":1}]';; esac`);
  writeFileSync(join(folder, 'calls'), '');
  await buildImage({ name: 'podman', env }, { ...request, labels: { a: 'b' }, platform: 'linux/arm64' });
  await buildImage({ name: 'podman', env }, request);
  const [first = '', second = ''] = readFileSync(join(folder, 'calls'), 'utf8')
    .split('\n')
    .filter((line) => /^build /.test(line));
  assert.match(first, /--platform linux\/arm64 .*--label a=b /);
  assert.doesNotMatch(second, /--label|--platform/);
});

test('exports the bill of materials from the cache of the build', async () => {
  const env = program(
    'buildah',
    'for a in "$@"; do case $a in type=local,dest=*) echo bill > "$(echo "$a" | sed s/.*dest=//)/sbom.cdx.json";; esac; done',
  );
  writeFileSync(join(folder, 'calls'), '');
  const file = await exportBill({ name: 'buildah', env }, { ...request, isCached: false }, folder);
  assert.equal(file, join(folder, 'disk.cdx.json'));
  assert.equal(readFileSync(file, 'utf8'), 'bill\n');
  const calls = readFileSync(join(folder, 'calls'), 'utf8');
  assert.match(calls, /--build-arg SERVICE=disk .*--target bill /);
  assert.doesNotMatch(calls, /--no-cache|--tag/);
  assert.match(
    readFileSync(join(repository, 'deploy/Containerfile'), 'utf8'),
    /^FROM scratch AS bill\nCOPY --from=image \/image\/app\/sbom\.cdx\.json \/$/m,
  );
});

test('every image has a description for its label', () => {
  for (const [name, { description }] of Object.entries(images)) assert.match(description, /^[A-Z].*\.$/, name);
});

test('the error of a failed build holds what the builder printed', async () => {
  const env = program('podman', 'echo "no space left on device" >&2; exit 125');
  await assert.rejects(
    buildImage({ name: 'podman', env }, request),
    (error) => error instanceof LauncherError && /podman build failed \(125\):\nno space left/.test(error.message),
  );
});

test('refuses an image size that is not a number', async () => {
  const env = program('buildah', `case "$1" in images) echo '[{"id":"a","size":"much"}]';; esac`);
  await assert.rejects(buildImage({ name: 'buildah', env }, request), /a size that means nothing: much/);
});

test('the import of a Debian base names the program that is missing', async () => {
  const say = () => undefined;
  await assert.rejects(importDebianBase({ name: 'docker', env: {} }, say, true), /needs podman or buildah/);
  await assert.rejects(importDebianBase({ name: 'podman', env: { PATH: '' } }, say, true), /install podman/);
  await assert.rejects(runProgram('interlock-no-such-program', [], process.env), /cannot be started/);
});
