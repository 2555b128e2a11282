import { makeIdentities } from '@interlock/local/bootstrap-identities.ts';
import { makeAuthority, makeServer, type Pair, pemOf } from '@interlock/local/certificates.ts';
import { type NatsUser, natsUsers } from '@interlock/local/nats-authorization.ts';
import { makeNkey } from '@interlock/local/nkey.ts';
import { databaseOf, type ServiceName, type StoreOwner, serviceNames, storeOwners } from '@interlock/local/services.ts';
import type { Random } from '@interlock/runtime';

/** A Secret of Kubernetes, with the fields that are used here. Values are base64. */
export interface Secret {
  readonly apiVersion: 'v1';
  readonly kind: 'Secret';
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly type: 'Opaque' | 'kubernetes.io/tls' | 'kubernetes.io/basic-auth';
  readonly immutable?: boolean;
  readonly data: Readonly<Record<string, string>>;
}

/** Names of the Secrets to which the manifests refer. A test compares both. */
export const secretNames = {
  /** `administrator.json`: the first administrator's principal and secret. For users; only the rehearsal mounts it. */
  administrator: 'interlock-administrator',
  /** `identities.json`: what identity creates at its first start. */
  bootstrap: 'interlock-bootstrap',
  /** `tls.crt`, `tls.key`, `ca.crt`: one certificate for each service and the gateway, signed by one authority. */
  tls: (service: StoreOwner) => `interlock-tls-${service}`,
  /** The same for users and jobs that call services. */
  clientTls: 'interlock-tls-client',
  /**
   * `tls.crt` and `tls.key` of the authority that signs the certificates. No pod mounts it: a later version signs the certificates that
   * it adds with it. An operator may keep it elsewhere.
   */
  authority: 'interlock-tls-authority',
  /** `id`, `secret`, `master-key` of a service; the gateway has only `master-key`. */
  workload: (service: StoreOwner) => `interlock-workload-${service}`,
  /** `username`, `password` of its database. */
  store: (service: StoreOwner) => `interlock-store-${service}`,
  /** `seed` and `public` of the nkey NATS knows a user by. */
  nats: (user: NatsUser) => `interlock-nats-${user}`,
  /** `key` with which the gateway proves the addresses of its clients to key-vault. */
  clientAddress: 'interlock-client-address',
  /** `password` of the superuser of the Postgres in the cluster. */
  postgres: 'interlock-postgres',
} as const;

/** Which Secrets to make. Something else in the cluster creates `external` ones. */
export interface SecretsOptions {
  /** Namespace the services run in: part of the names in certificates. */
  readonly namespace: string;
  /** Whether something else (cert-manager) makes certificates. */
  readonly hasCertificates: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly random: Random;
}

/**
 * All secrets of a new cloud in a cluster, made together: the identities file has the hashes of the services' secrets, so
 * either all of these are new or none is.
 */
export const makeSecrets = async ({
  namespace,
  hasCertificates,
  now,
  random,
}: SecretsOptions): Promise<readonly Secret[]> => {
  const { identities, administrator, secrets } = makeIdentities(random);
  const principalOf = (service: ServiceName): string => {
    const found = identities.workloads.find((workload) => workload.service === service);
    if (found === undefined) throw new Error(`no identity was made for ${service}`);
    return found.principalId;
  };
  return [
    secret(secretNames.administrator, 'Opaque', { 'administrator.json': json(administrator) }),
    secret(secretNames.bootstrap, 'Opaque', { 'identities.json': json(identities) }),
    ...serviceNames.map((service) =>
      secret(secretNames.workload(service), 'Opaque', {
        id: principalOf(service),
        secret: secrets[service],
        'master-key': random.bytes(MASTER_KEY_BYTES),
      }),
    ),
    ...serviceNames.map((service) => store(service, random)),
    secret(secretNames.postgres, 'Opaque', { password: password(random) }),
    ...(hasCertificates ? [] : await makeCertificates(namespace, now)),
    ...independentSecrets(random),
  ];
};

