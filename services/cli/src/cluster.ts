import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { ClusterProblem, type Forward, type Kubectl } from './kubectl.ts';
import { isObject } from './schema.ts';

/** Port of every service (deploy/kubernetes/base). */
const GRPC_PORT = 7400;

/** A cloud in a cluster, reached from here. */
export interface ClusterCloud {
  /** What the launcher would have written for a local cloud, `cloud.json` and the files it names; private. */
  readonly folder: string;
  /** Where the data of a disk host is reached from here. @param address as the disk service gives it */
  dataAddress(address: string): string;
  close(): void;
}

/**
 * Opens ways to every service of a cloud in a cluster, and fetches the administrator and the client's certificate from its
 * Secrets, into a folder that goes when it is closed.
 * @throws ClusterProblem naming what is missing
 */
export const openClusterCloud = async (kubectl: Kubectl): Promise<ClusterCloud> => {
  const [administrator, tls] = await Promise.all([
    secret(kubectl, 'interlock-administrator', ['administrator.json']),
    secret(kubectl, 'interlock-tls-client', ['tls.crt', 'tls.key', 'ca.crt']),
  ]);
  const folder = mkdtempSync(join(tmpdir(), 'interlock-cluster-'));
  const forwards: Forward[] = [];
  const close = (): void => {
    for (const forward of forwards) forward.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const open = async (target: string): Promise<string> => {
      const forward = await kubectl.forward(target, GRPC_PORT);
      forwards.push(forward);
      return forward.address;
    };
    const hosts = await podsOf(kubectl, 'disk');
    const [addresses, data] = await Promise.all([
      Promise.all(serviceNames.map(async (service) => [service, await open(`svc/${service}`)] as const)),
      Promise.all(hosts.map(async (host) => [host, await open(`pod/${host}`)] as const)),
    ]);
    const write = (name: string, content: Uint8Array): string => {
      const file = join(folder, name);
      writeFileSync(file, content, { mode: 0o600 });
      return file;
    };
    const description = {
      addresses: Object.fromEntries(addresses),
      authorityFile: write('ca.crt', tls['ca.crt']),
      certificateFile: write('tls.crt', tls['tls.crt']),
      keyFile: write('tls.key', tls['tls.key']),
      administratorFile: write('administrator.json', administrator['administrator.json']),
    };
    write('cloud.json', Buffer.from(JSON.stringify(description)));
    const byHost = new Map(data);
    return {
      folder,
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

/** Names of the pods of a service that are there. */
const podsOf = async (kubectl: Kubectl, service: ServiceName): Promise<readonly string[]> => {
  const list = await kubectl.json(['get', 'pods', '--selector', `app.kubernetes.io/name=${service}`]);
  const items = isObject(list) && Array.isArray(list.items) ? list.items.filter(isObject) : [];
  const names = items.flatMap(({ metadata }) => (isObject(metadata) ? [String(metadata.name)] : []));
  if (names.length === 0) {
    throw new ClusterProblem(
      `no pod of ${service} runs in namespace ${kubectl.place.namespace}: kubectl --namespace ${kubectl.place.namespace} get pods shows what does`,
    );
  }
  return names;
};
