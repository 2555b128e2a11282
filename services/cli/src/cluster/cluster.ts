import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Workload } from '@interlock/rpc';
import { ClusterProblem } from '../problems.ts';
import { isObject } from '../request/schema.ts';
import { beforeEnd } from '../session/endings.ts';
import { services as serviceNames } from '../session/environment.ts';
import type { Kubectl } from './kubectl.ts';

/** Port of every service (deploy/kubernetes/base). */
const GRPC_PORT = 7400;

/** A cloud in a cluster, reached from here. */
export interface ClusterCloud {
  /** What the launcher would have written for a local cloud, `cloud.json` and the files it names; private. */
  readonly folder: string;
  /** Services there is no way to, and why. */
  readonly absent: ReadonlyMap<Workload, string>;
  /** Where the data of a disk host is reached from here. @param address as the disk service gives it */
  dataAddress(address: string): string;
  close(): void;
}

/**
 * Opens ways to the services of a cloud in a cluster, and fetches the administrator and the client's certificate from its
 * Secrets, into a folder that goes when it is closed. A service without a pod that runs, or on a node that does not answer, is
 * in the way of nobody who asks others: a key is taken away without compute.
 * @param actsAsOther whether somebody else acts: who may not read the administrator's secret does without it then
 * @throws ClusterProblem naming what is missing, also where there is a way to no service at all
 */
export const openClusterCloud = async (kubectl: Kubectl, actsAsOther = false): Promise<ClusterCloud> => {
  const [administrator, tls] = await Promise.all([
    secret(kubectl, 'interlock-administrator', ['administrator.json']).catch((error: unknown) => {
      if (actsAsOther && error instanceof ClusterProblem) return undefined;
      throw error;
    }),
    secret(kubectl, 'interlock-tls-client', ['tls.crt', 'tls.key', 'ca.crt']),
  ]);
  const folder = mkdtempSync(join(tmpdir(), 'interlock-cluster-'));
  const takeAway = (): void => {
    kubectl.end();
    rmSync(folder, { recursive: true, force: true });
  };
  // A watch is ended by Ctrl-C, and a list by a reader that has enough: neither leaves secrets behind, nor a way in.
  const takeBack = beforeEnd(takeAway);
  const close = (): void => {
    takeBack();
    takeAway();
  };
  try {
    const open = async (target: string): Promise<string | ClusterProblem> => {
      try {
        return await kubectl.forward(target, GRPC_PORT);
      } catch (error) {
        if (error instanceof ClusterProblem) return error;
        throw error;
      }
    };
    const pods = await runningPods(kubectl);
    const openService = async (service: Workload): Promise<string | ClusterProblem> =>
      pods(service).length === 0 ? noPod(service, kubectl) : open(`svc/${service}`);
    const [services, hosts] = await Promise.all([
      Promise.all(serviceNames.map(async (service) => [service, await openService(service)] as const)),
      Promise.all(pods('disk').map(async (host) => [host, await open(`pod/${host}`)] as const)),
    ]);
    const absent = new Map(
      services.flatMap(([service, way]) => (typeof way === 'string' ? [] : [[service, way] as const])),
    );
    const [problem] = absent.values();
    if (problem !== undefined && absent.size === services.length) throw problem;
    const write = (name: string, content: Uint8Array): string => {
      const file = join(folder, name);
      writeFileSync(file, content, { mode: 0o600 });
      return file;
    };
    const description = {
      // One that is absent is asked by nobody from here, and goes by its name in the cluster.
      addresses: Object.fromEntries(
        services.map(([service, way]) => [service, typeof way === 'string' ? way : `${service}:${GRPC_PORT}`]),
      ),
      authorityFile: write('ca.crt', tls['ca.crt']),
      certificateFile: write('tls.crt', tls['tls.crt']),
      keyFile: write('tls.key', tls['tls.key']),
      ...(administrator === undefined
        ? {}
        : { administratorFile: write('administrator.json', administrator['administrator.json']) }),
    };
    write('cloud.json', Buffer.from(JSON.stringify(description)));
    const byHost = new Map(hosts.flatMap(([host, way]) => (typeof way === 'string' ? [[host, way] as const] : [])));
    return {
      folder,
      absent: new Map([...absent].map(([service, { message }]) => [service, message])),
      close,
      // disk-0.disk.interlock.svc:7400 → the way to pod disk-0.
      dataAddress: (address) => byHost.get(address.replace(/[.:].*$/, '')) ?? address,
    };
  } catch (error) {
    close();
    throw error;
  }
};

const secret = async <const Key extends string>(
  kubectl: Kubectl,
  name: string,
  keys: readonly Key[],
): Promise<Readonly<Record<Key, Buffer>>> => {
  const found = await kubectl.json(['get', 'secret', name]);
  const data = isObject(found) && isObject(found.data) ? found.data : {};
  const missing = keys.filter((key) => typeof data[key] !== 'string');
  if (missing.length > 0) {
    throw new ClusterProblem(
      `Secret ${name} in namespace ${kubectl.place.namespace} has no ${missing.join(', ')}: it was made by something else than Interlock's setup`,
    );
  }
  return Object.fromEntries(keys.map((key) => [key, Buffer.from(String(data[key]), 'base64')])) as Record<Key, Buffer>;
};

/** Names of the pods of each service that run: kubectl waits a minute for one where there is none. */
const runningPods = async (kubectl: Kubectl): Promise<(service: Workload) => readonly string[]> => {
  const ofServices = `app.kubernetes.io/name in (${serviceNames.join(',')})`;
  const list = await kubectl.json(['get', 'pods', '--selector', ofServices]);
  const items = isObject(list) && Array.isArray(list.items) ? list.items.filter(isObject) : [];
  const running = items.flatMap(({ metadata, status }) => {
    const { name, labels } = isObject(metadata) ? metadata : {};
    const service = isObject(labels) ? labels['app.kubernetes.io/name'] : undefined;
    return isObject(status) && status.phase === 'Running' ? [{ name: String(name), service }] : [];
  });
  return (service) => running.filter((pod) => pod.service === service).map(({ name }) => name);
};

const noPod = (service: Workload, { place: { namespace } }: Kubectl): ClusterProblem =>
  new ClusterProblem(
    `no pod of ${service} runs in namespace ${namespace}: kubectl --namespace ${namespace} get pods shows what does`,
  );
