import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { CloudNames } from '../cloud/names.ts';
import { useOfAudience } from '../sign-in/audiences.ts';
import type { openSignIn } from '../sign-in/sign-in.ts';

/** The identity whose tokens the endpoint returns: a principal (UUID) with its secret. */
const LocalIdentity = Type.Object({ principalId: Type.String(), secret: Type.String() });

/** What the endpoint needs. */
export interface ManagedIdentityParts {
  readonly names: CloudNames;
  readonly clock: Clock;
  readonly signIn: ReturnType<typeof openSignIn>;
  readonly identity: Static<typeof LocalIdentity>;
  /** What `X-IDENTITY-HEADER` must be in the App Service form; absent: that form is refused. */
  readonly header: string | undefined;
}

/** Settings of the endpoint. */
interface IdentitySettings {
  /** Content of the identity file: JSON. */
  readonly gatewayIdentityFile: string | undefined;
  readonly gatewayIdentityHeader: string | undefined;
}

/**
 * The endpoint that the settings describe; undefined if they name no identity.
 * @throws Error for an identity file of another form
 */
export const managedIdentityOf = (
  { gatewayIdentityFile: text, gatewayIdentityHeader: header }: IdentitySettings,
  parts: Omit<ManagedIdentityParts, 'identity' | 'header'>,
): ReturnType<typeof managedIdentity> | undefined => {
  if (text === undefined) return undefined;
  const identity: unknown = JSON.parse(text);
  if (!Value.Check(LocalIdentity, identity)) {
    throw new Error('GATEWAY_IDENTITY_FILE must hold a JSON object with principalId and secret, both texts');
  }
  return managedIdentity({ ...parts, identity, header });
};

/** A request for a token. */
export interface IdentityRequest {
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Status and JSON body. */
export interface IdentityReply {
  readonly status: number;
  readonly body: unknown;
}

/** Paths of the two forms, without a trailing slash. */
export const identityPaths = { imds: '/metadata/identity/oauth2/token', appService: '/msi/token' } as const;

/** Query parameters that name a user-assigned identity. */
const selectors = ['client_id', 'object_id', 'principal_id', 'clientid'];

/**
 * The managed identity endpoint, as virtual machines (IMDS) and App Service have it. Wrong requests get 400: clients repeat a 404 for
 * many seconds.
 */
export const managedIdentity =
  ({ names, clock, signIn, identity, header }: ManagedIdentityParts) =>
  async (form: keyof typeof identityPaths, { query, headers }: IdentityRequest): Promise<IdentityReply> => {
    const refused = refusalOf(form, headers, header);
    if (refused !== undefined) return refusal('invalid_request', refused);
    const { resource = '' } = query;
    const use = useOfAudience(names, resource);
    if (use === undefined) {
      return refusal(
        'invalid_resource',
        `AADSTS500011: The resource principal named ${resource.slice(0, 200)} was not found.`,
      );
    }
    const { principalId, secret } = identity;
    const isOther = selectors.some((name) => query[name] !== undefined && query[name]?.toLowerCase() !== principalId);
    if (isOther || query.msi_res_id !== undefined || query.mi_res_id !== undefined) {
      return refusal('invalid_request', 'Identity not found');
    }
    try {
      const proof = { clientSecret: secret };
      const { token, expireTime } = await signIn({ clientId: principalId, proof, audience: resource, use });
      return {
        status: 200,
        body: {
          access_token: token,
          client_id: principalId,
          expires_in: String(Math.max(0, Math.floor((expireTime - clock.now()) / 1_000))),
          expires_on: String(Math.floor(expireTime / 1_000)),
          not_before: String(Math.floor(clock.now() / 1_000)),
          resource,
          token_type: 'Bearer',
        },
      };
    } catch (error) {
      return failed(error);
    }
  };

/** Why the request is not from a client of this endpoint; undefined if it is. A browser or a forwarded request cannot set the header. */
const refusalOf = (
  form: keyof typeof identityPaths,
  headers: IdentityRequest['headers'],
  header: string | undefined,
): string | undefined => {
  if (headers['x-forwarded-for'] !== undefined) return 'The request must not contain X-Forwarded-For.';
  if (form === 'imds') {
    return String(headers.metadata).toLowerCase() === 'true' ? undefined : 'Required metadata header not specified';
  }
  return header !== undefined && headers['x-identity-header'] === header
    ? undefined
    : 'The header X-IDENTITY-HEADER is missing or wrong.';
};

const refusal = (error: string, error_description: string): IdentityReply => ({
  status: 400,
  body: { error, error_description },
});

/** @throws every error but a refusal of identity and an unreachable identity */
const failed = (error: unknown): IdentityReply => {
  if (error instanceof Rejection && error.reason === 'INVALID_CLIENT')
    return refusal('invalid_request', 'Identity not found');
  if (error instanceof Rejection && error.reason === 'THROTTLED') {
    return { status: 429, body: { error: 'too_many_requests', error_description: error.message } };
  }
  if (!(error instanceof Rejection) && !(error instanceof RpcFailure)) throw error;
  return { status: 503, body: { error: 'service_unavailable', error_description: error.message } };
};
