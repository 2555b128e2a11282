import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bundle } from '../bundle.ts';
import manifest from '../package.json' with { type: 'json' };
import { pasteable } from './output/pasteable.ts';
import { testProgram } from './session/test-session.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-bundle-'));
let madeFrom: readonly string[] = [];
before(async () => {
  madeFrom = await bundle(folder, undefined);
});
after(() => rmSync(folder, { recursive: true }));

const run = (...args: readonly string[]) =>
  spawnSync(process.execPath, [join(folder, 'main.js'), ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, INTERLOCK_DATA: folder },
  });

/** A file of the bundle and all files that it imports statically. */
const loadedWith = (file: string, known: Set<string> = new Set()): ReadonlySet<string> => {
  known.add(file);
  const text = readFileSync(join(folder, file), 'utf8');
  for (const [, name = ''] of text.matchAll(/(?:from|import)\s*["'`]\.\/([^"'`]+\.js)["'`]/g))
    if (!known.has(name)) loadedWith(name, known);
  return known;
};

test('the bundle prints the version of the package', () => {
  assert.match(run('--version').stdout, new RegExp(`^interlock ${manifest.version}( \\([0-9a-f]+(-dirty)?\\))?\\n$`));
});

test('the bundle prints the same help as the sources, with the texts of the contracts', async () => {
  for (const args of [['--help'], ['vm', 'start', '--help'], ['key', '--help'], ['disk', 'read', '--help']]) {
    const { run: runSource, lines } = testProgram();
    await assert.rejects(runSource(...args));
    const help = lines.map((text) => text.trimEnd()).join('\n');
    // The bundle is that of an installed package, where `interlock up` does what `npm run up` does in a clone.
    assert.equal(run(...args).stdout.trimEnd(), pasteable(help, 'interlock'), args.join(' '));
  }
});

test('help does not load gRPC, OpenTelemetry, YAML or the code for clusters', () => {
  const core = [...loadedWith('main.js')];
  const text = core.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n');
  assert.ok(text.includes('commander.unknownOption'), 'the parser of command lines is in it');
  for (const absent of [/grpc\.max_send_message_length/, /port-forward/, /BatchSpanProcessor/, /YAMLParseError/]) {
    assert.ok(!absent.test(text), `${absent} is loaded`);
    assert.ok(
      readdirSync(folder).some((file) => absent.test(readFileSync(join(folder, file), 'utf8'))),
      `${absent} is in another file`,
    );
  }
});

test('the bundle lists its sources, so that a changed source is noticed', () => {
  for (const name of [
    'cli/src/main.ts',
    'cli/src/commands/trace.ts',
    'libs/rpc/src/index.ts',
    'contracts/src/comments.ts',
  ])
    assert.ok(
      madeFrom.some((file) => file.endsWith(name)),
      name,
    );
});
