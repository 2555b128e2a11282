import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

const simulate = (...args: readonly string[]): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.on('data', (data) => {
      output += String(data);
    });
    child.stderr.on('data', (data) => {
      errors += String(data);
    });
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, output, errors }));
  });

/** The log of a replay, without the lines that contain its duration. */
const logOf = ({ output }: Ended): string => output.split('\n').slice(0, -4).join('\n');

/** Uses a core for a minute at most: it must end even if this test is killed. */
const burn = 'const end = Date.now() + 60_000; while (Date.now() < end);';

test('a seed replays exactly: the same log, byte for byte, in another process and under other load', async () => {
  const burning = spawn(process.execPath, ['--eval', burn], { stdio: 'ignore' });
  try {
    // Both run at the same time, so that they compete for the processor at different moments.
    const play = () => simulate('--seed', '77', '--until', '60');
    const [one, another] = await Promise.all([play(), play()]);
    assert.equal(one.errors, '');
    assert.ok(logOf(one).split('\n').length > 300, 'the log is too short to show anything');
    assert.equal(logOf(one), logOf(another));
  } finally {
    burning.kill();
  }
});

test('another seed gives another history', async () => {
  const [one, another] = await Promise.all([
    simulate('--seed', '1', '--until', '20'),
    simulate('--seed', '2', '--until', '20'),
  ]);
  assert.notEqual(logOf(one), logOf(another));
});

// run-options.test.ts refuses all other values. A process loads the whole simulation first.
for (const [args, expected] of [
  [['--seed', 'abc'], /--seed must be a whole number from 0 to 4294967295, not "abc"/],
  [['--sed', '1'], /--sed/],
] as const) {
  test(`${args.join(' ')} is refused, the error names it, and no history is played`, async () => {
    const { status, output, errors } = await simulate(...args);
    assert.equal(status, 2);
    assert.match(errors, expected);
    assert.equal(output, '');
  });
}
