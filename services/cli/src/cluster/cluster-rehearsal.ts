import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reportReader } from '@interlock/kubernetes/jobs/report-lines.ts';
import { isObject, itemsOf, type Kubectl, waitingOf } from '@interlock/kubernetes/kubectl.ts';
import { LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import type { Clock, Random } from '@interlock/runtime';
import { parseAllDocuments } from 'yaml';
import { build } from '../commands/build.ts';
import type { Terminal } from '../output/terminal.ts';

/** Longest start of the pod, and longest time until the Job counts its end, in milliseconds. */
const START_MS = 180_000;
const COUNTED_MS = 30_000;
const LOOK_MS = 1_000;

/** Reasons for which a container never starts. */
const permanentReasons = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'ErrImageNeverPull',
  'InvalidImageName',
  'CreateContainerConfigError',
  'CreateContainerError',
]);

/**
 * Runs a rehearsal as a Job of the cluster, shows its log, and writes its report into the data folder. Two more Jobs serve the files of
 * the hosts meanwhile.
 * @returns whether every rule held
 * @throws LauncherError when it cannot run; Jobs that did not start are deleted
 */
export const runRehearsal = async (
  kubectl: Kubectl,
  parts: {
    readonly clock: Clock;
    readonly random: Random;
    readonly terminal: Terminal;
    readonly out: string;
    /** The tools image; by default the one of the same registry and tag as identity's. */
    readonly image?: string | undefined;
  },
): Promise<boolean> => {
  const { clock, random, terminal } = parts;
  const tag = Buffer.from(random.bytes(3)).toString('hex');
  const name = `rehearsal-${tag}`;
  const image = parts.image ?? (await toolsImage(kubectl));
  await kubectl.run(['create', '--filename', '-'], JSON.stringify(jobsOf(tag, image)));
  terminal.err(`Job ${name} in namespace ${kubectl.place.namespace}`);
  const remove = (names: readonly string[]) =>
    kubectl.run(['delete', 'job', ...names, '--wait=false', '--ignore-not-found']);
  const helpers = ['disk', 'compute'].map((host) => `rehearsal-files-${host}-${tag}`);
  try {
    await untilStarted(kubectl, name, clock);
  } catch (error) {
    await remove([name, ...helpers]);
    terminal.err(`Job ${name} is deleted`);
    throw error;
  }
  try {
    return await followed(kubectl, name, parts);
  } finally {
    await remove(helpers);
  }
};

/** Shows the log of a Job that runs, and writes its report. @returns whether every rule held @throws LauncherError */
const followed = async (
  kubectl: Kubectl,
  name: string,
  { clock, terminal, out }: { readonly clock: Clock; readonly terminal: Terminal; readonly out: string },
): Promise<boolean> => {
  const reader = reportReader();
  await kubectl.lines(['logs', '--follow', `job/${name}`], (line) => {
    if (!reader.take(line)) terminal.out(line);
  });
  const hasPassed = await outcome(kubectl, name, clock);
  const data = openDataFolder(out);
  for (const [file, content] of reader.files()) writeFileSync(data.path(file), content, { mode: 0o600 });
  if (reader.files().size === 0) {
    throw new LauncherError(
      `Job ${name} ended without a report; its log is above; kubectl describe job ${name} shows how it ended`,
    );
  }
  terminal.err(`report.json and report.html are in ${data.root}`);
  return hasPassed;
};

interface JobManifest {
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly hostname?: string;
        readonly containers: readonly { readonly env: readonly { readonly name: string; readonly value: string }[] }[];
      };
    };
  };
}

/** An installed package has it next to the program (services/cli/pack.ts). */
const manifestFile =
  build.clone === undefined
    ? fileURLToPath(new URL('rehearsal.yaml', import.meta.url))
    : join(build.clone, 'deploy/kubernetes/jobs/rehearsal.yaml');

