import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { problemLines, readExperiment, verdictLines } from '@interlock/lab';
import { runCommand } from '@interlock/local/command.ts';
import { dataRoot, openDataFolder, repository } from '@interlock/local/data-folder.ts';
import { reportReader } from '../../deploy/kubernetes/jobs/report-lines.ts';
import { clusterTarget } from '../experiments/kubernetes/cluster-target.ts';
import { runFile, thisRunner } from '../experiments/run-file.ts';
import { errorLines } from './error-lines.ts';
import { readKeyThroughGateway } from './gateway-request.ts';
import { exerciseHosts } from './host-fleet.ts';
import { type PodCloud, startPodCloud } from './pod-cloud.ts';
import { podmanKubectl } from './podman-kubectl.ts';
import { objectsIn } from './render.ts';
import { rollEverything } from './rolling.ts';

const help = `npm run pods [-- rehearsal|gateway|rolling|hosts|experiment]

Starts the images of this machine as containers from the rendered local overlay (podman, as root), and plays on them:
  rehearsal   the whole workflow, as its Job does
  gateway     a client of the public cloud signs in, creates a key and reads it
  rolling     every service replaced while guests write and a key is taken away
  hosts       from one host of disks and guests to several, more and fewer of them while machines write, with and without a drain
  experiment  e2e/kubernetes/pods.experiment.yaml on the target kubernetes, with podman in place of kubectl
All but the last unless one is named. Make the images first: npm run images. Postgres and NATS are those of the overlay, or stand-ins of
that name (e2e/kubernetes/stand-ins). The last line is JSON.`;

/**
 * `npm run pods`: starts the images of this machine as containers from the rendered `local` overlay, runs the rehearsal
 * on them as its Job does, and a rolling update. Exits with 0 if every rule and promise held.
 */
runCommand(async (scope) => {
  const requests = process.argv.slice(2);
  const unknown = requests.filter((one) => !['rehearsal', 'gateway', 'rolling', 'hosts', 'experiment'].includes(one));
  if (unknown.length > 0) {
    console.log(help);
    return { exitCode: unknown.every((one) => one === '--help' || one === '-h') ? 0 : 2 };
  }
  const isRequested = (one: string): boolean => (requests.length === 0 ? one !== 'experiment' : requests.includes(one));
  const folder = mkdtempSync(join(tmpdir(), 'interlock-pods-'));
  scope.defer('folder', () => rmSync(folder, { recursive: true, force: true }));
  const overlay = isRequested('experiment') ? 'chaos' : 'local';
  const cloud = await startPodCloud(randomBytes(3).toString('hex'), folder, console.log, overlay);
  scope.defer('pods', cloud.stop);

  const rehearsal = isRequested('rehearsal') ? await rehearseThere(cloud) : undefined;
  const out = openDataFolder(dataRoot(process.env));
  if (rehearsal !== undefined && rehearsal.exitCode !== 0) await tellErrors(cloud);
  for (const [name, content] of rehearsal?.reports ?? []) writeFileSync(out.path(name), content, { mode: 0o600 });
  const gateway = isRequested('gateway') ? await readKeyThroughGateway(cloud) : undefined;
  const rolling = isRequested('rolling') ? await rollEverything(cloud, console.log) : undefined;
  const hosts = isRequested('hosts') ? await exerciseHosts(cloud, console.log) : undefined;
  const experiment = isRequested('experiment')
    ? await runExperimentThere(cloud, out.path('pods-experiment'))
    : undefined;
  const exitCode = rehearsal?.exitCode ?? (experiment === undefined || experiment === 'held' ? 0 : 1);
  const outcome = {
    readyMs: cloud.readyMs,
    ...(rehearsal === undefined ? {} : { rehearsal: exitCode === 0 ? 'pass' : 'fail' }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(rolling === undefined ? {} : { rolling }),
    ...(hosts === undefined ? {} : { hosts }),
    ...(experiment === undefined ? {} : { experiment }),
  };
  return { exitCode, lastLine: JSON.stringify(outcome) };
});

/** Runs the experiment of the pods on the target of clusters. @param folder for the evidence */
async function runExperimentThere(cloud: PodCloud, folder: string): Promise<string> {
  const text = readFileSync(join(repository, 'e2e/kubernetes/pods.experiment.yaml'), 'utf8');
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(problemLines('pods.experiment.yaml', read.problems).join('\n'));
  const { experiment } = read;
  const kubectl = podmanKubectl(cloud);
  const target = clusterTarget(kubectl.place, { id: 'pods', say: console.log }, kubectl);
  rmSync(folder, { recursive: true, force: true });
  const { verdict } = await runFile({
    ...{ experiment, text, id: 'pods', folder, target, say: console.log },
    place: { target: 'kubernetes', cluster: kubectl.place, runner: thisRunner() },
    signal: new AbortController().signal,
  });
  for (const line of verdictLines(verdict)) console.log(line);
  return verdict.outcome;
}

/** Prints the errors of the services after a failed rehearsal: their pods and logs are removed afterwards. */
async function tellErrors({ services }: PodCloud): Promise<void> {
  for (const [name, { logs }] of services) for (const line of errorLines(await logs())) console.log(`${name}: ${line}`);
}

/** Runs the rehearsal's Job as a pod, which receives the services' spans instead of the collector. */
async function rehearseThere(cloud: PodCloud) {
  const [job, ...files] = objectsIn(readFileSync(join(repository, 'deploy/kubernetes/jobs/rehearsal.yaml'), 'utf8'));
  if (job === undefined) throw new Error('rehearsal.yaml holds no Job');
  for (const one of files) await cloud.podman.play(cloud.pod(one));
  const pod = cloud.pod(job);
  const running = await cloud.podman.play({ ...pod, aliases: [...pod.aliases, 'otel-collector'] });
  const reader = reportReader();
  const exitCode = await running.follow((line) => {
    if (!reader.take(line)) console.log(line);
  });
  await running.remove();
  return { exitCode, reports: reader.files() };
}
