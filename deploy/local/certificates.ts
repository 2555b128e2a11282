// The library below builds on decorators and needs their metadata first.
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { DataFolder } from './data-folder.ts';

/** PEM files of the local cloud's TLS: one certificate for all services, valid for localhost, 127.0.0.1 and ::1. */
export interface Certificates {
  readonly authorityFile: string;
  readonly certificateFile: string;
  /** PKCS #8, mode 0600. */
  readonly keyFile: string;
}

const dayMs = 86_400_000;
const authorityDays = 3650;
const serverDays = 365;
/** A certificate must last longer than a cloud is likely to run. */
const renewWithinDays = 30;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * The authority and the certificate in the data folder: created if they are missing, renewed before they expire.
 * The authority's key stays in the folder (0600), so that clients trust a new server certificate without a change.
 * @param now milliseconds since the epoch
 */
export async function openCertificates(data: DataFolder, now: number): Promise<Certificates> {
  const folder = data.folder('certificates');
  const files = {
    authorityFile: join(folder, 'authority.pem'),
    authorityKeyFile: join(folder, 'authority.key'),
    certificateFile: join(folder, 'server.pem'),
    keyFile: join(folder, 'server.key'),
  };
  let authority = await readPair(files.authorityFile, files.authorityKeyFile, now);
  const isNewAuthority = authority === undefined;
  if (authority === undefined) {
    authority = await makeAuthority(now);
    await writePair(authority, files.authorityFile, files.authorityKeyFile);
  }
  const server = isNewAuthority ? undefined : await readPair(files.certificateFile, files.keyFile, now);
  if (
    server === undefined ||
    !(await server.certificate.verify({ publicKey: authority.certificate, date: new Date(now) }))
  ) {
    await writePair(await makeServer(authority, now, localNames), files.certificateFile, files.keyFile);
  }
  return { authorityFile: files.authorityFile, certificateFile: files.certificateFile, keyFile: files.keyFile };
}

/**
 * The certificate of the gateway, signed by the authority in the data folder, for localhost and the host names of vaults.
 * @param now milliseconds since the epoch @param vaults such as `*.vault.interlock.localhost`
 */
export async function openGatewayCertificate(
  data: DataFolder,
  now: number,
  vaults: string,
): Promise<Omit<Certificates, 'authorityFile'>> {
  const folder = data.folder('certificates');
  const authority = await readPair(join(folder, 'authority.pem'), join(folder, 'authority.key'), now);
  if (authority === undefined) throw new Error(`${folder} holds no authority: the gateway starts after the services`);
  const files = { certificateFile: join(folder, 'gateway.pem'), keyFile: join(folder, 'gateway.key') };
  const names = { ...localNames, dns: [...localNames.dns, vaults] };
  await writePair(await makeServer(authority, now, names), files.certificateFile, files.keyFile);
  return files;
}

/** A certificate and its private key. */
export interface Pair {
  readonly certificate: X509Certificate;
  readonly privateKey: webcrypto.CryptoKey;
}

/** For whom a certificate is. */
export interface CertificateNames {
  readonly dns: readonly string[];
  readonly ip: readonly string[];
}

const localNames: CertificateNames = { dns: ['localhost'], ip: ['127.0.0.1', '::1'] };

/** A new authority, valid for ten years. @param now milliseconds since the epoch */
export async function makeAuthority(now: number): Promise<Pair> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=Interlock local authority',
    keys,
    ...validity(now, authorityDays),
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, privateKey: keys.privateKey };
}

/** A new certificate of the authority for servers and their callers, valid for a year. */
export async function makeServer(authority: Pair, now: number, names: CertificateNames): Promise<Pair> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.create({
    subject: 'CN=Interlock local services',
    issuer: authority.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: authority.privateKey,
    ...validity(now, serverDays),
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension([
        ...names.dns.map((value) => ({ type: 'dns', value }) as const),
        ...names.ip.map((value) => ({ type: 'ip', value }) as const),
      ]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(authority.certificate),
    ],
  });
  return { certificate, privateKey: keys.privateKey };
}

/** Valid since an hour ago, for clients whose clock is slightly behind. */
function validity(now: number, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + days * dayMs) };
}

/**
 * The pair of PEM texts, as `pemOf` writes them. @param text both, of a certificate and of its key in PKCS #8
 * @throws Error for texts of something else
 */
export async function pairOf(text: { readonly certificate: string; readonly key: string }): Promise<Pair> {
  const key = PemConverter.decodeFirst(text.key);
  return {
    certificate: new X509Certificate(text.certificate),
    privateKey: await crypto.subtle.importKey('pkcs8', key, algorithm, true, ['sign']),
  };
}

/** undefined when a file is missing or the certificate ends soon. A pair cut short by a crash counts as missing too. */
async function readPair(certificateFile: string, keyFile: string, now: number): Promise<Pair | undefined> {
  if (!existsSync(certificateFile) || !existsSync(keyFile)) return undefined;
  const pair = await pairOf({
    certificate: readFileSync(certificateFile, 'utf8'),
    key: readFileSync(keyFile, 'utf8'),
  });
  return pair.certificate.notAfter.getTime() < now + renewWithinDays * dayMs ? undefined : pair;
}

/** PEM texts; the key as PKCS #8. */
export async function pemOf(pair: Pair): Promise<{ readonly certificate: string; readonly key: string }> {
  const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', pair.privateKey), 'PRIVATE KEY');
  return { certificate: `${pair.certificate.toString('pem')}\n`, key: `${key}\n` };
}

/** The certificate is written last: if it exists, its key exists too. */
async function writePair(pair: Pair, certificateFile: string, keyFile: string): Promise<void> {
  const { certificate, key } = await pemOf(pair);
  replaceFile(keyFile, key, 0o600);
  replaceFile(certificateFile, certificate, 0o644);
}

function replaceFile(file: string, content: string, mode: number): void {
  writeFileSync(`${file}.draft`, content, { mode });
  renameSync(`${file}.draft`, file);
}
