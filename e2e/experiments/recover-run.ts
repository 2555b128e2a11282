import { existsSync } from 'node:fs';
import { journalIn, outstandingIn, readJournal, readPlace, recoverSteps } from '@interlock/lab';
import { foldersAt, LauncherError } from '@interlock/local/data-folder.ts';
import { processStart } from '@interlock/local/lock.mjs';
import { clusterLabToRecover } from './kubernetes/cluster-target.ts';
import { labToRecover } from './local/existing-cloud.ts';
import { removeCloud } from './local/own-cloud.ts';
import type { RunPlace } from './run-file.ts';

/**
 * Undoes what a killed runner left: restores access, and resumes or restarts parts. Reports what it did. May be repeated.
 * @param folder evidence of the run
 * @returns exit code: 0 if nothing is left
 * @throws EvidenceError if the folder holds no run, LauncherError if its runner still runs, or its cloud is gone while steps are open
 */
export const recoverRun = async (folder: string, say: (line: string) => void): Promise<number> => {
  const { target, data, cluster, runner } = readPlace(folder) as RunPlace;
  if (runner !== undefined && processStart(runner.pid) === runner.startedAt)
    throw new LauncherError(`the run of ${folder} is under way, as process ${runner.pid}: end that first`);
  if (target === 'simulated') {
    say('the run was simulated: it left nothing');
    return 0;
  }
  if (data === undefined && cluster === undefined)
    throw new LauncherError(`${folder} does not say where the cloud of the run is`);
  // The processes of an own cloud end with their runner.
  if (target === 'local' && data !== undefined) return recoverOwn(data, say);
  const lines = readJournal(folder);
  if (outstandingIn(lines).length === 0) {
    say('nothing is left to undo');
    return 0;
  }
  const lab = await (cluster === undefined ? labToRecover(data ?? '') : clusterLabToRecover(cluster));
  try {
    const recovered = await recoverSteps(lines, lab, journalIn(folder));
    await lab.started();
    for (const { step, action, error } of recovered)
      say(error === undefined ? `undone: ${step} (${action})` : `not undone: ${step} (${action}): ${error}`);
    const failed = recovered.filter(({ error }) => error !== undefined);
    if (failed.length > 0) say('repeat the command when the cloud responds again');
    return failed.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
  }
};

const recoverOwn = (data: string, say: (line: string) => void): number => {
  if (!existsSync(data)) {
    say('the cloud of the run is gone, with everything that was done to it');
    return 0;
  }
  removeCloud(foldersAt(data));
  say(`the cloud of the run ended with its runner; removed its folder ${data}`);
  return 0;
};
