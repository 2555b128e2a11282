import { Rejection } from '@interlock/event-store';
import { type Clock, tokenBuckets } from '@interlock/runtime';
import { Type } from '@sinclair/typebox';
import type { CloudNames } from '../cloud/names.ts';
import { type Route, type RouteReply, type RouteRequest, route } from '../http/route.ts';
import { audienceOfScope, useOfAudience } from './audiences.ts';
import { openSignIn, type Proof, type SignInParts } from './sign-in.ts';

/** A form field at most as long as any that clients send. */
const field = Type.Optional(Type.String({ maxLength: 16_384 }));

const TokenForm = Type.Object({
  grant_type: field,
  client_id: field,
  client_secret: field,
  client_assertion: field,
  client_assertion_type: field,
  scope: field,
  resource: field,
});

/** Largest form in bytes: twice the longest field. Clients without a token send it. */
const formBytesMax = 32 * 1024;

/** A refusal of the token endpoint, in the words that clients show. */
class SignInRefused extends Error {
  override readonly name = 'SignInRefused';
  readonly status: number;
  readonly error: string;
  readonly number: number;
  constructor(status: number, error: string, number: number, message: string) {
    super(`AADSTS${number}: ${message}`);
    this.status = status;
    this.error = error;
    this.number = number;
  }
}

type SignInRequest = Pick<RouteRequest<'/:tenant', typeof TokenForm.static>, 'params' | 'body' | 'address'>;

interface Parts extends SignInParts {
  readonly names: CloudNames;
  /** Failed sign-ins a second from one address. */
  readonly failuresPerSecond: number;
}

/** The token endpoint, version 1 (`resource`) and 2 (`scope`), and its form for ADFS. */
export const tokenRoutes = (parts: Parts): readonly Route[] => {
  const failures = tokenBuckets(
    { perSecond: parts.failuresPerSecond, burst: parts.failuresPerSecond * 10 },
    parts.clock,
  );
  const signIn = openSignIn(parts);
  const handle =
    (version: 1 | 2) =>
    async (request: SignInRequest): Promise<RouteReply> => {
      const waitMs = failures.take(request.address);
      try {
        if (waitMs > 0)
          throw new SignInRefused(
            429,
            'temporarily_unavailable',
            50196,
            'Too many failed sign-ins. Wait, then try again.',
          );
        const reply = await issue(parts, signIn, version, request);
        failures.refund(request.address);
        return reply;
      } catch (error) {
        return refusal(error, parts.clock, waitMs);
      }
    };
  const common = {
    method: 'POST',
    host: 'gateway',
    access: 'public',
    isForm: true,
    bodyBytesMax: formBytesMax,
    body: TokenForm,
  } as const;
  const does = 'Issues a token for a client secret or certificate';
  return [
    route({ ...common, path: '/:tenant/oauth2/v2.0/token', does, handle: handle(2) }),
    route({ ...common, path: '/:tenant/oauth2/token', does: `${does} (version 1, and ADFS)`, handle: handle(1) }),
  ];
};

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const issue = async (
  { names, clock }: Parts,
  signIn: ReturnType<typeof openSignIn>,
  version: 1 | 2,
  { params, body }: SignInRequest,
): Promise<RouteReply> => {
  const { audience, use } = requested(names, body);
  const clientId = body.client_id?.toLowerCase() ?? '';
  if (!uuid.test(clientId)) throw unknownApplication(clientId, params.tenant);
  const checkTenant = (tenant: unknown): void => {
    if (isOwnTenant(names, params.tenant, tenant)) return;
    throw unknownApplication(clientId, params.tenant);
  };
  const { token, expireTime } = await signIn({ clientId, proof: proofOf(body), audience, use, checkTenant });
  return tokenReply(version, audience, token, expireTime, clock.now());
};

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** What proves that the client is the principal: a secret, or an assertion that its certificate signed. @throws SignInRefused */
const proofOf = (form: typeof TokenForm.static): Proof => {
  const { client_secret: clientSecret, client_assertion: clientAssertion, client_assertion_type: type } = form;
  if (clientAssertion === undefined && clientSecret !== undefined) return { clientSecret };
  if (clientAssertion !== undefined && type === assertionType) return { clientAssertion };
  const message =
    clientAssertion === undefined
      ? 'The request body must contain client_assertion or client_secret.'
      : `client_assertion_type must be ${assertionType} (got "${(type ?? '').slice(0, 100)}").`;
  throw new SignInRefused(401, 'invalid_client', 7000216, message);
};

/** The requested audience, and what it is for. @throws SignInRefused */
const requested = (names: CloudNames, { grant_type, resource, scope }: typeof TokenForm.static) => {
  if (grant_type !== 'client_credentials') {
    const message = `The grant type must be client_credentials (got "${(grant_type ?? '').slice(0, 100)}").`;
    throw new SignInRefused(400, 'unsupported_grant_type', 70003, message);
  }
  const audience = resource ?? audienceOfScope(scope ?? '');
  if (!audience) {
    throw new SignInRefused(
      400,
      'invalid_scope',
      70011,
      'The scope must be <resource>/.default, or resource must be given.',
    );
  }
  const use = useOfAudience(names, audience);
  if (use !== undefined) return { audience, use };
  throw new SignInRefused(
    400,
    'invalid_resource',
    500011,
    `The resource principal named ${audience.slice(0, 200)} was not found.`,
  );
};

/** A principal signs in to its own tenant only. `adfs` means the tenant of the principal. @param own as identity has it */
const isOwnTenant = (names: CloudNames, tenant: string, own: unknown): boolean =>
  tenant.toLowerCase() === 'adfs' || names.tenants.inner(tenant) === own;

const unknownApplication = (clientId: string, tenant: string): SignInRefused =>
  new SignInRefused(
    400,
    'unauthorized_client',
    700016,
    `Application with identifier '${clientId.slice(0, 100)}' was not found in the directory '${tenant.slice(0, 100)}'.`,
  );

const tokenReply = (version: 1 | 2, audience: string, token: string, expireTime: number, now: number): RouteReply => {
  const expiresIn = Math.max(0, Math.floor((expireTime - now) / 1_000));
  const common = { token_type: 'Bearer', access_token: token };
  const body =
    version === 2
      ? { ...common, expires_in: expiresIn, ext_expires_in: expiresIn }
      : {
          ...common,
          expires_in: String(expiresIn),
          ext_expires_in: String(expiresIn),
          expires_on: String(Math.floor(expireTime / 1_000)),
          not_before: String(Math.floor(now / 1_000)),
          resource: audience,
        };
  return { body, headers: { 'cache-control': 'no-store' } };
};

/** @throws every error that is not a response of identity */
const refusal = (error: unknown, clock: Clock, waitMs: number): RouteReply => {
  const refused = error instanceof Rejection ? refusedByIdentity(error) : error;
  if (!(refused instanceof SignInRefused)) throw refused;
  const { status, error: name, number, message } = refused;
  return {
    status,
    body: {
      error: name,
      error_description: message,
      error_codes: [number],
      timestamp: new Date(clock.now()).toISOString(),
    },
    headers: {
      'cache-control': 'no-store',
      ...(status === 429 ? { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1_000))) } : {}),
    },
  };
};

const refusedByIdentity = (error: Rejection): Error => {
  if (error.reason === 'INVALID_CLIENT') {
    const message =
      'Invalid client secret or assertion provided, or the application does not exist, or its secret has expired.';
    return new SignInRefused(401, 'invalid_client', 7000215, message);
  }
  if (error.reason === 'THROTTLED') return new SignInRefused(429, 'temporarily_unavailable', 50196, error.message);
  return error;
};
