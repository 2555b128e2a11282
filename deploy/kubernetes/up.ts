import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { buildImage, findBuilder, isOnPath, runProgram } from '../images/builder.ts';
import { imageLabels } from '../images/labels.ts';
import { images } from '../images/services.mjs';
import { bringUp } from './bring-up.ts';
import { openKubectl } from './kubectl.ts';
import { loadingOf } from './loading.ts';

const help = `npm run cluster [-- --kube-context <name>] [--no-build] [--base <reference>]

Builds the images, loads them into a laptop cluster (kind, k3d, minikube), applies the local overlay and waits until all of it is ready.
  --kube-context  a context of your kubeconfig; the current one by default
  --no-build  uses the images that exist
  --base      base image (npm run images -- --help)`;

const overlay = join(repository, 'deploy/kubernetes/overlays/local');
const tag = '0.1.0';
/** A cluster runs each service in its own container. */
const clusterImages = Object.keys(images).filter((image) => image !== 'all-in-one');
/** Longest time until everything is ready, with the first pull of Postgres, NATS, collector and Jaeger. */
const READY_SECONDS = 600;

/** `npm run cluster`: from a clone to a running cloud on a laptop cluster. Safe to repeat. */
runCommand(async () => {
  const values = readArguments();
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  if (!isOnPath('kubectl', process.env)) {
    throw new LauncherError('kubectl is not on the PATH: https://kubernetes.io/docs/tasks/tools, 1.30 or newer.');
  }
  const context = values['kube-context'] ?? (await currentContext());
  const kubectl = openKubectl({ context, namespace: 'interlock' }, process.env);
  // Before the build: reports an unknown context or an unreachable cluster at once.
  await kubectl.run(['get', '--raw', '/version']);

  const builder = await findBuilder(process.env);
  const references = clusterImages.map((image) => ({ image, reference: `localhost/interlock/${image}:${tag}` }));
  for (const { image, reference } of values['no-build'] ? [] : references) {
    const about = { version: tag, description: images[image]?.description ?? '', source: undefined };
    const labels = await imageLabels(about, repository, process.env);
    const request = { image, reference, base: values.base, labels };
    const { sizeBytes, tookMs } = await buildImage(builder, {
      ...request,
      certificates: undefined,
      isCached: true,
      platform: undefined,
    });
    console.log(`${reference}  ${(sizeBytes / 1024 ** 2).toFixed(0)} MiB  ${(tookMs / 1000).toFixed(1)} s`);
  }
  const loading = loadingOf(context, builder.name);
  for (const { reference } of references)
    for (const [program, ...args] of loading(reference)) {
      if (!isOnPath(program, process.env)) throw new LauncherError(`${program} is not on the PATH.`);
      await run(program, args);
    }
  console.log(`${references.length} images loaded into ${context}`);

  const since = performance.now();
  const hasNewImages = !values['no-build'];
  await bringUp(kubectl, { overlay, readySeconds: READY_SECONDS, hasNewImages, say: console.log });
  const readyMs = Math.round(performance.now() - since);
  console.log(`
Everything is ready ${(readyMs / 1000).toFixed(0)} s after it was applied. Try:

  npx interlock --kube-context ${context} status
  npx interlock --kube-context ${context} rehearse --kubernetes
  kubectl --context ${context} --namespace interlock port-forward svc/jaeger 16686    # traces`);
  return { exitCode: 0, lastLine: JSON.stringify({ context, readyMs }) };
});

/** @throws LauncherError for an unknown option */
function readArguments() {
  try {
    return parseArgs({
      options: {
        'kube-context': { type: 'string' },
        'no-build': { type: 'boolean', default: false },
        base: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : String(error)}\n\n${help}`, { cause: error });
  }
}

async function currentContext(): Promise<string> {
  const contexts = (await run('kubectl', ['config', 'get-contexts', '--output', 'name'])).trim();
  if (contexts === '') {
    throw new LauncherError('The kubeconfig has no cluster. Create one: kind create cluster, or k3d cluster create.');
  }
  // Without a current context it prints only an error.
  const current = await run('kubectl', ['config', 'current-context']).catch(() => '');
  if (current !== '') return current.trim();
  throw new LauncherError(`No context is current. Name one with --kube-context: ${contexts.split('\n').join(', ')}.`);
}

function run(program: string, args: readonly string[]): Promise<string> {
  return runProgram(program, args, process.env);
}
