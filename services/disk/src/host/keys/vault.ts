import { lossReasonIn, refusalFacts } from '@interlock/access';
import type { KeyAccess as GrantedAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { CheckAccessRequest } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { noteEventSpan, Rejection } from '@interlock/event-store';
import { type RpcClient, type TokenSource, tokenSource } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { type Tracer, trace } from '@opentelemetry/api';
import type { KeyAccess } from './key-access.ts';
import { type KeyUse, keyLost, type LossFacts, vaultUnreachable } from './key-reasons.ts';
import type { KeyGrant, SentCall } from './lease.ts';
import type { SetOptions } from './set-options.ts';
import { type BatchingVault, openBatchingVault, type Reply, type VaultClient, withFreshToken } from './vault-client.ts';

/** What disks need of identity: tokens of a set. */
export type IdentityClient = Pick<RpcClient<typeof IdentityServiceDefinition>, 'issueManagedIdentityToken'>;

/** A use of a key by an identity. */
export interface VaultQuestion extends KeyUse {
  /** `principals/<uuid>`: the identity of the set. */
  readonly principal: string;
}

/** How to check. */
export interface CheckTerms {
  /** Whether to ignore the expiry of the key (CMK-104). */
  readonly allowExpired: boolean;
  /** Default: that of every call. */
  readonly deadlineMs?: number;
}

/** What a host's calls of the vault need. */
export interface VaultParts {
  readonly connect: (credentials: TokenSource) => VaultClient;
  readonly identities: IdentityClient;
  readonly keyAccess: KeyAccess;
  readonly options: Pick<SetOptions, 'outlivesExpiry'>;
  readonly clock: Clock;
  readonly tracer: Tracer;
}

/** A wrap, and the grant that it was made under. */
interface Wrapped {
  readonly wrapped: Uint8Array;
  readonly grant: KeyGrant;
}

/** The algorithm that wraps DEKs, as the vault names it; headers write it with hyphens. */
const algorithm = 'RSA_OAEP_256';
/** Name of the algorithm in headers. */
export const vaultAlgorithm = 'RSA-OAEP-256';
/** Identities whose client is kept; the least recently used one is removed first. */
const clientsMax = 1_000;

/**
 * Calls the vault as the identity of a set and as no other (CMK-07). Every call names the resource it is for, for the audit.
 * A refusal with a loss reason is a loss of the set's key at once; it is thrown with its reason. Without a reply the error is
 * `UNAVAILABLE` `KEY_VAULT_UNREACHABLE` or `THROTTLED`, and nothing changes.
 */
export class Vault {
  readonly #parts: VaultParts;
  readonly #clients = new Map<string, BatchingVault>();

  constructor(parts: VaultParts) {
    this.#parts = parts;
  }

  /**
   * Checks whether the key may be used now: state, dates, all of get, wrapKey and unwrapKey, and an unwrap of `wrapped` if
   * given. With it, a grant wins or renews the lease.
   */
  async check(
    question: VaultQuestion,
    wrapped?: Uint8Array,
    terms?: CheckTerms,
  ): Promise<{ readonly access: GrantedAccess; readonly grant: KeyGrant }> {
    const { keyAccess } = this.#parts;
    const { keyVersion, resource, set, principal } = question;
    const sent = keyAccess.nextCall();
    const probe = wrapped === undefined ? {} : ({ wrappedProbe: Buffer.from(wrapped), algorithm } as const);
    const { allowExpired = false, deadlineMs } = terms ?? {};
    const request = { keyVersion, resource: resource || set, allowExpired, ...probe };
    const options = deadlineMs === undefined ? {} : { deadlineMs };
    const access = await this.#call(question, (client) => client.checkAccess(request, options), sent);
    const grant = { accessEpoch: access.accessEpoch, sent, principal };
    keyAccess.granted(question, grant, wrapped === undefined ? 'stated' : 'unwrapped');
    return { access, grant };
  }

  /** Checks, then wraps. The caller clears `payload`. */
  async wrap(question: VaultQuestion, payload: Uint8Array): Promise<Wrapped> {
    // A wrap needs neither get nor unwrapKey, but without them the disk could never be read (CMK-25): so check first.
    const grant = await this.#stated(question);
    const { keyVersion: name, resource } = question;
    const plaintextKey = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
    const { wrappedKey } = await this.#call(question, (client) =>
      client.wrapKey({ name, algorithm, plaintextKey, resource }),
    );
    return { wrapped: wrappedKey, grant };
  }

  /**
   * Checks, then unwraps, which wins or renews the lease. The caller clears the payload.
   * @param held the grant of a lease that is held: then the check has been made already
   */
  async unwrap(
    question: VaultQuestion,
    wrapped: Uint8Array,
    held?: KeyGrant,
  ): Promise<{ readonly payload: Uint8Array; readonly grant: KeyGrant }> {
    // An unwrap works after the expiry of the key and needs no get, so the check comes first (CMK-104). The grant is that of
    // the check: a loss between the two has a higher epoch and concerns this DEK.
    const grant = held ?? (await this.#stated(question));
    const { keyVersion: name, resource, principal } = question;
    const request = { name, algorithm, wrappedKey: Buffer.from(wrapped), resource } as const;
    const { plaintextKey } = this.#answerOf(question, await this.#vaultAs(principal).unwrap(request));
    if (held === undefined) this.#parts.keyAccess.granted(question, grant, 'unwrapped');
    return { payload: plaintextKey, grant };
  }

  /** Moves a wrap to another key version, inside the vault. A refusal may concern source or target, so it is only thrown. */
  async rewrap(question: VaultQuestion, target: string, wrapped: Uint8Array): Promise<Wrapped> {
    const { set: diskEncryptionSet, resource, keyVersion: sourceKeyVersion, principal } = question;
    const reply = await this.#vaultAs(principal).rewrap({
      sourceKeyVersion,
      targetKeyVersion: target,
      wrappedKey: Buffer.from(wrapped),
      algorithm,
      diskEncryptionSet,
      resource,
    });
    if ('answer' in reply) {
      const { wrappedKey, accessEpoch } = reply.answer;
      const grant = { accessEpoch, sent: reply.sent, principal };
      this.#parts.keyAccess.granted({ set: diskEncryptionSet, keyVersion: target }, grant, 'stated');
      return { wrapped: wrappedKey, grant };
    }
    const { error } = reply;
    const loss = this.#lossIn(error);
    if (!loss) throw withoutLoss(question, error);
    const concerned = error instanceof Rejection ? error.metadata.key_version : undefined;
    throw keyLost({ ...question, keyVersion: concerned ?? question.keyVersion }, loss, error);
  }

  /** Whether the key may be used: one call for all opens of disks under it at the moment. */
  async #stated(question: VaultQuestion): Promise<KeyGrant> {
    const { keyVersion, resource, set, principal } = question;
    const request = CheckAccessRequest.create({ keyVersion, resource: resource || set });
    const reply = await this.#vaultAs(principal).check(request);
    const { accessEpoch } = this.#answerOf(question, reply);
    const grant = { accessEpoch, sent: reply.sent, principal };
    this.#parts.keyAccess.granted(question, grant, 'stated');
    return grant;
  }

  async #call<Answer>(
    question: VaultQuestion,
    send: (client: VaultClient) => Promise<Answer>,
    sent = this.#parts.keyAccess.nextCall(),
  ): Promise<Answer> {
    try {
      return await withFreshToken(() => send(this.#vaultAs(question.principal).client));
    } catch (error) {
      throw this.#failed(question, error, sent);
    }
  }

  #answerOf<Answer>(question: VaultQuestion, reply: Reply<Answer>): Answer {
    if ('answer' in reply) return reply.answer;
    throw this.#failed(question, reply.error, reply.sent);
  }

  /** The error of a failed call about one version. A loss reason ends the lease for every disk under it. */
  #failed(question: VaultQuestion, error: unknown, sent: SentCall): unknown {
    const { keyAccess, options } = this.#parts;
    const found = this.#lossIn(error);
    if (!found) return withoutLoss(question, error);
    // The deletion of an identity does not concern the next one of the set, whose grant may be here already.
    const loss = found.reason === 'IDENTITY_DELETED' ? { ...found, principal: question.principal } : found;
    // If running disks outlive the expiry of the key, this refusal is about this call only.
    const isLoss = loss.reason !== 'KEY_EXPIRED' || !options.outlivesExpiry(question.set);
    if (isLoss) keyAccess.lost(question, loss, { ...sent, principal: question.principal });
    return keyLost(question, loss, error);
  }

  /** What a refusal says about the key; undefined for any other error. */
  #lossIn(error: unknown): LossFacts | undefined {
    const reason = lossReasonIn(error);
    if (reason === undefined || !(error instanceof Rejection)) return undefined;
    const {
      accessEpoch,
      since = this.#parts.clock.now(),
      traceId,
      traceparent,
      event,
      correlationId,
    } = refusalFacts(error);
    if (event !== undefined) noteEventSpan(traceparent, event);
    return {
      reason,
      since,
      traceId: traceId ?? trace.getActiveSpan()?.spanContext().traceId ?? '',
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(event === undefined ? {} : { event }),
      ...(correlationId === undefined ? {} : { correlationId }),
      accessEpoch,
    };
  }

  #vaultAs(principal: string): BatchingVault {
    const client = this.#clients.get(principal) ?? this.#open(principal);
    this.#clients.delete(principal);
    this.#clients.set(principal, client);
    if (this.#clients.size > clientsMax) {
      const [oldest] = this.#clients.keys();
      if (oldest !== undefined) this.#clients.delete(oldest);
    }
    return client;
  }

  #open(principal: string): BatchingVault {
    const { connect, identities, keyAccess, clock, tracer } = this.#parts;
    const issue = async (audience: string) => {
      const { accessToken, expireTime } = await identities.issueManagedIdentityToken({ principal, audience });
      return { token: accessToken, expireTime: expireTime?.getTime() ?? clock.now() };
    };
    const client = connect(tokenSource({ clock, issue }));
    return openBatchingVault({ client, nextCall: () => keyAccess.nextCall(), clock, tracer });
  }
}

/** Opens the calls of a host. */
export const openVault = (parts: VaultParts): Vault => new Vault(parts);

/** Whether identity does not know the caller: a set names its next identity before it exists, so nothing is decided yet. */
const isUnmade = ({ reason }: Rejection): boolean => reason === 'PRINCIPAL_NOT_FOUND';

/** The error for a failure without a loss reason: a refusal of the request stays; anything else is a vault without a reply. */
const withoutLoss = (question: KeyUse, error: unknown): unknown =>
  error instanceof Rejection && !error.retryable() && error.code !== 'UNAUTHENTICATED' && !isUnmade(error)
    ? error
    : vaultUnreachable(question, error);
