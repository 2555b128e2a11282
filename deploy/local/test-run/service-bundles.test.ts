import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bundledEntry } from '../bundled-entry.ts';
import { repository } from '../data-folder.ts';
import { entryOf, gatewayEntry, serviceNames, vmHostEntry } from '../services.ts';
import { bundleServices } from './service-bundles.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-bundles-'));
before(() => bundleServices(folder, repository));
after(() => rmSync(folder, { recursive: true }));

const env = { INTERLOCK_BUNDLES: folder };

test('a service runs its bundle, which knows the version and commit of its sources', () => {
  for (const entry of [...serviceNames.map(entryOf), gatewayEntry, vmHostEntry]) {
    const bundle = bundledEntry(entry, env);
    assert.ok(bundle.startsWith(folder), `${entry} has a bundle`);
    assert.equal(bundledEntry(entry, {}), entry);
  }
  const version = execFileSync(process.execPath, [bundledEntry(entryOf('identity'), env), '--version'], {
    encoding: 'utf8',
  });
  assert.match(version, /^identity [\d.]+ \(revision \w+\)\n$/);
});

test('an entry of a test is not bundled, and runs as it is', () => {
  assert.equal(bundledEntry(import.meta.filename, env), import.meta.filename);
});

test('guests, and threads with keys or files, are bundled with the services that start them', () => {
  for (const started of [
    'services/compute/src/guest/main.ts',
    'services/compute/src/qemu/main.ts',
    'services/disk/src/host/nbd/thread/data-thread.ts',
    'services/disk/src/host/storage/file-worker.ts',
    'services/key-vault/src/rsa/worker.ts',
  ]) {
    const source = join(repository, started);
    assert.notEqual(bundledEntry(source, env), source, started);
  }
});

test('a second bundle of the same sources writes no file, and parts of earlier bundles are removed after a day', async () => {
  const writtenMs = () =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.js'))
      .map((name) => [name, statSync(join(folder, name)).mtimeMs]);
  const first = writtenMs();
  const [yesterday, now] = [join(folder, 'yesterday.js'), join(folder, 'now.js')];
  for (const file of [yesterday, now]) writeFileSync(file, '');
  const daysAgo = new Date(Date.now() - 2 * 86_400_000);
  utimesSync(yesterday, daysAgo, daysAgo);
  await bundleServices(folder, repository);
  const kept = new Set(readdirSync(folder));
  assert.deepEqual([kept.has('yesterday.js'), kept.has('now.js')], [false, true]);
  rmSync(now);
  assert.deepEqual(writtenMs(), first);
});
