import { join } from 'node:path';
import { copiedFrom } from '@interlock/local/data-folder.ts';
import type { Workload } from '@interlock/rpc';
import { readUserFile } from '@interlock/runtime';
import { NoCloud, UsageError } from '../problems.ts';
import type { NameDefaults } from '../request/names.ts';
import type { CloudContext } from './contexts.ts';
import type { Credentials, Environment, GlobalFlags } from './environment.ts';
import { type Place, placeOf } from './place.ts';

/** Where the cloud is, and who calls. */
export interface Settings {
  /** Folder of the launcher. */
  readonly data: string | undefined;
  /** host:port of each service. */
  readonly addresses: Readonly<Record<Workload, string>>;
  /** PEM text of the authority that signed the services' certificates. */
  readonly authority: string;
  /** PEM texts of the client certificate and its key (mutual TLS). */
  readonly client: { readonly certificate: string; readonly key: string } | undefined;
  readonly credentials: Credentials;
  /** `tenants/{t}`: default of new resources. */
  readonly tenant: string | undefined;
  readonly names: NameDefaults;
  /** Names of a command without flags, for commands in help. */
  readonly namesWithoutFlags: NameDefaults;
  /** URL that spans are exported to. */
  readonly tracesEndpoint: string | undefined;
}

/**
 * Reads the settings: from flags, then `INTERLOCK_*`, then the context, then the launcher's data folder. Files that are not
 * needed need not exist.
 * @throws NoCloud when no cloud runs there, UsageError for an invalid setting
 */
export function readSettings(
  flags: GlobalFlags,
  environment: Environment,
  place: Place = placeOf(flags, environment),
): Settings {
  const { data, context, env } = place;
  const origin = data === undefined ? undefined : copiedFrom(data);
  const cloud = origin === undefined ? fileIn(data, 'cloud.json') : undefined;
  const administratorFile = textIn(cloud, 'administratorFile');
  const administrator =
    administratorFile === undefined ? fileIn(data, 'administrator.json') : fileObject(administratorFile);
  const address = (service: Workload): string => {
    const found = env[`INTERLOCK_${service.toUpperCase().replaceAll('-', '_')}_ADDRESS`];
    const written = found ?? context.addresses?.[service] ?? textIn(objectIn(cloud, 'addresses'), service);
    if (written !== undefined && written !== '') return written;
    if (context.addresses !== undefined) throw new UsageError(`the context has no address of ${service}`);
    throw new NoCloud(
      data === undefined
        ? 'the context names no cloud: interlock context add <name> with --data <folder of a cloud>, --address or --kube-context'
        : origin === undefined
          ? `no cloud runs on ${data}: start one with \`npm run up\`, or set INTERLOCK_DATA to its folder`
          : `no cloud runs on ${data}, a copy of ${origin} that was made while a cloud ran there: name that one with --data, or start one here (\`npm run up\` says what to do with the copied data)`,
    );
  };
  const addresses = {
    identity: address('identity'),
    'key-vault': address('key-vault'),
    'disk-encryption-set': address('disk-encryption-set'),
    disk: address('disk'),
    compute: address('compute'),
  };
  const authorityFile = env.INTERLOCK_CA_FILE ?? context.caFile ?? textIn(cloud, 'authorityFile');
  if (authorityFile === undefined) {
    throw new NoCloud(`INTERLOCK_CA_FILE is not set and ${data ?? 'no data folder'} holds no cloud.json`);
  }
  const spans = env.INTERLOCK_SPANS ?? textIn(cloud, 'spans');
  const namesWith = ({ subscription, group }: Pick<GlobalFlags, 'subscription' | 'group'>): NameDefaults => {
    const own =
      subscription ?? env.INTERLOCK_SUBSCRIPTION ?? context.subscription ?? textIn(administrator, 'subscription');
    return {
      subscription: own?.replace(/^(?!subscriptions\/)/, 'subscriptions/'),
      group: group ?? env.INTERLOCK_GROUP ?? context.group,
    };
  };
  return {
    data,
    addresses,
    authority: readText(authorityFile, 'the authority'),
    client: clientOf(env, context, cloud),
    credentials: credentialsOf(flags.as ?? env.INTERLOCK_AS ?? context.as, administrator, data),
    tenant: env.INTERLOCK_TENANT ?? context.tenant ?? textIn(administrator, 'tenant'),
    names: namesWith(flags),
    namesWithoutFlags: namesWith({}),
    tracesEndpoint: spans === undefined || spans === '' ? undefined : `${spans.replace(/\/$/, '')}/v1/traces`,
  };
}

/** Reads `<principal>:<file>`; the file has the secret, or access tokens as JSON: `{"disk":"…"}`. @throws UsageError */
export function credentialsFrom(text: string, flag: string): Credentials {
  const [, principal, file] = /^(?:principals\/)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(.+)$/.exec(text) ?? [];
  if (principal === undefined || file === undefined) {
    throw new UsageError(`${flag} must look like <principal UUID>:<file with its secret>, not "${text}"`);
  }
  const content = readText(file, `the secret of ${flag}`).trim();
  // A secret is base64url.
  return content.startsWith('{') ? { principal, tokens: JSON.parse(content) } : { principal, secret: content };
}

/** `INTERLOCK_CERTIFICATE_FILE` and `INTERLOCK_KEY_FILE`, or those of the context or `cloud.json`. @throws UsageError for one without the other */
function clientOf(env: Environment, context: CloudContext, cloud: unknown): Settings['client'] {
  const certificate = env.INTERLOCK_CERTIFICATE_FILE ?? context.certificateFile ?? textIn(cloud, 'certificateFile');
  const key = env.INTERLOCK_KEY_FILE ?? context.keyFile ?? textIn(cloud, 'keyFile');
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new UsageError('INTERLOCK_CERTIFICATE_FILE and INTERLOCK_KEY_FILE need each other');
  }
  return { certificate: readText(certificate, 'the certificate'), key: readText(key, 'its key') };
}

function credentialsOf(as: string | undefined, administrator: unknown, data: string | undefined): Credentials {
  if (as !== undefined && as !== '') return credentialsFrom(as, '--as');
  const principal = textIn(administrator, 'principalId');
  const secret = textIn(administrator, 'secret');
  if (principal !== undefined && secret !== undefined) return { principal, secret };
  const file = data === undefined ? 'the environment' : join(data, 'administrator.json');
  throw new UsageError(`${file} has no credentials: name the caller with --as`);
}

/** A JSON file of the data folder; undefined without a folder or file. */
const fileIn = (data: string | undefined, name: string): unknown =>
  data === undefined ? undefined : fileObject(join(data, name));

function fileObject(file: string): unknown {
  let text: string;
  try {
    text = readUserFile(file).toString('utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readText(file: string, what: string): string {
  try {
    return readUserFile(file).toString('utf8');
  } catch (error) {
    throw new UsageError(`${what} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function objectIn(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

function textIn(value: unknown, key: string): string | undefined {
  const found = objectIn(value, key);
  return typeof found === 'string' ? found : undefined;
}
