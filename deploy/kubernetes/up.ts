import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { openKubectl } from '../../services/cli/src/cluster/kubectl.ts';
import { ClusterProblem } from '../../services/cli/src/problems.ts';
import { buildImage, findBuilder, isOnPath, runProgram } from '../images/builder.ts';
import { imageLabels } from '../images/labels.ts';
import { images } from '../images/services.mjs';
import { bringUp } from './bring-up.ts';
import { loadingOf } from './loading.ts';

const help = `npm run cluster [-- --kube-context <name>] [--no-build] [--base <reference>]

Builds the images, loads them into a laptop cluster (kind, k3d, minikube), applies the local overlay and waits until all of it is ready.
  --kube-context  a context of your kubeconfig; default the current one
  --no-build  takes the images as they are
  --base      what builds images (npm run images -- --help)`;

const overlay = join(repository, 'deploy/kubernetes/overlays/local');
const tag = '0.1.0';
/** How long everything may take to be ready, the first pull of Postgres, NATS, collector and Jaeger included. */
const READY_SECONDS = 600;

/** `npm run cluster`: from a clone to a running cloud on a laptop cluster. Safe to repeat. */
runCommand(async () => {
  const values = wishes();
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  if (!isOnPath('kubectl', process.env)) {
    throw new LauncherError('kubectl is not on the PATH: https://kubernetes.io/docs/tasks/tools, 1.30 or newer.');
  }
  const context = values['kube-context'] ?? (await currentContext());
  const kubectl = openKubectl({ context, namespace: 'interlock' }, process.env);
  // Before anything is built: an unknown context and an unreachable cluster are known at once.
  await inWords(kubectl.run(['get', '--raw', '/version']));

  const builder = await findBuilder(process.env);
  const references = Object.keys(images).map((image) => ({ image, reference: `localhost/interlock/${image}:${tag}` }));
  for (const { image, reference } of values['no-build'] ? [] : references) {
    const labels = await imageLabels(
      { version: tag, description: images[image]?.description ?? '', source: undefined },
      repository,
      process.env,
    );
    const wish = {
      image,
      reference,
      base: values.base,
      certificates: undefined,
      isCached: true,
      labels,
      platform: undefined,
    };
    const { sizeBytes, tookMs } = await buildImage(builder, wish);
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
  await inWords(bringUp(kubectl, { overlay, readySeconds: READY_SECONDS, hasNewImages, say: console.log }));
  const readyMs = Math.round(performance.now() - since);
  console.log(`
Everything is ready ${(readyMs / 1000).toFixed(0)} s after it was applied. Try:

  npx interlock --kube-context ${context} status
  npx interlock --kube-context ${context} rehearse --kubernetes
  kubectl --context ${context} --namespace interlock port-forward svc/jaeger 16686    # traces`);
  return { exitCode: 0, lastLine: JSON.stringify({ context, readyMs }) };
});

/** What was typed. @throws LauncherError for an option there is not */
function wishes() {
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
    throw new LauncherError('kubectl knows no cluster. Make one: kind create cluster, or k3d cluster create.');
  }
  // Without a current one it prints nothing but an error.
  const current = await run('kubectl', ['config', 'current-context']).catch(() => '');
  if (current !== '') return current.trim();
  throw new LauncherError(
    `No context is the current one. Name one with --kube-context: ${contexts.split('\n').join(', ')}.`,
  );
}

/** What the cluster says, as this command says it. */
async function inWords<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof ClusterProblem ? new LauncherError(error.message, { cause: error }) : error;
  }
}

function run(program: string, args: readonly string[]): Promise<string> {
  return runProgram(program, args, process.env);
}
