// The library below builds on decorators and needs their metadata first.
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { X509CertificateGenerator } from '@peculiar/x509';

/** A self-signed certificate and its private key. */
export interface TestCertificate {
  /** PEM. */
  readonly certificate: string;
  readonly privateKey: webcrypto.CryptoKey;
}

/** Makes a certificate. @param modulusLength bits @param until its end */
export const testCertificate = async (until: Date, modulusLength = 2_048): Promise<TestCertificate> => {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: new Uint8Array([1, 0, 1]),
    modulusLength,
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=client',
    keys,
    notBefore: new Date('2020-01-01T00:00:00Z'),
    notAfter: until,
    signingAlgorithm: algorithm,
  });
  return { certificate: certificate.toString('pem'), privateKey: keys.privateKey };
};
