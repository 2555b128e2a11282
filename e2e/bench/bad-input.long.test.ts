import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { checkPeers } from './disk-io/nbd-peers.ts';

// Starts the program of the benches for every wrong argument. Who changes a bench runs this file.
let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'interlock-bench-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [join(import.meta.dirname, file), ...args], {
    env: { ...process.env, INTERLOCK_DATA: folder, ...env },
    encoding: 'utf8',
  });
  return { status, stderr, stdout };
};
const bench = (...args: readonly string[]) => run('run.ts', args);

test('refuses a missing or unknown bench name, and lists the benches', () => {
  for (const [args, expected] of [
    [['disk-oi'], /Unknown bench "disk-oi"\. Benches: append, .*disk-io/],
    [[], /Name one bench: npm run bench/],
    [['feed', 'append'], /Name one bench: npm run bench/],
    [['append', '--sizes', '1'], /Unknown option '--sizes'[\s\S]*npm run bench/],
  ] as const) {
    const { status, stderr, stdout } = bench(...args);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, / at .*\.ts:/, 'a message, not a stack');
  }
});

test('--help prints the options, with and without a bench', () => {
  for (const args of [['--help'], ['-h'], ['append', '--help']]) {
    const { status, stderr, stdout } = bench(...args);
    assert.deepEqual([status, stderr], [0, ''], args.join(' '));
    for (const said of [
      /^npm run bench -- <name>/,
      /--history FILE .*INTERLOCK_BENCH_HISTORY/,
      /Benches: append, .*unwrap/,
    ])
      assert.match(stdout, said);
  }
});

test('refuses a size that is not a whole number above 0', () => {
  for (const size of ['0', '1.5', 'many']) {
    const { status, stderr } = bench('append', `--size=${size}`);
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`--size must be a whole number above 0 \\(got "${size}"\\)`));
  }
});

test('refuses --replicas for a bench that does not start a whole cloud', () => {
  const { status, stderr, stdout } = bench('append', '--replicas', '2');
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /--replicas is only for churn, .*trace-cost \(got bench append\)/);
});

test('refuses a size that the bench does not accept', () => {
  const { status, stderr } = bench('cipher', '--size', '5');
  assert.equal(status, 1);
  assert.match(stderr, /multiple of the sector of 4 KiB \(got 5\)/);
});

test('missing programs are named with the package that has them', () => {
  assert.throws(
    () => checkPeers('/nowhere'),
    /nbdkit, qemu-nbd, qemu-img, fio\. .*apt-get install nbdkit qemu-utils fio.*--smoke/,
  );
  const { status, stderr, stdout } = run('run.ts', ['disk-io'], { PATH: folder });
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /disk-io needs programs that are not installed: nbdkit/);
  const cipher = run('run.ts', ['cipher', '--smoke'], { PATH: folder });
  assert.deepEqual([cipher.status, cipher.stdout], [1, '']);
  assert.match(cipher.stderr, /apt-get install openssl/);
});

test('refuses a report without a history, or with a missing one', () => {
  for (const [args, expected] of [
    [[], /Name the history to show/],
    [['--history', join(folder, 'none.jsonl')], /none\.jsonl/],
  ] as const) {
    const { status, stderr } = run('report.ts', args, { INTERLOCK_BENCH_HISTORY: '' });
    assert.equal(status, 1);
    assert.match(stderr, expected);
  }
});
