import type {
  IssueManagedIdentityTokenRequest,
  IssueTokenRequest,
  RotateSigningKeyRequest,
  SigningKey as WireSigningKey,
} from '@interlock/contracts/interlock/identity/v1/token.ts';
import { type Category, type EventStore, Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import { type Clock, traceIdOf } from '@interlock/runtime';
import { certificatesOf, hasSecret, type Principal } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import { principalNotFound } from '../principal/wire.ts';
import type { SigningKey } from '../signing-key/decider.ts';
import type { KeyRing } from '../signing-key/key-ring.ts';
import { isAssertionOf } from './client-assertion.ts';
import type { TokenLimit } from './token-limit.ts';
import { hashSecret, type TokenIssuer } from './tokens.ts';

interface Parts {
  readonly clock: Clock;
  readonly store: Pick<EventStore, 'read'>;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly ring: KeyRing;
  readonly issue: TokenIssuer;
  readonly limit: TokenLimit;
  /** URL that client assertions must be for; absent: none is accepted. */
  readonly assertionAudience?: string | undefined;
}

type Credentials = Pick<IssueTokenRequest, 'clientId' | 'clientSecret' | 'audience'> &
  Partial<Pick<IssueTokenRequest, 'clientAssertion'>>;

/** Tokens and the keys that sign them. */
export const tokenApi = (parts: Parts) => ({
  async issueToken(credentials: Credentials, { peer }: Pick<Call, 'peer'>) {
    const { clientId, audience } = credentials;
    const { principals, limit } = parts;
    const forgive = limit.admit(peer);
    const id = clientId.replace(/^principals\//, '');
    const { state } = await principals.load(id).catch((error: unknown) => {
      // An unavailable store is not the caller's failure.
      forgive();
      throw error;
    });
    // One response for an unknown client, a deleted one and a wrong secret: a guesser learns nothing from it.
    if (state.status !== 'active' || !(await isProven(parts, id, state, credentials))) {
      throw new Rejection(
        'UNAUTHENTICATED',
        'INVALID_CLIENT',
        'client_id and client_secret (or client_assertion) do not belong together, or the secret has expired',
      );
    }
    forgive();
    limit.admitPrincipal(id);
    return tokenFor(parts, id, state, audience);
  },

  async issueManagedIdentityToken({ principal, audience }: IssueManagedIdentityTokenRequest) {
    const { principal: id } = names.principal.parse(principal, 'principal');
    const { state } = await parts.principals.load(id);
    // Not a loss: its resource has stored the name and creates it next.
    if (state.status === 'absent') throw principalNotFound(id);
    if (state.status === 'deleted') throw await identityDeleted(parts, id, state.deletedAt);
    if (state.principalType !== 'managed_identity') throw notAManagedIdentity(principal);
    return tokenFor(parts, id, state, audience);
  },

  async getJsonWebKeySet() {
    const keys = await parts.ring.published();
    return { keys: keys.map(({ kid, n, e }) => ({ kid, kty: 'RSA', use: 'sig', alg: 'RS256', n, e })) };
  },

  async rotateSigningKey({ requestId }: RotateSigningKeyRequest, { cause }: Call) {
    if (requestId === '') {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'REQUEST_ID_MISSING',
        'request_id must be set, so that a repeated request does not rotate twice',
        { field: 'request_id' },
      );
    }
    return { signingKeys: (await parts.ring.rotate(requestId, cause)).map(signingKeyOnWire) };
  },

  async listSigningKeys() {
    return { signingKeys: (await parts.ring.published()).map(signingKeyOnWire) };
  },
});

/** Whether the secret, or the assertion if there is one, is of the principal. */
const isProven = async (
  { clock, assertionAudience }: Parts,
  id: string,
  principal: Principal,
  { clientSecret, clientAssertion = '' }: Credentials,
): Promise<boolean> => {
  const now = clock.now();
  if (clientAssertion === '') return hasSecret(principal, hashSecret(clientSecret), now);
  const certificates = certificatesOf(principal, now);
  return isAssertionOf(clientAssertion, id, { certificates, audience: assertionAudience, now });
};

const tokenFor = async (
  { issue }: Parts,
  id: string,
  principal: Extract<Principal, { status: 'active' }>,
  audience: string,
) => {
  const { token, expireTime } = await issue({ id, ...principal }, audience);
  return { accessToken: token, tokenType: 'Bearer', expireTime: new Date(expireTime) };
};

const notAManagedIdentity = (principal: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'NOT_A_MANAGED_IDENTITY',
    `${principal} is not a managed identity: it gets tokens with its own secret`,
    { principal },
  );

/** Carries the time and trace of the deletion (G10). */
const identityDeleted = async ({ store }: Parts, id: string, deletedAt: number): Promise<Rejection> => {
  const principal = `principals/${id}`;
  // The deletion is the last event.
  const traceparent = (await store.read(`principal-${id}`)).at(-1)?.cause.traceparent;
  const traceId = traceparent && traceIdOf(traceparent);
  return new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_DELETED',
    `${principal} is deleted: its resource has no identity`,
    {
      principal,
      since: new Date(deletedAt).toISOString(),
      ...(traceparent && traceId ? { trace_id: traceId, traceparent } : {}),
    },
  );
};

const signingKeyOnWire = ({ kid, createdAt, retiresAt }: SigningKey): WireSigningKey => ({
  kid,
  state: retiresAt === undefined ? 'ACTIVE' : 'RETIRING',
  createTime: new Date(createdAt),
  retireTime: retiresAt === undefined ? undefined : new Date(retiresAt),
});
