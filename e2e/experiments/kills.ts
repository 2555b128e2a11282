import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { ownCloud } from '../cloud/test-cloud.ts';
import { killAndRecover, openVictim } from './test-kills.ts';

const usage = `node e2e/experiments/kills.ts --kills N [--seed S]

Kills the runner of an experiment with SIGKILL at N seeded moments, recovers each time, and compares keys and processes with
what was there before. The last line is JSON: kills, recovered, and the seeds of those that were not.`;

runCommand(async (scope) => {
  const { values } = parseArgs({ options: { kills: { type: 'string' }, seed: { type: 'string', default: '1' } } });
  const { kills = '', seed } = values;
  if (!/^[1-9]\d{0,3}$/.test(kills) || !/^\d{1,9}$/.test(seed)) throw new LauncherError(usage);
  const own = await ownCloud();
  scope.defer('cloud', own.stop);
  const victim = await openVictim(own.folder, own.clients);
  const failed: number[] = [];
  for (let count = 0; count < Number(kills) && !scope.signal.aborted; count += 1) {
    const killed = await killAndRecover(victim, Number(seed) + count);
    if (killed.wrong.length > 0) failed.push(killed.seed);
    const outcome = killed.wrong.length === 0 ? 'recovered' : killed.wrong.join('; ');
    console.log(`seed ${killed.seed}, killed at ${killed.atMs} ms, left ${killed.left.length} steps: ${outcome}`);
  }
  const recovered = Number(kills) - failed.length;
  return {
    exitCode: failed.length === 0 ? 0 : 1,
    lastLine: JSON.stringify({ kills: Number(kills), recovered, failed }),
  };
});
