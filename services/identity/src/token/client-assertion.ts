import { X509Certificate } from 'node:crypto';
import type { Instant } from '@interlock/runtime';
import { jwtVerify } from 'jose';

/** Longest time from now to the end of an assertion, in milliseconds. Clients sign them for ten minutes. */
const lifetimeMax = 86_400_000;
/** The clock of a client may differ by so many seconds. */
const clockToleranceS = 60;

/**
 * Whether one of the certificates signed this assertion (RFC 7523) for this client, for a URL of the audience, and it has not ended.
 * @param certificates X.509, PEM
 * @param audience URL; an assertion names it, or a URL below it. undefined: no assertion is accepted
 */
export const isAssertionOf = async (
  assertion: string,
  client: string,
  {
    certificates,
    audience,
    now,
  }: { readonly certificates: readonly string[]; readonly audience: string | undefined; readonly now: Instant },
): Promise<boolean> => {
  if (audience === undefined) return false;
  for (const certificate of certificates) {
    const payload = await jwtVerify(assertion, new X509Certificate(certificate).publicKey, {
      algorithms: ['RS256', 'PS256'],
      issuer: client,
      subject: client,
      requiredClaims: ['exp', 'aud'],
      currentDate: new Date(now),
      clockTolerance: clockToleranceS,
    }).then(
      (verified) => verified.payload,
      // Another certificate may have signed it. The caller learns only that the assertion is refused.
      () => undefined,
    );
    if (payload === undefined) continue;
    const { aud, exp = 0 } = payload;
    return exp * 1_000 <= now + lifetimeMax && typeof aud === 'string' && isWithin(aud, audience);
  }
  return false;
};

const isWithin = (url: string, audience: string): boolean => {
  const base = audience.replace(/\/$/, '').toLowerCase();
  const given = url.toLowerCase();
  return given === base || given.startsWith(`${base}/`);
};
