import { lossReasonIn, refusalFacts } from '@interlock/access';
import type { KeyAccess as GrantedAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { CheckAccessRequest } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { type RpcClient, type TokenSource, tokenSource } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { type Tracer, trace } from '@opentelemetry/api';
import type { KeyAccess } from './key-access.ts';
import { type KeyUse, keyLost, type LossFacts, vaultUnreachable } from './key-reasons.ts';
import type { Asked, KeyGrant } from './lease.ts';
import type { SetOptions } from './set-options.ts';
import { type BatchingVault, openBatchingVault, type Told, type VaultClient, withFreshToken } from './vault-client.ts';

/** What disks need of identity: to speak as a set. */
export type IdentityClient = Pick<RpcClient<typeof IdentityServiceDefinition>, 'issueManagedIdentityToken'>;

/** A use of a key, as whom. */
export interface VaultQuestion extends KeyUse {
  /** `principals/<uuid>`: the identity of the set. */
  readonly principal: string;
}

/**
 * The vault, asked as the identity of a set and as nobody else (CMK-07). Every question says what it is for, for the audit.
 * A definite no is a loss of the set's key at once, whoever asked and why; it is thrown with its reason. No answer is
 * `UNAVAILABLE` `KEY_VAULT_UNREACHABLE` or `THROTTLED`, and changes nothing.
 */
export interface Vault {
  /**
   * Whether the key may be used now: state, dates, all of get, wrapKey and unwrapKey, and an unwrap of `wrapped` if given.
   * With it, a yes wins or renews the lease.
   */
  check(
    question: VaultQuestion,
    wrapped?: Uint8Array,
    terms?: CheckTerms,
  ): Promise<{ readonly access: GrantedAccess; readonly grant: KeyGrant }>;
  /** Checks, then wraps. The caller clears `payload`. */
  wrap(
    question: VaultQuestion,
    payload: Uint8Array,
  ): Promise<{ readonly wrapped: Uint8Array; readonly grant: KeyGrant }>;
  /**
   * Checks, then unwraps, which wins or renews the lease. The caller clears what it gets.
   * @param held the yes of a lease that is held: then the check has been made already
   */
  unwrap(
    question: VaultQuestion,
    wrapped: Uint8Array,
    held?: KeyGrant,
  ): Promise<{ readonly payload: Uint8Array; readonly grant: KeyGrant }>;
  /** Moves a wrap to another key version, inside the vault. A no concerns source or target, so it is thrown and no more. */
  rewrap(
    question: VaultQuestion,
    target: string,
    wrapped: Uint8Array,
  ): Promise<{ readonly wrapped: Uint8Array; readonly grant: KeyGrant }>;
}

/** How a check is to be made. */
export interface CheckTerms {
  /** Whether the end of the key's time is left out of account (CMK-104). */
  readonly allowExpired: boolean;
  /** Default: that of every call. */
  readonly deadlineMs?: number;
}

/** How DEKs are wrapped, in the vault's words; the header has it with hyphens. */
const algorithm = 'RSA_OAEP_256';
/** Name of the algorithm in headers. */
export const vaultAlgorithm = 'RSA-OAEP-256';
/** Identities whose client is kept; the one not used for longest goes first. */
const clientsMax = 1_000;

/** Whether identity does not know who asks: a set names its next identity before that is made, so nothing is decided yet. */
const isUnmade = ({ reason }: Rejection): boolean => reason === 'PRINCIPAL_NOT_FOUND';

/** Opens the way to the vault. */
export const openVault = (parts: {
  readonly connect: (credentials: TokenSource) => VaultClient;
  readonly identities: IdentityClient;
  readonly keyAccess: KeyAccess;
  readonly options: Pick<SetOptions, 'outlivesExpiry'>;
  readonly clock: Clock;
  readonly tracer: Tracer;
}): Vault => {
  const { connect, identities, keyAccess, options, clock, tracer } = parts;
  const clients = new Map<string, BatchingVault>();

  const open = (principal: string): BatchingVault => {
    const issue = async (audience: string) => {
      const { accessToken, expireTime } = await identities.issueManagedIdentityToken({ principal, audience });
      return { token: accessToken, expireTime: expireTime?.getTime() ?? clock.now() };
    };
    return openBatchingVault({ client: connect(tokenSource({ clock, issue })), ask: keyAccess.ask, clock, tracer });
  };
  const vaultAs = (principal: string): BatchingVault => {
    const client = clients.get(principal) ?? open(principal);
    clients.delete(principal);
    clients.set(principal, client);
    if (clients.size > clientsMax) {
      const [oldest] = clients.keys();
      if (oldest !== undefined) clients.delete(oldest);
    }
    return client;
  };

  /** What a definite no says about the key; undefined for anything else. */
  const lossIn = (error: unknown): LossFacts | undefined => {
    const reason = lossReasonIn(error);
    if (reason === undefined || !(error instanceof Rejection)) return undefined;
    const { accessEpoch, since = clock.now(), traceId, traceparent } = refusalFacts(error);
    return {
      reason,
      since,
      traceId: traceId ?? trace.getActiveSpan()?.spanContext().traceId ?? '',
      ...(traceparent === undefined ? {} : { traceparent }),
      accessEpoch,
    };
  };

  /** What a failure that is no loss is told as: a refusal of the request itself stays, everything else is no answer. */
  const withoutLoss = (question: KeyUse, error: unknown): unknown =>
    error instanceof Rejection && !error.retryable() && error.code !== 'UNAUTHENTICATED' && !isUnmade(error)
      ? error
      : vaultUnreachable(question, error);

  /** What a failure to answer a question about one version comes to: a definite no is heard by every disk under it. */
  const failed = (question: VaultQuestion, error: unknown, asked: Asked): unknown => {
    const found = lossIn(error);
    if (!found) return withoutLoss(question, error);
    // That an identity is gone says nothing about the one the set may have by now, whose yes may be here already.
    const loss = found.reason === 'IDENTITY_DELETED' ? { ...found, principal: question.principal } : found;
    // Where the set says that what runs outlives the expiry of its key, such a no is about what was asked for alone.
    const isLoss = loss.reason !== 'KEY_EXPIRED' || !options.outlivesExpiry(question.set);
    if (isLoss) keyAccess.lost(question, loss, { ...asked, principal: question.principal });
    return keyLost(question, loss, error);
  };
  const asking = async <Answer>(
    question: VaultQuestion,
    ask: (client: VaultClient) => Promise<Answer>,
    asked = keyAccess.ask(),
  ): Promise<Answer> => {
    try {
      return await withFreshToken(() => ask(vaultAs(question.principal).client));
    } catch (error) {
      throw failed(question, error, asked);
    }
  };
  const answered = <Answer>(question: VaultQuestion, told: Told<Answer>): Answer => {
    if ('answer' in told) return told.answer;
    throw failed(question, told.error, told.asked);
  };

  /** Whether the key may be used: asked together by all who open disks under it at the moment. */
  const stated = async (question: VaultQuestion): Promise<KeyGrant> => {
    const { keyVersion, resource, set, principal } = question;
    const request = CheckAccessRequest.create({ keyVersion, resource: resource || set });
    const told = await vaultAs(principal).check(request);
    const { accessEpoch } = answered(question, told);
    const grant = { accessEpoch, asked: told.asked, principal };
    keyAccess.granted(question, grant, 'stated');
    return grant;
  };

  const check: Vault['check'] = async (question, wrapped, terms) => {
    const { keyVersion, resource, set } = question;
    const asked = keyAccess.ask();
    const probe = wrapped === undefined ? {} : ({ wrappedProbe: Buffer.from(wrapped), algorithm } as const);
    const { allowExpired = false, deadlineMs } = terms ?? {};
    const request = { keyVersion, resource: resource || set, allowExpired, ...probe };
    const access = await asking(
      question,
      (client) => client.checkAccess(request, deadlineMs === undefined ? {} : { deadlineMs }),
      asked,
    );
    const grant = { accessEpoch: access.accessEpoch, asked, principal: question.principal };
    keyAccess.granted(question, grant, wrapped === undefined ? 'stated' : 'unwrapped');
    return { access, grant };
  };

  return {
    check,
    async wrap(question, payload) {
      // A wrap alone needs neither get nor unwrapKey: without them the disk could never be read again (CMK-25).
      const grant = await stated(question);
      const { keyVersion: name, resource } = question;
      const { wrappedKey } = await asking(question, (client) =>
        client.wrapKey({
          name,
          algorithm,
          plaintextKey: Buffer.from(payload.buffer, payload.byteOffset, payload.length),
          resource,
        }),
      );
      return { wrapped: wrappedKey, grant };
    },
    async unwrap(question, wrapped, held) {
      // Unwrapping alone goes on after the key has expired and needs no get, so the check comes first (CMK-104). The grant
      // is the check's: a loss between the two has a higher epoch and still concerns this DEK.
      const grant = held ?? (await stated(question));
      const { keyVersion: name, resource, principal } = question;
      const wish = { name, algorithm, wrappedKey: Buffer.from(wrapped), resource } as const;
      const { plaintextKey } = answered(question, await vaultAs(principal).unwrap(wish));
      if (held === undefined) keyAccess.granted(question, grant, 'unwrapped');
      return { payload: plaintextKey, grant };
    },
    async rewrap(question, target, wrapped) {
      const { set: diskEncryptionSet, resource, keyVersion: sourceKeyVersion, principal } = question;
      const told = await vaultAs(principal).rewrap({
        sourceKeyVersion,
        targetKeyVersion: target,
        wrappedKey: Buffer.from(wrapped),
        algorithm,
        diskEncryptionSet,
        resource,
      });
      if ('answer' in told) {
        const { wrappedKey, accessEpoch } = told.answer;
        const grant = { accessEpoch, asked: told.asked, principal };
        keyAccess.granted({ set: diskEncryptionSet, keyVersion: target }, grant, 'stated');
        return { wrapped: wrappedKey, grant };
      }
      const { error } = told;
      const loss = lossIn(error);
      if (!loss) throw withoutLoss(question, error);
      const concerned = error instanceof Rejection ? error.metadata.key_version : undefined;
      throw keyLost({ ...question, keyVersion: concerned ?? question.keyVersion }, loss, error);
    },
  };
};
