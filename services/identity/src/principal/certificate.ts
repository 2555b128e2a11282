import { hash, X509Certificate } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** A certificate whose private key signs client assertions. */
export interface ClientCertificate {
  /** X.509, PEM, without any other content. */
  readonly certificate: string;
  /** SHA-256 of its DER form, base64url. */
  readonly thumbprint: string;
  readonly expiresAt: Instant;
}

/** Longest text of a certificate, in characters. */
const lengthMax = 16_384;
/** RSA modulus in bits: RS256 and PS256 need at least 2048 (RFC 7518 §3.3). */
const modulusMin = 2_048;

/**
 * Reads a certificate in PEM.
 * @throws Rejection INVALID_ARGUMENT CERTIFICATE_INVALID; never with the text, which may hold a private key
 */
export const readCertificate = (text: string): ClientCertificate => {
  if (text.length > lengthMax) throw invalid(`must have at most ${lengthMax} characters (got ${text.length})`);
  if (text.includes('PRIVATE KEY')) throw invalid('must not contain a private key: send the CERTIFICATE block alone');
  const certificate = parse(text);
  const { asymmetricKeyType: type, asymmetricKeyDetails: { modulusLength = 0 } = {} } = certificate.publicKey;
  if (type !== 'rsa' || modulusLength < modulusMin) {
    throw invalid(`must have an RSA key of at least ${modulusMin} bits (got ${type}, ${modulusLength} bits)`);
  }
  return {
    certificate: certificate.toString(),
    thumbprint: hash('sha256', certificate.raw, 'base64url'),
    expiresAt: certificate.validToDate.getTime(),
  };
};

const parse = (text: string): X509Certificate => {
  try {
    return new X509Certificate(text);
  } catch {
    throw invalid('must be an X.509 certificate in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----');
  }
};

const invalid = (what: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'CERTIFICATE_INVALID', `certificate ${what}`, { field: 'certificate' });
