import { randomBytes } from 'node:crypto';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { startGuarded } from '@interlock/local/guarded-process.ts';

const usage = 'npm run chaos -- [--rounds N] [--seed S] [--only TEXT]';

const help = `${usage}

Runs the experiment files of e2e/experiments/files on real processes, and stops at the first round that fails.
  --rounds N   so many times (1 by default), each time with the faults at other moments
  --seed S     letters, digits and dots that decide those moments; the one of a round that failed repeats it
  --only TEXT  only the test files that have this in their name

The last line is JSON: rounds, failed, and the seed of the last round.`;

/**
 * `npm run chaos -- [--rounds N] [--seed S] [--only text]`: runs the experiments with real faults N times, one after the other. Each
 * round has its own moments for the faults. Stops at the first round that fails; the last line is JSON:
 * `{"rounds", "failed", "seed"}` with the seed of the last round. `--rounds 1 --seed S` repeats its moments.
 */
runCommand(async (scope) => {
  const { values } = readArguments();
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  const { rounds, seed, only } = options(values);
  const files = globSync(['e2e/chaos/*.test.ts', 'e2e/experiments/files-on-a-cloud.{,long.}test.ts'], {
    cwd: repository,
  })
    .filter((file) => only === undefined || file.includes(only))
    .sort();
  if (files.length === 0) throw new LauncherError(`No test file has "${only}" in its name.`);
  let last = seed;
  for (let round = 1; round <= rounds; round += 1) {
    last = rounds === 1 ? seed : `${seed}.${round}`;
    console.log(`Round ${round} of ${rounds}, seed ${last}`);
    const tests = await startGuarded({
      command: process.execPath,
      args: ['--test', '--test-concurrency=1', '--test-timeout=300000', '--test-reporter=spec', ...files],
      env: { ...process.env, CHAOS_SEED: last, PATH: `${join(repository, 'node_modules/.bin')}:${process.env.PATH}` },
      cwd: repository,
      output: 'terminal',
      stopSignal: 'INT',
      graceMs: 10_000,
    });
    scope.defer('tests', () => tests.stop());
    const { status } = await tests.exited;
    if (status !== 0) return { exitCode: 1, lastLine: JSON.stringify({ rounds: round, failed: 1, seed: last }) };
  }
  return { exitCode: 0, lastLine: JSON.stringify({ rounds, failed: 0, seed: last }) };
});

/** The parsed command line. */
type Arguments = ReturnType<typeof readArguments>['values'];

/** @throws LauncherError that names the invalid option */
function options({ rounds = '1', seed = randomBytes(4).toString('hex'), only }: Arguments): {
  readonly rounds: number;
  readonly seed: string;
  readonly only: string | undefined;
} {
  if (!/^[1-9]\d{0,4}$/.test(rounds)) throw new LauncherError(`--rounds is "${rounds}"; it must be 1 to 99999.`);
  if (!/^[\w.]{1,64}$/.test(seed)) throw new LauncherError(`--seed is "${seed}"; it must be letters, digits and dots.`);
  return { rounds: Number(rounds), seed, only };
}

function readArguments() {
  try {
    const text = { type: 'string' } as const;
    const help = { type: 'boolean', short: 'h', default: false } as const;
    return parseArgs({ options: { rounds: text, seed: text, only: text, help } });
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n${usage}`, { cause: error });
  }
}
