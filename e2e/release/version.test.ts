import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';
import { projectVersion, setVersion, statedVersions } from './version.ts';

test('packages, chart, images, labels and pages state one version', () => {
  const stated = statedVersions();
  const version = projectVersion();
  assert.deepEqual(
    stated.filter((one) => one.version !== version),
    [],
  );
  const files = new Set(stated.map(({ file }) => file));
  for (const file of [
    'services/cli/package.json',
    'libs/otel-jetstream/src/options.ts',
    'deploy/helm/interlock/Chart.yaml',
    'deploy/kubernetes/base/disk.yaml',
    'deploy/kubernetes/labels/kustomization.yaml',
    'deploy/testing/src/start.ts',
    '.github/actions/experiment/action.yml',
    'deploy/compose.yaml',
  ])
    assert.ok(files.has(file), file);
});

test('a version that is not semantic is refused before any file changes', () => {
  const before = readFileSync(join(repository, 'package.json'), 'utf8');
  for (const wrong of ['', 'v1.2.3', '1.2', '1.2.3+build'])
    assert.throws(() => setVersion(wrong), /must be like 1\.2\.3/);
  assert.equal(readFileSync(join(repository, 'package.json'), 'utf8'), before);
});
