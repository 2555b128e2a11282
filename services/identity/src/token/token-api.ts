import type {
  IssueManagedIdentityTokenRequest,
  IssueTokenRequest,
  RotateSigningKeyRequest,
  SigningKey as WireSigningKey,
} from '@interlock/contracts/interlock/identity/v1/token.ts';
import { type Category, type EventStore, Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import { type Clock, traceIdOf } from '@interlock/runtime';
import { hasSecret, type Principal } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import { principalNotFound } from '../principal/wire.ts';
import type { SigningKey } from '../signing-key/decider.ts';
import type { KeyRing } from '../signing-key/key-ring.ts';
import type { TokenLimit } from './token-limit.ts';
import { hashSecret, type TokenIssuer } from './tokens.ts';

/** Tokens and the keys that sign them: request in, token out. */
export const tokenApi = (parts: {
  readonly clock: Clock;
  readonly store: Pick<EventStore, 'read'>;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly ring: KeyRing;
  readonly issue: TokenIssuer;
  readonly limit: TokenLimit;
}) => {
  const { clock, store, principals, ring, issue, limit } = parts;
  const answer = async (id: string, principal: Extract<Principal, { status: 'active' }>, audience: string) => {
    const { token, expireTime } = await issue({ id, ...principal }, audience);
    return { accessToken: token, tokenType: 'Bearer', expireTime: new Date(expireTime) };
  };
  /** Since when, and by the trace of the deletion, so that whoever is refused knows what to look for (G10). */
  const identityDeleted = async (id: string, { deletedAt }: Extract<Principal, { status: 'deleted' }>) => {
    const principal = `principals/${id}`;
    // Nothing follows a deletion.
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

  return {
    async issueToken({ clientId, clientSecret, audience }: IssueTokenRequest, { peer }: Pick<Call, 'peer'>) {
      const forgive = limit.admit(peer);
      const id = clientId.replace(/^principals\//, '');
      const { state } = await principals.load(id).catch((error: unknown) => {
        // A store that does not answer says nothing about the caller.
        forgive();
        throw error;
      });
      // One answer for an unknown client, a deleted one and a wrong secret: a guesser learns nothing about which.
      if (state.status !== 'active' || !hasSecret(state, hashSecret(clientSecret), clock.now())) {
        throw new Rejection(
          'UNAUTHENTICATED',
          'INVALID_CLIENT',
          'client_id and client_secret do not belong together, or the secret has expired',
        );
      }
      forgive();
      limit.admitPrincipal(id);
      return answer(id, state, audience);
    },
    async issueManagedIdentityToken({ principal, audience }: IssueManagedIdentityTokenRequest) {
      const { principal: id } = names.principal.parse(principal, 'principal');
      const { state } = await principals.load(id);
      // Not made yet is no loss: its resource has stored the name and makes it next.
      if (state.status === 'absent') throw principalNotFound(id);
      if (state.status === 'deleted') throw await identityDeleted(id, state);
      if (state.principalType !== 'managed_identity') {
        throw new Rejection(
          'FAILED_PRECONDITION',
          'NOT_A_MANAGED_IDENTITY',
          `${principal} is no managed identity: it gets its tokens with its own secret`,
          {
            principal,
          },
        );
      }
      return answer(id, state, audience);
    },
    async getJsonWebKeySet() {
      const keys = await ring.published();
      return { keys: keys.map(({ kid, n, e }) => ({ kid, kty: 'RSA', use: 'sig', alg: 'RS256', n, e })) };
    },
    async rotateSigningKey({ requestId }: RotateSigningKeyRequest, { cause }: Call) {
      if (requestId === '') {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'REQUEST_ID_MISSING',
          'request_id must name this wish, so that a repeat does not rotate twice',
          { field: 'request_id' },
        );
      }
      return { signingKeys: (await ring.rotate(requestId, cause)).map(signingKeyOnWire) };
    },
    async listSigningKeys() {
      return { signingKeys: (await ring.published()).map(signingKeyOnWire) };
    },
  };
};

const signingKeyOnWire = ({ kid, createdAt, retiresAt }: SigningKey): WireSigningKey => ({
  kid,
  state: retiresAt === undefined ? 'ACTIVE' : 'RETIRING',
  createTime: new Date(createdAt),
  retireTime: retiresAt === undefined ? undefined : new Date(retiresAt),
});
