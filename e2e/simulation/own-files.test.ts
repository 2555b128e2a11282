import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const loaded = new Set<string>();
registerHooks({
  load(url, context, nextLoad) {
    const prefix = new URL('../..', import.meta.url).href;
    if (url.startsWith(prefix)) loaded.add(url.slice(prefix.length));
    return nextLoad(url, context);
  },
});

/** Files that only a real deployment needs: entry points and settings, threads, files, and guests that are processes. */
const realOnly =
  /\/main\.ts$|^services\/[a-z-]+\/src\/settings\.ts$|^services\/disk\/src\/host-process\.ts$|^services\/disk\/src\/host\/(owner\/folder-identity|nbd\/(?!export)[a-z/-]+|storage\/unreadable-sectors)\.ts$|^services\/key-vault\/src\/(rsa\/(pool|dispatch|key-maker|messages|queue|thread|worker|job|padding)|sealing\/file-seal-key-store|hold\/history-marks)\.ts$|^services\/compute\/src\/(guest\/|qemu\/|vm-host\/(settings|placement-files)\.ts|guests\/(guest-driver|guest-settings|guest-journal|guest-process|idle-driver)\.ts)/;
const isTest = (file: string): boolean => /\.test\.ts$|\/test-[^/]*\.ts$/.test(file);
const filesOf = (...folders: readonly string[]): readonly string[] =>
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...folders], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((file) => file.endsWith('.ts') && !isTest(file));

/** A file that has only types loads nothing. */
const hasCode = (file: string): boolean =>
  /^export (default|const|let|function|class|async|\{ (?!type))/m.test(readFileSync(join(root, file), 'utf8'));

before(async () => {
  const { playHistory } = await import('./runs/history.ts');
  for (const diskHosts of [0, 2]) await playHistory({ seed: 1, untilAction: 10, diskHosts, vmHosts: diskHosts });
});

test('a simulated history runs every file of the services, except those that only a real deployment needs', () => {
  const own = filesOf(
    'services/identity/src',
    'services/key-vault/src',
    'services/disk-encryption-set/src',
    'services/disk/src',
    'services/compute/src',
  );
  assert.ok(own.length > 150, `only ${own.length} files found`);
  assert.deepEqual(
    own.filter((file) => !realOnly.test(file) && hasCode(file) && !loaded.has(file)),
    [],
  );
  for (const kind of [/\/decider\.ts$/, /\/reactor\.ts$/, /\/processes\//, /\/keys\/leases?\.ts$/, /\/rotation\.ts$/]) {
    assert.ok(
      own.some((file) => kind.test(file) && loaded.has(file)),
      `nothing like ${kind} was loaded`,
    );
  }
});

test('a simulated history runs the real relay, consumers, and pipelines of client and server', () => {
  for (const file of [
    'libs/messaging/src/relay.ts',
    'libs/messaging/src/consumer.ts',
    'libs/messaging/src/fact-applier.ts',
    'libs/event-store/src/category.ts',
    'libs/rpc/src/client-pipeline.ts',
    'libs/rpc/src/server-pipeline.ts',
    'libs/rpc/src/tokens.ts',
    'libs/host/src/wiring.ts',
  ]) {
    assert.ok(loaded.has(file), file);
  }
});

test('the simulation has no decider, reactor, process, lease or relay of its own', () => {
  const twins = filesOf('e2e/simulation').filter((file) =>
    /(decider|reactor|lease|relay|rotation|stopping|starting|opening|category|fact-applier)\.ts$/.test(file),
  );
  assert.deepEqual(
    twins.filter((file) => !/\/(invariants|actions|oracle|workload|mutants)\//.test(file)),
    [],
  );
});
