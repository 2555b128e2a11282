import type { Clock } from '@interlock/runtime';
import { callerOf } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import type { Admit, TokenUse } from '../http/route.ts';
import { TokenRefused, type Tokens } from './tokens.ts';

/** Admits requests with a token of the right audience, and no others. */
export const openAccess =
  (parts: {
    readonly tokens: Tokens;
    readonly names: CloudNames;
    readonly clock: Pick<Clock, 'now'>;
    /** Proves the addresses of clients to key-vault; undefined: they are not stated. */
    readonly clientAddressKey: string | undefined;
  }): Admit =>
  async (use, authorization, from) => {
    const { tokens, names, clock, clientAddressKey } = parts;
    const [, token] = /^bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined) throw missing(names, use, authorization);
    try {
      const { principal, tenant, inner, use: found } = await tokens.verify(token);
      if (found !== use) throw new TokenRefused(`the token is for ${found}, and this request needs one for ${use}`);
      return callerOf({ principal, tenant, ...from, tokens: inner, clientAddressKey });
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
      throw unacceptable(names, use, error, clock.now());
    }
  };

const code = (use: TokenUse, isMissing: boolean): string => {
  if (use === 'vault') return 'Unauthorized';
  return isMissing ? 'AuthenticationFailed' : 'InvalidAuthenticationToken';
};

const missing = (names: CloudNames, use: TokenUse, authorization: string | undefined): RestError => {
  const what =
    authorization === undefined
      ? 'Request is missing a Bearer token.'
      : 'The Authorization header holds no Bearer token.';
  const message = use === 'vault' ? `AKV10000: ${what}` : `Authentication failed. ${what}`;
  return new RestError(401, code(use, true), message, { headers: { 'www-authenticate': challenge(names, use) } });
};

/** With a claims challenge: without it the command line keeps a stale token (its cache is on disk). */
const unacceptable = (names: CloudNames, use: TokenUse, cause: TokenRefused, now: number): RestError => {
  const claims = { access_token: { nbf: { essential: true, value: String(Math.floor(now / 1_000)) } } };
  const encoded = Buffer.from(JSON.stringify(claims)).toString('base64');
  const header = `${challenge(names, use)}, error="insufficient_claims", claims="${encoded}"`;
  const message = `${use === 'vault' ? 'AKV10022: ' : ''}The access token is not valid: ${cause.message}`;
  return new RestError(401, code(use, false), message, { headers: { 'www-authenticate': header } }, { cause });
};

/** Parameters are separated by comma and space: SDKs split there. */
const challenge = ({ gateway, vaultSuffix, challengeTenant }: CloudNames, use: TokenUse): string => {
  const authority = `${gateway}/${challengeTenant}`;
  return use === 'vault'
    ? `Bearer authorization="${authority}", resource="https://${vaultSuffix}"`
    : `Bearer realm="", authorization_uri="${authority}"`;
};
