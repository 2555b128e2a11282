import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { runCommand } from './command.ts';
import { dataRoot, holdDataFolder, openDataFolder } from './data-folder.ts';
import { type LocalCloud, startLocalCloud } from './local-cloud.ts';

/** What a rehearsal found: the last line of `npm start`. */
export interface Outcome {
  readonly verdict: 'pass' | 'fail';
  readonly rules: { readonly pass: number; readonly fail: number };
  /** Path of `report.json`; null when none was written. */
  readonly report: string | null;
}

/** Works on a fresh cloud, saying what it does. */
export type Rehearsal = (cloud: LocalCloud, say: (line: string) => void) => Promise<Outcome>;

/** Nothing but the start itself is judged until the scenario exists. */
const rehearse: Rehearsal = async (_cloud, say) => {
  say('Every service serves. There is no rehearsal yet.');
  return { verdict: 'pass', rules: { pass: 0, fail: 0 }, report: null };
};

/** `npm start`: brings up a cloud of its own, rehearses on it, stops it. */
runCommand(async (scope) => {
  const since = performance.now();
  // Beside the cloud of `npm run up`, which may be running and holds what its user made.
  const data = openDataFolder(openDataFolder(dataRoot(process.env)).folder('rehearsal'));
  const release = holdDataFolder(data);
  for (const left of ['postgres', 'nats', 'services', 'bootstrap', 'logs'])
    rmSync(data.path(left), { recursive: true, force: true });
  release();

  const cloud = await startLocalCloud({
    data,
    env: process.env,
    name: `rehearsal_${randomBytes(4).toString('hex')}`,
    temporary: true,
    say: console.log,
  });
  scope.defer('cloud', cloud.stop);
  const outcome = await rehearse(cloud, console.log);
  await scope.close();
  console.log(`Started, rehearsed and stopped in ${((performance.now() - since) / 1000).toFixed(1)} s`);
  return { exitCode: outcome.verdict === 'pass' ? 0 : 1, lastLine: JSON.stringify(outcome) };
});
