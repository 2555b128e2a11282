import { X509Certificate } from 'node:crypto';
import { pairOf } from '@interlock/local/certificates.ts';
import { storeOwners } from '@interlock/local/services.ts';
import { independentSecrets, namesNeeded, type Secret, type SecretsOptions, secretNames, signedBy } from './secrets.ts';

/** A Secret of a cluster, with the fields that are read here. Values are base64. */
export type ExistingSecret = Pick<Secret, 'data'> & { readonly metadata: { readonly name: string } };

/** The missing Secrets cannot be made; the message says why and what to do. */
export class CannotAdd extends Error {
  override readonly name = 'CannotAdd';
}

/**
 * Reads what `kubectl get secret --output json` prints. Other documents may follow, each from the start of a line: the authority, if it
 * is kept outside of the cluster.
 * @throws CannotAdd for a text that has no Secrets
 */
export const secretsInText = (text: string): readonly ExistingSecret[] => {
  const found = text
    .split(/^(?=\{)/m)
    .filter((one) => one.trim() !== '')
    .flatMap((one): readonly Partial<ExistingSecret & { items: readonly ExistingSecret[] }>[] => {
      try {
        const value = JSON.parse(one);
        return value.kind === 'List' ? value.items : [value];
      } catch (error) {
        throw new CannotAdd(`standard input is not JSON. ${usage}`, { cause: error });
      }
    })
    .flatMap(({ metadata, data = {} }) => (metadata === undefined ? [] : [{ metadata, data }]));
  if (found.length === 0) throw new CannotAdd(`standard input has no Secrets. ${usage}`);
  return found;
};

const usage =
  'Pipe the Secrets of the namespace into it: kubectl --namespace interlock get secret --output json | … secrets interlock --missing';

/**
 * The Secrets that this version needs and an existing cloud does not have: those that an earlier version did not need.
 * Certificates are signed by the authority of the existing ones.
 * @param existing Secrets of the cloud's namespace, and the authority
 * @throws CannotAdd if there is no cloud, if one that every version has is missing, or if the authority is missing or another one
 */
export const makeMissing = async (
  existing: readonly ExistingSecret[],
  { namespace, hasCertificates, now, random }: SecretsOptions,
): Promise<readonly Secret[]> => {
  const present = new Set(existing.map(({ metadata }) => metadata.name));
  // The superuser's password is for a Postgres in the cluster, which an operator may run otherwise.
  const needed = namesNeeded(hasCertificates).filter((name) => name !== secretNames.postgres);
  const missing = needed.filter((name) => !present.has(name));
  if (missing.length === needed.length)
    throw new CannotAdd(
      `none of the Secrets of a cloud is in namespace ${namespace}. For a new cloud, run it without --missing.`,
    );
  const independent = independentSecrets(random);
  const certificateNames = hasCertificates ? [] : [...storeOwners.map(secretNames.tls), secretNames.clientTls];
  const alone = new Set([...independent.map(({ metadata }) => metadata.name), ...certificateNames]);
  const lost = missing.filter((name) => !alone.has(name));
  if (lost.length > 0)
    throw new CannotAdd(
      `${lost.join(', ')}: missing, and new ones would not match the data and the other Secrets of this cloud. Restore them from your backup.`,
    );
  const certificates = missing.some((name) => certificateNames.includes(name))
    ? await signedBy(await authorityIn(existing), namespace, now)
    : [];
  return [...independent, ...certificates].filter(({ metadata }) => missing.includes(metadata.name));
};

const authorityIn = async (existing: readonly ExistingSecret[]) => {
  const text = (name: string, key: string): string | undefined => {
    const value = existing.find(({ metadata }) => metadata.name === name)?.data[key];
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString();
  };
  const [certificate, key] = [text(secretNames.authority, 'tls.crt'), text(secretNames.authority, 'tls.key')];
  const replaceAll = 'replace all certificates: secrets <namespace> --certificates';
  if (certificate === undefined || key === undefined)
    throw new CannotAdd(
      `Secret ${secretNames.authority}, which signs new certificates, is missing. If you keep it outside of the cluster, add it to standard input as JSON. Otherwise ${replaceAll}`,
    );
  const trusted = text(secretNames.clientTls, 'ca.crt') ?? text(secretNames.tls('identity'), 'ca.crt');
  if (
    trusted === undefined ||
    new X509Certificate(trusted).fingerprint256 !== new X509Certificate(certificate).fingerprint256
  )
    throw new CannotAdd(
      `Secret ${secretNames.authority} is not the authority that the certificates of this cloud name in ca.crt. Add the right one to standard input, or ${replaceAll}`,
    );
  return pairOf({ certificate, key });
};
