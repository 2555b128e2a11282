import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type Clock, type Instant, type Logger, type RenewedFiles, renewedFiles } from '@interlock/runtime';

/** TLS files of a process: paths of PEM files, which may be renewed at any time. */
export interface CertificateFiles {
  /** Its certificate, followed by intermediate ones. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities of the servers that it calls. */
  readonly ca: string;
  /** Authorities of its callers; if set, every caller must present a certificate. */
  readonly clientCa?: string;
}

/** Contents of the files: PEM texts, and their expiry. */
export interface Certificates {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
  readonly clientCa?: string;
  /** The earliest expiry of the presented certificates. */
  readonly endsAt: Instant;
  /** The last trusted authority expires then. After that every connection fails. */
  readonly authorityEndsAt: Instant;
}

/**
 * Watches the certificate of this process and the authorities that it trusts. New connections use the latest valid files;
 * existing connections keep theirs.
 *
 * A certificate that is incomplete, does not match its key, has expired or is not yet valid never replaces a valid one.
 * @param intervalMs between two reads of the files
 * @throws Error that names the unusable file
 */
export const openCertificates = (parts: {
  readonly files: CertificateFiles;
  readonly clock: Clock;
  readonly log: Logger;
  readonly intervalMs: number;
}): Promise<RenewedFiles<Certificates>> => {
  const { files, ...rest } = parts;
  return renewedFiles({
    ...rest,
    what: 'TLS certificate',
    files: [files.certificate, files.key, files.ca, ...(files.clientCa === undefined ? [] : [files.clientCa])],
    parse: (textOf, before) => certificatesIn(files, textOf, parts.clock.now(), before),
    describe: ({ certificate, endsAt, authorityEndsAt }) => ({
      serialNumber: blocksOf(certificate)[0]?.serialNumber ?? '',
      endsAt: timeOf(endsAt),
      authorityEndsAt: timeOf(authorityEndsAt),
    }),
  });
};

/**
 * Watches a file of authorities only. @throws Error when it is unusable
 * @param what name of these authorities in the log
 */
export const openAuthorities = (
  what: string,
  parts: { readonly file: string; readonly clock: Clock; readonly log: Logger; readonly intervalMs: number },
): Promise<RenewedFiles<string>> => {
  const { file, ...rest } = parts;
  return renewedFiles({
    ...rest,
    what,
    files: [file],
    parse: (textOf) => {
      chainIn(file, textOf);
      return textOf(file);
    },
    describe: (pem) => ({
      serialNumbers: blocksOf(pem)
        .map(({ serialNumber }) => serialNumber)
        .join(', '),
    }),
  });
};

const certificatesIn = (
  files: CertificateFiles,
  textOf: (file: string) => string,
  now: Instant,
  before: Certificates | undefined,
): Certificates => {
  const chain = chainIn(files.certificate, textOf);
  const authorities = chainIn(files.ca, textOf);
  if (files.clientCa !== undefined) chainIn(files.clientCa, textOf);
  const [own] = chain;
  if (!own?.checkPrivateKey(keyIn(files.key, textOf))) {
    throw new Error(`the key in ${files.key} is not that of the certificate in ${files.certificate}`);
  }
  const beginsAt = Math.max(...chain.map(({ validFromDate }) => validFromDate.getTime()));
  const endsAt = Math.min(...chain.map(({ validToDate }) => validToDate.getTime()));
  if (before !== undefined && before.endsAt > now) {
    if (endsAt <= now) throw new Error(`the certificate in ${files.certificate} has ended: ${timeOf(endsAt)}`);
    if (beginsAt > now)
      throw new Error(`the certificate in ${files.certificate} holds from ${timeOf(beginsAt)} on only`);
  }
  return {
    certificate: textOf(files.certificate),
    key: textOf(files.key),
    ca: textOf(files.ca),
    ...(files.clientCa === undefined ? {} : { clientCa: textOf(files.clientCa) }),
    endsAt,
    authorityEndsAt: Math.max(...authorities.map(({ validToDate }) => validToDate.getTime())),
  };
};

const chainIn = (file: string, textOf: (file: string) => string): readonly X509Certificate[] => {
  try {
    const found = blocksOf(textOf(file));
    if (found.length > 0) return found;
  } catch (cause) {
    throw new Error(`${file} has a certificate that cannot be read`, { cause });
  }
  throw new Error(`${file} has no certificate in PEM form`);
};

/** Each certificate of a PEM text. A `BEGIN` line without an `END` line counts as a certificate that cannot be read. */
const blocksOf = (pem: string): readonly X509Certificate[] =>
  pem
    .split(/(?=-----BEGIN CERTIFICATE-----)/)
    .filter((block) => block.includes('-----BEGIN CERTIFICATE-----'))
    .map((block) => new X509Certificate(block));

const keyIn = (file: string, textOf: (file: string) => string) => {
  try {
    return createPrivateKey(textOf(file));
  } catch (cause) {
    throw new Error(`${file} has no private key that can be read`, { cause });
  }
};

const timeOf = (instant: Instant): string => new Date(instant).toISOString();
