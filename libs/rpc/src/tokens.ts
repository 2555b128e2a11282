import { Rejection } from '@interlock/event-store';
import type { Clock, Instant } from '@interlock/runtime';
import { errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { type Principal, runAsCall } from './call.ts';
import { rs256, type TokenFormat } from './token-format.ts';

/** Fetches the public keys that sign tokens, as a JWK set. */
export type KeySource = () => Promise<JSONWebKeySet>;

/**
 * Verifies a bearer token offline; without a promise if it was verified before.
 * @throws Rejection UNAUTHENTICATED with TOKEN_MALFORMED, TOKEN_SIGNATURE_INVALID, TOKEN_WRONG_ISSUER,
 *   TOKEN_WRONG_AUDIENCE, TOKEN_EXPIRED or TOKEN_NOT_YET_VALID. Rule KV-81.
 * @throws RpcFailure if the keys cannot be fetched: the token is neither accepted nor refused
 */
export type Authenticate = (token: string) => Promise<Principal> | Principal;

export interface TokenVerifierOptions {
  readonly keys: KeySource;
  /** The `iss` every token must have. */
  readonly issuer: string;
  /** The `aud` of this service, for example `interlock:key-vault`. */
  readonly audience: string;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  /** Accepted difference of the issuer's clock. Default 1,000 ms. */
  readonly clockToleranceMs?: number;
  /** Shortest time between two fetches of the keys, also when tokens name unknown keys. A new key may stay unknown this long. Default 1,000 ms. */
  readonly refetchMs?: number;
  /** Age after which the keys are fetched again, so that a withdrawn one is dropped. Default 600,000 ms. */
  readonly keysTtlMs?: number;
  /** How long a verified token is trusted without another check, within its `exp`. Default 60,000 ms. */
  readonly verifiedTtlMs?: number;
  /** How tokens are signed. Default `rs256`. */
  readonly format?: TokenFormat;
}

/** Most cached verified tokens; the oldest are dropped first. */
const VERIFIED_MAX = 10_000;

/** Creates the verifier of one service. It caches verified tokens, because an RSA check costs more than the rest of a call. */
export function tokenVerifier(options: TokenVerifierOptions): Authenticate {
  const { issuer, audience, clock, clockToleranceMs = 1_000, verifiedTtlMs = 60_000, format = rs256 } = options;
  const signingKeys = keyRing(options);
  const verified = new Map<string, { readonly principal: Principal; readonly until: Instant }>();

  return (token) => {
    const now = clock.now();
    const known = verified.get(token);
    return known !== undefined && now < known.until ? known.principal : verifyUnknown(token, now);
  };

  async function verifyUnknown(token: string, now: Instant): Promise<Principal> {
    verified.delete(token);
    const claims = await verify(token, now);
    const principal = principalFrom(claims);
    // `exp` exists and is in seconds, with a fraction for short lives; the library compared whole seconds.
    const expireTime = Math.round((claims.exp ?? 0) * 1_000);
    const expires = expireTime + clockToleranceMs;
    if (now >= expires) throw expired(claims.exp);
    verified.set(token, { principal, until: Math.min(expires, now + verifiedTtlMs) });
    if (verified.size > VERIFIED_MAX) {
      const [oldest] = verified.keys();
      if (oldest !== undefined) verified.delete(oldest);
    }
    return principal;
  }

  async function verify(token: string, now: Instant): Promise<JWTPayload> {
    try {
      return await format.verify(token, signingKeys, {
        issuer,
        audience,
        requiredClaims: ['iat', 'nbf', 'exp', 'sub'],
        currentDate: new Date(now),
        clockTolerance: clockToleranceMs / 1_000,
      });
    } catch (error) {
      throw tokenRefusal(error, { issuer, audience });
    }
  }
}

/** Public keys by `kid`: fetched when first needed, when a token names an unknown one, and when they are old. */
function keyRing(options: TokenVerifierOptions): JWTVerifyGetKey {
  const { keys, clock, refetchMs = 1_000, keysTtlMs = 600_000, format = rs256 } = options;
  let ring: { readonly find: JWTVerifyGetKey; readonly fetchedMs: number } | undefined;
  let fetching: Promise<void> | undefined;
  let triedMs = Number.NEGATIVE_INFINITY;
  /** Error of the last fetch of the keys. */
  let failure: unknown;

  const refetch = async (): Promise<void> => {
    triedMs = clock.monotonicMs();
    try {
      // Outside of any call: a caller with a short deadline would otherwise make it fail for all callers.
      ring = { find: format.readKeys(await runAsCall(undefined, keys)), fetchedMs: triedMs };
      failure = undefined;
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  const refetchOnce = (): Promise<void> => {
    fetching ??= refetch().finally(() => {
      fetching = undefined;
    });
    return fetching;
  };
  const mayFetch = (): boolean => fetching !== undefined || clock.monotonicMs() - triedMs >= refetchMs;

  return async (header, token) => {
    if (ring === undefined) await refetchOnce();
    // Old keys still verify while identity is away; a failed refresh is tried again with the next token.
    else if (clock.monotonicMs() - ring.fetchedMs >= keysTtlMs && mayFetch()) await Promise.allSettled([refetchOnce()]);
    if (ring === undefined) throw new Error('the signing keys were fetched and are not here');
    try {
      return await ring.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      // An unknown key may be new: after a failed fetch, report that failure.
      if (!mayFetch()) throw failure ?? error;
      await refetchOnce();
      return ring.find(header, token);
    }
  };
}

function tokenRefusal(
  error: unknown,
  { issuer, audience }: { readonly issuer: string; readonly audience: string },
): unknown {
  const refuse = (reason: string, message: string, metadata: Readonly<Record<string, string>> = {}): Rejection =>
    new Rejection('UNAUTHENTICATED', reason, message, metadata, { cause: error });
  if (error instanceof errors.JWTExpired) return expired(error.payload.exp, error);
  if (error instanceof errors.JWTClaimValidationFailed && error.reason === 'check_failed') {
    if (error.claim === 'aud') {
      return refuse(
        'TOKEN_WRONG_AUDIENCE',
        `the token is not meant for this service: its "aud" must be "${audience}"`,
        { audience },
      );
    }
    if (error.claim === 'nbf') {
      const notBefore = timeOf(error.payload.nbf);
      return refuse('TOKEN_NOT_YET_VALID', `the token is not valid before ${notBefore}`, { notBefore });
    }
    if (error.claim === 'iss') {
      const got = JSON.stringify(error.payload.iss);
      return refuse('TOKEN_WRONG_ISSUER', `the "iss" of the token must be "${issuer}" (got ${got})`);
    }
  }
  if (
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSEAlgNotAllowed
  ) {
    return refuse('TOKEN_SIGNATURE_INVALID', 'the token is not signed by a key of ours with RS256');
  }
  if (error instanceof errors.JOSEError)
    return refuse('TOKEN_MALFORMED', `the bearer token cannot be read: ${error.message}`);
  return error;
}

const expired = (exp: number | undefined, cause?: unknown): Rejection => {
  const expireTime = timeOf(exp);
  const message = `the token expired at ${expireTime}: get a new one`;
  return new Rejection('UNAUTHENTICATED', 'TOKEN_EXPIRED', message, { expireTime }, { cause });
};

const timeOf = (seconds: number | undefined): string => new Date(Math.round((seconds ?? 0) * 1_000)).toISOString();

/** `sub` = `oid` = the principal, `tid` its tenant, `idtyp` its kind, `workload` its service (REST-82). */
function principalFrom(claims: JWTPayload): Principal {
  const { sub, oid, tid, idtyp, workload } = claims;
  const malformed = (claim: string, expected: string): Rejection =>
    new Rejection('UNAUTHENTICATED', 'TOKEN_MALFORMED', `the token's claim "${claim}" must be ${expected}`, { claim });
  if (typeof sub !== 'string' || sub !== oid) throw malformed('sub', 'a text equal to "oid"');
  if (typeof tid !== 'string') throw malformed('tid', 'the tenant');
  const principal = { id: sub, name: `principals/${sub}`, tenant: tid };
  if (idtyp === 'workload') {
    if (typeof workload !== 'string') throw malformed('workload', 'the service name');
    return { ...principal, kind: idtyp, workload };
  }
  if (idtyp === 'user' || idtyp === 'app' || idtyp === 'managed_identity') return { ...principal, kind: idtyp };
  throw malformed('idtyp', 'user, app, managed_identity or workload');
}