/** The Jobs of deploy/kubernetes/jobs/rehearsal.yaml under other names: several rehearsals may run one after another. */
export const jobsOf = (tag: string, image: string): object => ({
  apiVersion: 'v1',
  kind: 'List',
  items: parseAllDocuments(readFileSync(manifestFile, 'utf8')).map((document) => jobOf(document.toJS(), tag, image)),
});

const jobOf = (job: JobManifest, tag: string, image: string): object => {
  const { template } = job.spec;
  const { hostname } = template.spec;
  const containers = template.spec.containers.map((container) => ({
    ...container,
    image,
    env: container.env.map(({ name, value, ...variable }) => ({
      ...variable,
      name,
      value:
        name === 'REHEARSAL_TAG'
          ? `-${tag}`
          : value.replace(/^([a-z]+)\.rehearsal-files:/, `$1-${tag}.rehearsal-files:`),
    })),
  }));
  const pod = { ...template.spec, ...(hostname === undefined ? {} : { hostname: `${hostname}-${tag}` }), containers };
  return {
    ...job,
    metadata: { ...job.metadata, name: `${job.metadata.name}-${tag}` },
    spec: { ...job.spec, template: { ...template, spec: pod } },
  };
};

/** The tools image of the same registry and tag as the image of identity. */
const toolsImage = async (kubectl: Kubectl): Promise<string> => {
  const path = '{.spec.template.spec.containers[0].image}';
  const image = await kubectl.run(['get', 'deployment', 'identity', '--output', `jsonpath=${path}`]);
  if (!/\/identity[:@]/.test(image)) {
    throw new LauncherError(
      `Deployment identity runs ${image}: that name does not identify the tools image. Name it with --image`,
    );
  }
  if (image.includes('@')) {
    throw new LauncherError(
      `Deployment identity runs ${image}, by digest, which does not identify the tools image. Name it with --image`,
    );
  }
  return image.replace('/identity:', '/tools:');
};

const untilStarted = async (kubectl: Kubectl, job: string, clock: Clock): Promise<void> => {
  const endMs = clock.monotonicMs() + START_MS;
  for (
    let last = `no pod was created (kubectl --namespace ${kubectl.place.namespace} describe job ${job} shows why)`;
    ;
    await clock.sleep(LOOK_MS)
  ) {
    const list = await kubectl.json(['get', 'pods', '--selector', `job-name=${job}`]);
    const [pod] = itemsOf(list);
    const status = pod !== undefined && isObject(pod.status) ? pod.status : {};
    if (status.phase === 'Running' || status.phase === 'Succeeded' || status.phase === 'Failed') return;
    const waiting = waitingOf(status);
    if (waiting !== undefined) last = `${waiting.reason}: ${waiting.message}`;
    if (waiting !== undefined && permanentReasons.has(waiting.reason)) {
      throw new LauncherError(`the rehearsal does not start: ${last}${cureOf(waiting.reason)}`);
    }
    if (clock.monotonicMs() >= endMs) {
      throw new LauncherError(`the rehearsal has not started after ${START_MS / 1_000} s: ${last}`);
    }
  }
};

const cureOf = (reason: string): string =>
  /Image/.test(reason)
    ? '\nload the image into the cluster: kind load docker-image, k3d image import, or push it to a registry'
    : '\na Secret, ConfigMap or key that it uses is missing in the namespace';

const outcome = async (kubectl: Kubectl, name: string, clock: Clock): Promise<boolean> => {
  const endMs = clock.monotonicMs() + COUNTED_MS;
  for (;;) {
    const job = await kubectl.json(['get', 'job', name]);
    const status = isObject(job) && isObject(job.status) ? job.status : {};
    if (Number(status.succeeded ?? 0) > 0) return true;
    if (Number(status.failed ?? 0) > 0) return false;
    if (clock.monotonicMs() >= endMs) throw new LauncherError(`Job ${name} has not ended, but its log has`);
    await clock.sleep(LOOK_MS);
  }
};
