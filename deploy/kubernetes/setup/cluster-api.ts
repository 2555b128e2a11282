import { readFileSync } from 'node:fs';
import type { Secret } from './secrets.ts';

/** The API server responded with neither success nor "exists already". */
export class ClusterRefusal extends Error {
  override readonly name = 'ClusterRefusal';
}

/** The little this needs of the Kubernetes API, as the service account of a pod. */
export interface ClusterApi {
  /** Names of the Secrets in the pod's namespace. @throws ClusterRefusal */
  secretNames(): Promise<ReadonlySet<string>>;
  /** @returns whether it was created: false if one of that name exists @throws ClusterRefusal */
  createSecret(secret: Secret): Promise<boolean>;
  /** @throws ClusterRefusal, also when it does not exist */
  readSecret(name: string): Promise<Pick<Secret, 'data'>>;
  /** Does nothing if it does not exist. @throws ClusterRefusal */
  deleteSecret(name: string): Promise<void>;
}

/** The folder in which a pod finds its service account. */
export const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Which namespace this pod is in. @throws ClusterRefusal outside of a pod with a service account */
export const ownNamespace = (folder = serviceAccountFolder): string => {
  try {
    return readFileSync(`${folder}/namespace`, 'utf8').trim();
  } catch (error) {
    throw new ClusterRefusal(
      `there is no service account in ${folder}: this runs as a Job of a cluster (overlays/local/setup.yaml). To print the Secrets instead: secrets <namespace>`,
      { cause: error },
    );
  }
};

/**
 * The API of the cluster this pod runs in. Node has to trust the cluster's authority (`NODE_EXTRA_CA_CERTS`).
 * @param server base address, `https://kubernetes.default.svc`
 */
export const clusterApi = (server: string, namespace: string, folder = serviceAccountFolder): ClusterApi => {
  const secrets = `${server}/api/v1/namespaces/${namespace}/secrets`;
  const call = async (method: 'GET' | 'POST' | 'DELETE', name = '', body?: Secret): Promise<Response> => {
    try {
      return await fetch(`${secrets}${name}`, {
        method,
        headers: {
          // Read for each call: kubelets renew it.
          authorization: `Bearer ${readFileSync(`${folder}/token`, 'utf8').trim()}`,
          'content-type': 'application/json',
        },
        signal: AbortSignal.timeout(CALL_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw new ClusterRefusal(`the API server at ${server} gives no answer`, { cause: error });
    }
  };
  return {
    async secretNames() {
      const response = await call('GET');
      if (!response.ok) throw await refusal('list Secrets', response);
      const { items } = (await response.json()) as { items: readonly { metadata: { name: string } }[] };
      return new Set(items.map(({ metadata }) => metadata.name));
    },
    async createSecret(secret) {
      const response = await call('POST', '', secret);
      if (response.status === CONFLICT) return false;
      if (!response.ok) throw await refusal(`make Secret ${secret.metadata.name}`, response);
      return true;
    },
    async readSecret(name) {
      const response = await call('GET', `/${name}`);
      if (!response.ok) throw await refusal(`read Secret ${name}`, response);
      return (await response.json()) as Pick<Secret, 'data'>;
    },
    async deleteSecret(name) {
      const response = await call('DELETE', `/${name}`);
      if (!response.ok && response.status !== NOT_FOUND) throw await refusal(`delete Secret ${name}`, response);
    },
  };
};

const CALL_MS = 10_000;
const CONFLICT = 409;
const NOT_FOUND = 404;
const FORBIDDEN = 403;

const refusal = async (what: string, response: Response): Promise<ClusterRefusal> => {
  const cure =
    response.status === FORBIDDEN ? ': give the service account of this Job the Role of overlays/local/setup.yaml' : '';
  return new ClusterRefusal(`cannot ${what}: ${response.status} ${(await response.text()).slice(0, 300)}${cure}`);
};
