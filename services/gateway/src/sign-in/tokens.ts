import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Workload } from '@interlock/rpc';
import { rs256 } from '@interlock/rpc';
import type { Clock, Instant, Random } from '@interlock/runtime';
import { type MasterKey, nonceLength, seal, unseal } from '@interlock/sealing';
import { decodeJwt, type JWTPayload } from 'jose';
import type { CloudNames } from '../cloud/names.ts';
import type { TokenUse } from '../http/route.ts';
import { useOfAudience } from './audiences.ts';
import type { SigningKey } from './signing-key.ts';

/** Tokens of identity, by service. */
export type InnerTokens = Readonly<Partial<Record<Workload, string>>>;

/** Claims of a valid token of the gateway. */
export interface VerifiedToken {
  readonly use: TokenUse;
  /** UUID of the principal. */
  readonly principal: string;
  /** Tenant as identity has it. */
  readonly tenant: string;
  readonly inner: InnerTokens;
  readonly expireTime: Instant;
}

/** Why a token is refused, for the 401. */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused';
}

/**
 * The tokens of the gateway: JSON Web Tokens for the audiences of the public cloud. Each carries, sealed, the tokens that identity
 * issued for the same secret. So the gateway has no rights of its own, and no session: any replica serves any token.
 */
export interface Tokens {
  /** @param inner identity's tokens; the token ends with the first of them */
  issue(audience: string, inner: InnerTokens, expireTime: Instant): Promise<string>;
  /** @throws TokenRefused */
  verify(token: string): Promise<VerifiedToken>;
}

/** Tokens remembered as verified; the oldest go first. */
const verifiedMax = 10_000;
/** `nbf` lies so many seconds before the issue: the clock of a client may be behind. */
const clockAllowanceS = 60;

/** Opens the tokens of a gateway. */
export const openTokens = (parts: {
  readonly key: SigningKey;
  readonly masterKey: MasterKey;
  readonly names: CloudNames;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
}): Tokens => {
  const { key, masterKey, names, clock, random } = parts;
  const find = rs256.readKeys({ keys: [{ kid: key.kid, kty: 'RSA', use: 'sig', alg: 'RS256', n: key.n, e: key.e }] });
  const verified = new Map<string, VerifiedToken>();

  const verify = async (token: string): Promise<VerifiedToken> => {
    const now = clock.now();
    const known = verified.get(token);
    if (known !== undefined && now < known.expireTime) return known;
    verified.delete(token);
    const payload = await verifyClaims(token, find, now);
    const use = useOfAudience(names, String(payload.aud));
    if (use === undefined) throw new TokenRefused(`the audience "${String(payload.aud)}" is unknown here`);
    const found = { ...readClaims(payload, masterKey), use };
    verified.set(token, found);
    if (verified.size > verifiedMax) {
      const [oldest] = verified.keys();
      if (oldest !== undefined) verified.delete(oldest);
    }
    return found;
  };

  return {
    async issue(audience, inner, expireTime) {
      const [first] = Object.values(inner);
      if (first === undefined) throw new Error('a token carries at least one token of identity');
      const { oid, tid, idtyp } = decodeJwt(first);
      const nowS = Math.floor(clock.now() / 1_000);
      const id = random.uuid();
      const tenant = names.tenants.shown(String(tid));
      return key.sign(key.kid, {
        aud: audience,
        iss: `${names.gateway}/${tenant}/`,
        iat: nowS,
        nbf: nowS - clockAllowanceS,
        exp: Math.floor(expireTime / 1_000),
        oid,
        sub: String(oid),
        appid: oid,
        tid: tenant,
        idtyp: idtyp === 'user' ? 'user' : 'app',
        ver: '1.0',
        uti: id,
        xms_inner: sealInner(masterKey, random, id, inner),
      });
    },
    verify,
  };
};

const verifyClaims = async (
  token: string,
  find: ReturnType<typeof rs256.readKeys>,
  now: Instant,
): Promise<JWTPayload> => {
  try {
    const options = { currentDate: new Date(now), requiredClaims: ['aud', 'exp', 'sub', 'uti', 'xms_inner'] };
    return await rs256.verify(token, find, options);
  } catch (cause) {
    throw new TokenRefused(cause instanceof Error ? cause.message : String(cause), { cause });
  }
};

const readClaims = (payload: JWTPayload, masterKey: MasterKey): Omit<VerifiedToken, 'use'> => {
  const inner = openInner(masterKey, String(payload.uti), String(payload.xms_inner));
  const [first] = Object.values(inner);
  // The claims of the sealed token count: identity wrote them.
  const { oid, tid } = first === undefined ? {} : decodeJwt(first);
  if (typeof oid !== 'string' || typeof tid !== 'string') throw new TokenRefused('the token names no principal');
  return { principal: oid, tenant: tid, inner, expireTime: (payload.exp ?? 0) * 1_000 };
};

const purposeOf = (id: string): string => `interlock gateway token\0${id}`;

const sealInner = (masterKey: MasterKey, random: Random, id: string, inner: InnerTokens): string => {
  // They differ in audience and signature only, and clients send them with every request.
  const packed = deflateRawSync(JSON.stringify(inner));
  return Buffer.from(seal(masterKey.key, random.bytes(nonceLength), purposeOf(id), packed)).toString('base64url');
};

const openInner = (masterKey: MasterKey, id: string, sealed: string): InnerTokens => {
  const packed = unseal(masterKey.key, purposeOf(id), Buffer.from(sealed, 'base64url'));
  if (packed === undefined) throw new TokenRefused('the token was sealed under another master key');
  return JSON.parse(inflateRawSync(packed).toString());
};
