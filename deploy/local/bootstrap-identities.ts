import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Random } from '@interlock/runtime';
import type { DataFolder } from './data-folder.ts';
import { type ServiceName, serviceNames } from './services.ts';

/**
 * What identity creates at its first start (`BOOTSTRAP_FILE`): without it no caller could authenticate. It holds no secrets.
 * Identity applies it at every start, so an addition takes effect at the next one.
 */
export interface BootstrapIdentities {
  /** `tenants/<id>` */
  readonly tenant: { readonly id: string; readonly displayName: string };
  /** `subscriptions/<id>` */
  readonly subscriptions: readonly { readonly id: string; readonly displayName: string }[];
  readonly administrator: WithSecret & { readonly displayName: string };
  readonly workloads: readonly (WithSecret & { readonly service: ServiceName })[];
  readonly roleAssignments: readonly {
    readonly id: string;
    readonly principalId: string;
    readonly role: string;
    readonly scope: string;
  }[];
}

interface WithSecret {
  /** UUID */
  readonly principalId: string;
  /** SHA-256 of the secret's text, base64url: enough, because the secret is 256 random bits and not a password. */
  readonly secretHash: string;
}

/** The first administrator, as in `administrator.json`. */
export interface Administrator {
  readonly principalId: string;
  readonly secret: string;
  readonly tenant: string;
  readonly subscription: string;
}

/** Files and names of the services' identities. */
export interface Identities {
  readonly bootstrapFile: string;
  readonly administrator: Administrator;
  readonly administratorFile: string;
  readonly workloads: Readonly<Record<ServiceName, Workload>>;
}

/** The credentials of a service, and the key with which it seals its secrets. */
export interface Workload {
  readonly principalId: string;
  readonly secretFile: string;
  /** 32 random bytes. */
  readonly masterKeyFile: string;
}

/** Owners manage everything but cannot use keys. The first administrator gets that role too, so that it can try everything. */
const administratorRoles = ['roles/owner', 'roles/keyVaultAdministrator'];

/**
 * The identities of this data folder, created at the first call and unchanged afterwards. Secrets and master keys are in
 * files of their own (0600).
 */
export function openIdentities(data: DataFolder, random: Random): Identities {
  data.folder('bootstrap');
  const bootstrapFile = data.path('bootstrap', 'identities.json');
  const administratorFile = data.path('administrator.json');
  const workloadFiles = (service: ServiceName) => ({
    secretFile: data.path('bootstrap', `${service}.secret`),
    masterKeyFile: data.path('bootstrap', `${service}.master-key`),
  });
  // This file is written last: if it exists, all the secrets exist whose hashes it has.
  if (!existsSync(bootstrapFile)) {
    const { administrator, secrets, identities } = makeIdentities(random);
    replaceFile(administratorFile, `${JSON.stringify(administrator, undefined, 2)}\n`);
    for (const service of serviceNames) {
      const { secretFile, masterKeyFile } = workloadFiles(service);
      replaceFile(secretFile, secrets[service]);
      replaceFile(masterKeyFile, random.bytes(32));
    }
    replaceFile(bootstrapFile, `${JSON.stringify(identities, undefined, 2)}\n`);
  }

  const identities: BootstrapIdentities = JSON.parse(readFileSync(bootstrapFile, 'utf8'));
  const workload = (service: ServiceName): Workload => {
    const found = identities.workloads.find((candidate) => candidate.service === service);
    if (found === undefined) throw new Error(`${bootstrapFile} names no workload ${service}`);
    return { principalId: found.principalId, ...workloadFiles(service) };
  };
  return {
    bootstrapFile,
    administratorFile,
    administrator: JSON.parse(readFileSync(administratorFile, 'utf8')),
    workloads: {
      identity: workload('identity'),
      'key-vault': workload('key-vault'),
      'disk-encryption-set': workload('disk-encryption-set'),
      disk: workload('disk'),
      compute: workload('compute'),
    },
  };
}

/** Makes new identities: what identity receives, and the secrets of which it receives only the hashes. */
export function makeIdentities(random: Random): {
  readonly identities: BootstrapIdentities;
  readonly administrator: Administrator;
  readonly secrets: Readonly<Record<ServiceName, string>>;
} {
  const subscription = { id: 'local', displayName: 'Local subscription' };
  const administrator: Administrator = {
    principalId: random.uuid(),
    secret: secretText(random),
    tenant: 'tenants/local',
    subscription: `subscriptions/${subscription.id}`,
  };
  const secrets = {
    identity: secretText(random),
    'key-vault': secretText(random),
    'disk-encryption-set': secretText(random),
    disk: secretText(random),
    compute: secretText(random),
  };
  const { principalId, secret } = administrator;
  const identities: BootstrapIdentities = {
    tenant: { id: 'local', displayName: 'Local tenant' },
    subscriptions: [subscription],
    administrator: { principalId, displayName: 'Local administrator', secretHash: hashOf(secret) },
    workloads: serviceNames.map((service) => ({
      service,
      principalId: random.uuid(),
      secretHash: hashOf(secrets[service]),
    })),
    roleAssignments: administratorRoles.map((role) => ({ id: random.uuid(), principalId, role, scope: '/' })),
  };
  return { identities, administrator, secrets };
}

function secretText(random: Random): string {
  return Buffer.from(random.bytes(32)).toString('base64url');
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

function replaceFile(file: string, content: string | Uint8Array): void {
  writeFileSync(`${file}.draft`, content, { mode: 0o600 });
  renameSync(`${file}.draft`, file);
}
