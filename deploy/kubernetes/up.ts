import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { buildImage, findBuilder, isOnPath, runProgram } from '../images/builder.ts';
import { images } from '../images/services.mjs';
import { loadingOf } from './loading.ts';

const help = `npm run cluster [-- --context <name>] [--no-build] [--base <reference>]

Builds the images, loads them into a laptop cluster (kind, k3d, minikube), applies the local overlay and waits until all of it is ready.
  --context   a context of your kubeconfig; default the current one
  --no-build  takes the images as they are
  --base      what builds images (npm run images -- --help)`;

const overlay = join(repository, 'deploy/kubernetes/overlays/local');
const tag = '0.1.0';
/** How long everything may take to be ready, the first pull of Postgres, NATS, collector and Jaeger included. */
const READY_SECONDS = 600;

/** `npm run cluster`: from a clone to a running cloud on a laptop cluster. Safe to repeat. */
runCommand(async () => {
  const { values } = parseArgs({
    options: {
      context: { type: 'string' },
      'no-build': { type: 'boolean', default: false },
      base: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  if (!isOnPath('kubectl', process.env)) {
    throw new LauncherError('kubectl is not on the PATH: https://kubernetes.io/docs/tasks/tools, 1.30 or newer.');
  }
  const context = values.context ?? (await currentContext());
  const kubectl = (...args: readonly string[]) => run('kubectl', ['--context', context, ...args]);
  // Before anything is built: an unreachable cluster is known at once.
  await kubectl('get', '--raw', '/version');

  const builder = await findBuilder(process.env);
  const references = Object.keys(images).map((image) => ({ image, reference: `localhost/interlock/${image}:${tag}` }));
  for (const { image, reference } of values['no-build'] ? [] : references) {
    const wish = { image, reference, base: values.base, certificates: undefined, isCached: true };
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
  await kubectl('apply', '--kustomize', overlay);
  await kubectl(
    'wait',
    '--namespace',
    'interlock',
    '--for=condition=Complete',
    'job/setup',
    `--timeout=${READY_SECONDS}s`,
  );
  for (const workload of [
    'statefulset/postgres',
    'statefulset/nats',
    'deployment/identity',
    'deployment/key-vault',
    'deployment/disk-encryption-set',
    'statefulset/disk',
    'deployment/otel-collector',
    'deployment/jaeger',
  ])
    await kubectl('rollout', 'status', '--namespace', 'interlock', workload, `--timeout=${READY_SECONDS}s`);
  // Updated only on purpose (OnDelete), so it has no rollout to wait for.
  await kubectl(
    'wait',
    '--namespace',
    'interlock',
    '--for=condition=Ready',
    'pod/compute-0',
    `--timeout=${READY_SECONDS}s`,
  );
  const readyMs = Math.round(performance.now() - since);
  console.log(`
Everything is ready ${(readyMs / 1000).toFixed(0)} s after it was applied. Try:

  npx interlock --context ${context} status
  npx interlock --context ${context} rehearse --kubernetes
  kubectl --context ${context} --namespace interlock port-forward svc/jaeger 16686    # traces`);
  return { exitCode: 0, lastLine: JSON.stringify({ context, readyMs }) };
});

async function currentContext(): Promise<string> {
  const contexts = (await run('kubectl', ['config', 'get-contexts', '--output', 'name'])).trim();
  if (contexts === '') {
    throw new LauncherError('kubectl knows no cluster. Make one: kind create cluster, or k3d cluster create.');
  }
  // Without a current one it prints nothing but an error.
  const current = await run('kubectl', ['config', 'current-context']).catch(() => '');
  if (current !== '') return current.trim();
  throw new LauncherError(
    `No context is the current one. Name one with --context: ${contexts.split('\n').join(', ')}.`,
  );
}

function run(program: string, args: readonly string[]): Promise<string> {
  return runProgram(program, args, process.env);
}
