import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reportReader } from '@interlock/kubernetes/jobs/report-lines.ts';
import { isObject, itemsOf, type Kubectl, waitingOf } from '@interlock/kubernetes/kubectl.ts';
import { LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import type { Clock, Random } from '@interlock/runtime';
import { parse } from 'yaml';
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
 * Runs a rehearsal as a Job of the cluster, shows its log, and writes its report into the data folder.
 * @returns whether every rule held
 * @throws LauncherError when it cannot run; a Job that did not start is deleted
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
  const { clock, random, terminal, out } = parts;
  const tag = Buffer.from(random.bytes(3)).toString('hex');
  const name = `rehearsal-${tag}`;
  const manifest = jobOf(name, tag, parts.image ?? (await toolsImage(kubectl)));
  await kubectl.run(['create', '--filename', '-'], JSON.stringify(manifest));
  terminal.err(`Job ${name} in namespace ${kubectl.place.namespace}`);
  try {
    await untilStarted(kubectl, name, clock);
  } catch (error) {
    await kubectl.run(['delete', 'job', name, '--wait=false']);
    terminal.err(`Job ${name} is deleted`);
    throw error;
  }
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
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly { readonly env: readonly { readonly name: string }[] }[] };
    };
  };
}

/** An installed package has it next to the program (services/cli/pack.ts). */
const manifestFile =
  build.clone === undefined
    ? fileURLToPath(new URL('rehearsal.yaml', import.meta.url))
    : join(build.clone, 'deploy/kubernetes/jobs/rehearsal.yaml');

/** The Job of deploy/kubernetes/jobs/rehearsal.yaml under another name. */
export const jobOf = (name: string, tag: string, image: string): object => {
  const job: JobManifest = parse(readFileSync(manifestFile, 'utf8'));
  const { template } = job.spec;
  const containers = template.spec.containers.map((container) => ({
    ...container,
    image,
    env: container.env.map((variable) =>
      variable.name === 'REHEARSAL_TAG' ? { name: variable.name, value: `-${tag}` } : variable,
    ),
  }));
  return {
    ...job,
    metadata: { ...job.metadata, name },
    spec: { ...job.spec, template: { ...template, spec: { ...template.spec, containers } } },
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