/** Secrets that match no other one, so that each can be made alone. */
export const independentSecrets = (random: Random): readonly Secret[] => [
  secret(secretNames.workload('gateway'), 'Opaque', { 'master-key': random.bytes(MASTER_KEY_BYTES) }),
  store('gateway', random),
  secret(secretNames.clientAddress, 'Opaque', { key: password(random) }),
  ...natsUsers.map(natsUser),
];

const password = (random: Random): string => Buffer.from(random.bytes(24)).toString('base64url');

const store = (service: StoreOwner, random: Random): Secret =>
  secret(secretNames.store(service), 'kubernetes.io/basic-auth', {
    username: databaseOf('interlock', service),
    password: password(random),
  });

const natsUser = (user: NatsUser): Secret => {
  const { seed, publicKey } = makeNkey();
  return secret(secretNames.nats(user), 'Opaque', { seed, public: publicKey });
};

/** Names of the Secrets that a cloud needs: those that `makeSecrets` makes, without the authority. */
export const namesNeeded = (hasCertificates: boolean): readonly string[] => [
  secretNames.administrator,
  secretNames.bootstrap,
  ...storeOwners.map(secretNames.workload),
  ...storeOwners.map(secretNames.store),
  secretNames.clientAddress,
  secretNames.postgres,
  ...(hasCertificates ? [] : [...storeOwners.map(secretNames.tls), secretNames.clientTls]),
  ...natsUsers.map(secretNames.nats),
];

const MASTER_KEY_BYTES = 32;

/**
 * DNS names of a service: in its namespace, from outside of it, and at the local end of a port-forward. Those of the gateway include
 * the host names of vaults.
 */
export const namesOf = (service: StoreOwner, namespace: string): readonly string[] => [
  service,
  `${service}.${namespace}.svc`,
  // Each pod of a StatefulSet by its own name, because the host of a disk serves its data.
  `*.${service}.${namespace}.svc`,
  // Disk hosts beside others (deploy/kubernetes/components/disk-hosts).
  ...(service === 'disk' ? [`*.disk-host.${namespace}.svc`, `disk-0.${namespace}.svc`] : []),
  // VM hosts beside the control processes (deploy/kubernetes/components/vm-hosts).
  ...(service === 'compute' ? [`*.vm-host.${namespace}.svc`] : []),
  'localhost',
  ...(service === 'gateway' ? ['*.vault.interlock.localhost'] : []),
];

/** A new authority and all certificates. @param now milliseconds since the epoch */
export const makeCertificates = async (namespace: string, now: number): Promise<readonly Secret[]> => {
  const authority = await makeAuthority(now);
  const { certificate, key } = await pemOf(authority);
  return [
    secret(secretNames.authority, 'kubernetes.io/tls', { 'tls.crt': certificate, 'tls.key': key }),
    ...(await signedBy(authority, namespace, now)),
  ];
};

/** All certificates, of an authority. @param now milliseconds since the epoch */
export const signedBy = async (authority: Pair, namespace: string, now: number): Promise<readonly Secret[]> => {
  const { certificate: ca } = await pemOf(authority);
  const issue = async (name: string, dns: readonly string[]): Promise<Secret> => {
    const { certificate, key } = await pemOf(await makeServer(authority, now, { dns, ip: ['127.0.0.1'] }));
    return secret(name, 'kubernetes.io/tls', { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': ca });
  };
  return Promise.all([
    ...storeOwners.map((service) => issue(secretNames.tls(service), namesOf(service, namespace))),
    issue(secretNames.clientTls, ['interlock-client']),
  ]);
};

const secret = (name: string, type: Secret['type'], values: Readonly<Record<string, string | Uint8Array>>): Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, labels: { 'app.kubernetes.io/part-of': 'interlock' } },
  type,
  data: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')])),
});

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
