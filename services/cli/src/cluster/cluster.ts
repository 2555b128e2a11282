import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isObject, itemsOf, type Kubectl, openKubectl } from '@interlock/kubernetes/kubectl.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import type { Workload } from '@interlock/rpc';
import { ClusterProblem } from '../problems.ts';
import { beforeEnd } from '../session/endings.ts';
import { type Environment, services } from '../session/environment.ts';
import type { ClusterCloud, ClusterPlace } from '../session/place.ts';
import { runRehearsal } from './cluster-rehearsal.ts';

/** Port of every service (deploy/kubernetes/base). */
const GRPC_PORT = 7400;

/**
 * Opens port-forwards to the services of a cloud in a cluster, and copies the administrator and the client certificate from its
 * Secrets into a private folder. A service that cannot be reached does not prevent calls to the others.
 * @param actsAsOther whether `--as` names the caller: then an unreadable administrator's Secret is no error
 * @param limitMs longest time of each of the two steps: reading, and the start of port-forwards; by default that of kubectl
 * @throws ClusterProblem naming what is missing, also when no service can be reached
 */
export const openClusterCloud = (
  place: ClusterPlace,
  env: Environment,
  actsAsOther = false,
  limitMs?: number,
): Promise<ClusterCloud> => asClusterProblem(() => openCloud(openKubectl(place, env, limitMs), actsAsOther));

/** Runs a rehearsal as a Job of the cluster. @returns whether every rule held. @throws ClusterProblem when it cannot run */
export const rehearseOnCluster = (
  place: ClusterPlace,
  env: Environment,
  parts: Parameters<typeof runRehearsal>[1],
): Promise<boolean> => asClusterProblem(() => runRehearsal(openKubectl(place, env), parts));

/** Errors of kubectl are problems of the command line here. */
async function asClusterProblem<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LauncherError ? new ClusterProblem(error.message, { cause: error }) : error;
  }
}

async function openCloud(kubectl: Kubectl, actsAsOther: boolean): Promise<ClusterCloud> {
  const [administrator, tls, pods] = await Promise.all([
    secret(kubectl, 'interlock-administrator', ['administrator.json']).catch((error: unknown) => {
      if (actsAsOther && error instanceof LauncherError) return undefined;
      throw error;
    }),
    secret(kubectl, 'interlock-tls-client', ['tls.crt', 'tls.key', 'ca.crt']),
    runningPods(kubectl),
  ]);
  const folder = mkdtempSync(join(tmpdir(), 'interlock-cluster-'));
  const remove = (): void => {
    kubectl.end();
    rmSync(folder, { recursive: true, force: true });
  };
  // An interrupted command leaves neither secrets nor port-forwards behind.
  const cancel = beforeEnd(remove);
  const close = (): void => {
    cancel();
    remove();
  };
  try {
    const forwards = await openForwards(kubectl, pods);
    const write = (name: string, content: Uint8Array): string => {
      const file = join(folder, name);
      writeFileSync(file, content, { mode: 0o600 });
      return file;
    };
    const description = {
      addresses: forwards.addresses,
      authorityFile: write('ca.crt', tls['ca.crt']),
      certificateFile: write('tls.crt', tls['tls.crt']),
      keyFile: write('tls.key', tls['tls.key']),
      ...(administrator === undefined
        ? {}
        : { administratorFile: write('administrator.json', administrator['administrator.json']) }),
    };
    write('cloud.json', Buffer.from(JSON.stringify(description)));
    const { absent, hosts } = forwards;
    // disk-0.disk.interlock.svc:7400 → the port-forward to pod disk-0; disk-host-1.disk-host.interlock.svc:7400 → to disk-host-1.
    return { folder, absent, close, dataAddress: (address) => hosts.get(address.replace(/[.:].*$/, '')) ?? address };
  } catch (error) {
    close();
    throw error;
  }
}

/** Opens a port-forward to each service, and to each disk host. @throws LauncherError when no service can be reached */
async function openForwards(kubectl: Kubectl, pods: RunningPods) {
  const open = (target: string): Promise<string | LauncherError> =>
    kubectl.forward(target, GRPC_PORT).catch((error: unknown) => {
      if (error instanceof LauncherError) return error;
      throw error;
    });
  const [ways, hostWays] = await Promise.all([
    Promise.all(
      services.map(async (service) => {
        const way = pods.serving(service).length === 0 ? noPod(service, kubectl) : await open(`svc/${service}`);
        return [service, way] as const;
      }),
    ),
    Promise.all(pods.diskHosts.map(async (host) => [host, await open(`pod/${host}`)] as const)),
  ]);
  const failed = ways.flatMap(([service, way]) => (typeof way === 'string' ? [] : [[service, way] as const]));
  const [first] = failed;
  if (first !== undefined && failed.length === ways.length) throw first[1];
  return {
    // An absent service keeps its name in the cluster; it is not called.
    addresses: Object.fromEntries(
      ways.map(([service, way]) => [service, typeof way === 'string' ? way : `${service}:${GRPC_PORT}`]),
    ),
    absent: new Map(failed.map(([service, { message }]) => [service, message])),
    hosts: new Map(hostWays.flatMap(([host, way]) => (typeof way === 'string' ? [[host, way] as const] : []))),
  };
}

async function secret<const Key extends string>(
  kubectl: Kubectl,
  name: string,
  keys: readonly Key[],
): Promise<Readonly<Record<Key, Buffer>>> {
  const found = await kubectl.json(['get', 'secret', name]);
  const data = isObject(found) && isObject(found.data) ? found.data : {};
  const missing = keys.filter((key) => typeof data[key] !== 'string');
  if (missing.length > 0) {
    throw new LauncherError(
      `Secret ${name} in namespace ${kubectl.place.namespace} has no ${missing.join(', ')}: Interlock's setup did not create it`,
    );
  }
  return Object.fromEntries(keys.map((key) => [key, Buffer.from(String(data[key]), 'base64')])) as Record<Key, Buffer>;
}

/** Names of the running pods. Without one, kubectl would wait a minute for a port-forward. */
interface RunningPods {
  /** Those behind the Service of a service. */
  readonly serving: (service: Workload) => readonly string[];
  /** Those from which the data of disks is read. */
  readonly diskHosts: readonly string[];
}

async function runningPods(kubectl: Kubectl): Promise<RunningPods> {
  const label = 'app.kubernetes.io/name';
  const selector = `${label} in (${[...services, 'disk-control', 'disk-host', 'compute-control'].join(',')})`;
  const items = itemsOf(await kubectl.json(['get', 'pods', '--selector', selector]));
  const running = items.flatMap(({ metadata, status }) => {
    const { name, labels } = isObject(metadata) ? metadata : {};
    const part = isObject(labels) ? labels[label] : undefined;
    return isObject(status) && status.phase === 'Running' ? [{ name: String(name), part }] : [];
  });
  const named = (...parts: readonly string[]): readonly string[] =>
    running.filter(({ part }) => parts.some((one) => one === part)).map(({ name }) => name);
  return {
    // With several hosts of disks or of guests, control processes are behind the Service.
    serving: (service) => named(service, `${service}-control`),
    diskHosts: named('disk', 'disk-host'),
  };
}

const noPod = (service: Workload, { place: { namespace } }: Kubectl): LauncherError =>
  new LauncherError(
    `no pod of ${service} runs in namespace ${namespace}: kubectl --namespace ${namespace} get pods shows the pods`,
  );
