import { type EventStore, Rejection, type RejectionCode } from '@interlock/event-store';
import { type Call, principalOf, type Refusal, RpcFailure, type Settled } from '@interlock/rpc';
import { type Clock, type Logger, type Random, traceIdOf } from '@interlock/runtime';
import type { RateLimit, RequestKind } from '../access/rate-limit.ts';
import { StrangerRejection } from '../access/stranger.ts';
import { batchMax, settleReady } from '../cryptography/batch.ts';
import type { KeyUrls } from '../names.ts';
import { countedRefusals } from './counted.ts';
import { type AuditDraft, EntryDraft, type StoredAlongside } from './draft.ts';
import type { AuditEntry, AuditOperation } from './entry.ts';
import { type AuditRecord, auditWriter } from './writer.ts';

/** Who asks, from where and why: what the record needs of a call. */
export type Asking = Pick<Call, 'caller' | 'cause' | 'peer'>;

/** A handler of a request that goes on record. */
export type AuditedHandler<Request, Answer, By extends Asking> = (
  request: Request,
  call: By,
  entry: AuditDraft,
) => Promise<Answer>;

/** A request of a batch. */
export interface Asked<Request> {
  readonly request: Request;
  readonly call: Asking;
}

/** A request of a batch that is handled, and its entry. */
export interface AuditedItem<Request> extends Asked<Request> {
  readonly entry: AuditDraft;
}

/** Handles requests that are answered together, and tells how each ended, in their order. */
export type AuditedBatchHandler<Request, Answer> = (
  items: readonly AuditedItem<Request>[],
) => Promise<readonly Settled<Answer>[]>;

/** Puts requests on record. */
export interface AuditLog {
  /**
   * Makes a handler whose every outcome, refusals included, is on record before its answer leaves (KV-114). When the
   * record cannot be written there is no answer.
   * @param discard clears an answer that must not leave
   */
  audited<Request, Answer, By extends Asking = Call>(
    operation: AuditOperation,
    handle: AuditedHandler<Request, Answer, By>,
    discard?: (answer: Answer) => void,
  ): (request: Request, call: By) => Promise<Answer>;
  /**
   * The same for requests that are answered together: each has an entry of its own, and all of them are written at once, when the
   * last of them has ended.
   */
  auditedTogether<Request, Answer>(
    operation: AuditOperation,
    handle: AuditedBatchHandler<Request, Answer>,
    discard?: (answer: Answer) => void,
  ): (asked: readonly Asked<Request>[]) => Promise<readonly Settled<Answer>[]>;
  /**
   * Puts a call on record that was refused before its handler ran: without a token, or with one that is not accepted
   * (KV-80, KV-81, KV-114). Nothing is recorded for a request that names no vault which exists.
   */
  refused(refusal: Refusal): Promise<void>;
  /** Writes what was counted above the rate limit, window by window. */
  writeCounts(signal: AbortSignal): Promise<void>;
}

/** Uses of keys, which cost RSA; what renews leases, and everything else, is apart from them. */
const uses: ReadonlySet<AuditOperation> = new Set([
  'KeyCreate',
  'KeyImport',
  'KeyRotate',
  'KeyBackup',
  'KeyRestore',
  'KeyEncrypt',
  'KeyDecrypt',
  'KeyWrap',
  'KeyUnwrap',
  'KeySign',
  'KeyVerify',
  'KeyRewrap',
]);
const kindOf = (operation: AuditOperation): RequestKind => {
  if (operation === 'KeyCheckAccess') return 'check';
  return uses.has(operation) ? 'use' : 'manage';
};

/** Opens the record of all vaults of a store. Entries share transactions with each other (group commit). */
export const auditLog = (parts: {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly urls: KeyUrls;
  readonly limits: RateLimit;
  /** How long refusals above the limits are counted before the count is written. */
  readonly countWindowMs: number;
  readonly vaultExists: (vault: string) => Promise<boolean>;
}): AuditLog => {
  const { clock, urls, limits } = parts;
  const writer = auditWriter(parts);

  const counted = countedRefusals({
    clock,
    log: parts.log,
    windowMs: parts.countWindowMs,
    async write(refusals) {
      const vaults = new Set(refusals.map(({ vault }) => vault));
      const exists = new Map<string, boolean>();
      for (const vault of vaults) exists.set(vault, await parts.vaultExists(vault));
      await writer.write(refusals.filter(({ vault }) => exists.get(vault)));
    },
  });
  /** An entry for a refusal that never got as far as a key. */
  const outsideEntry = (
    vault: string,
    operation: AuditOperation,
    { caller, cause }: Pick<Call, 'caller' | 'cause'>,
    callerAddress: string,
    rejection: unknown,
  ): AuditEntry => ({
    time: clock.now(),
    operation,
    key: '',
    requestUri: urls.vault(vault),
    caller: caller.name,
    tenant: 'tenant' in caller ? `tenants/${caller.tenant}` : '',
    ...outcomeOf(rejection),
    resource: '',
    correlationId: cause.correlationId,
    traceId: traceIdOf(cause.traceparent) ?? '',
    durationUs: 0,
    callerAddress,
  });
  const count = (operation: AuditOperation, request: unknown, call: Asking, rejection: unknown): void => {
    const [vault] = vaultsNamedIn(request);
    if (vault === undefined) return;
    counted.add({ vault, entry: outsideEntry(vault, operation, call, call.peer, rejection) });
  };

  /** @throws Rejection THROTTLED, which is counted */
  const admit = (operation: AuditOperation, request: unknown, call: Asking): void => {
    try {
      limits.admit(principalOf(call), kindOf(operation));
    } catch (error) {
      count(operation, request, call, error);
      throw error;
    }
  };
  /** @returns false for a refusal above the limit of its vault, which is counted */
  const mayRecordStranger = (vault: string, operation: AuditOperation, call: Asking, rejection: unknown): boolean => {
    if (limits.mayRecordStranger(vault)) return true;
    counted.add({ vault, entry: outsideEntry(vault, operation, call, call.peer, rejection) });
    return false;
  };
  /** What a request that was handled leaves on record, one above the limits aside, which is counted. */
  const recordOf = (
    { request, call, draft }: { readonly request: unknown; readonly call: Asking; readonly draft: EntryDraft },
    about: Pick<AuditEntry, 'time' | 'operation' | 'durationUs'>,
    ended: Settled<unknown>,
  ): AuditRecord & { readonly stored: readonly StoredAlongside[] } => {
    if ('error' in ended && isThrottled(ended.error)) {
      count(about.operation, request, call, ended.error);
      return nothing;
    }
    const { others } = draft;
    const subjects =
      'error' in ended && ended.error instanceof StrangerRejection
        ? draft.subjects.filter(({ vault }) => mayRecordStranger(vault, about.operation, call, ended.error))
        : draft.subjects;
    if (subjects.length === 0) return nothing;
    const outcome = 'error' in ended ? outcomeOf(ended.error) : success;
    const stored = outcome.result === 'success' ? others : [];
    return {
      entries: subjects.map(({ vault, madeAt, key, uri }) => ({
        vault,
        madeAt,
        entry: entryOf(draft, call, { ...about, key, requestUri: uri, vaultMadeAt: madeAt }, outcome),
      })),
      also: stored.map(({ change }) => change),
      stored,
    };
  };

  return {
    writeCounts: counted.run,
    audited: (operation, handle, discard) => async (request, call) => {
      admit(operation, request, call);
      const time = clock.now();
      const startedMs = clock.monotonicMs();
      const draft = new EntryDraft(urls);
      const arrived = writer.expect();
      const record = async (ended: Settled<unknown>): Promise<void> => {
        const durationUs = Math.round((clock.monotonicMs() - startedMs) * 1_000);
        const { entries, also, stored } = recordOf({ request, call, draft }, { time, operation, durationUs }, ended);
        if (entries.length === 0) return;
        const written = writer.write(entries, also);
        arrived();
        await written;
        for (const other of stored) other.stored();
      };

      try {
        let answer: Awaited<ReturnType<typeof handle>>;
        try {
          answer = await handle(request, call, draft);
        } catch (error) {
          await record({ error });
          throw error;
        }
        try {
          await record({ answer });
        } catch (error) {
          discard?.(answer);
          throw error;
        }
        return answer;
      } finally {
        arrived();
      }
    },
    auditedTogether: (operation, handle, discard) => (asked) =>
      settleReady(
        asked,
        ({ request, call }) => {
          admit(operation, request, call);
          return { request, call, entry: new EntryDraft(urls) };
        },
        async (items) => {
          const time = clock.now();
          const startedMs = clock.monotonicMs();
          const arrived = writer.expect();
          try {
            const ended = await handle(items).catch((error: unknown) => items.map(() => ({ error })));
            if (ended.length !== items.length) throw new Error(`${ended.length} outcomes of ${items.length} requests`);
            const durationUs = Math.round((clock.monotonicMs() - startedMs) * 1_000);
            const about = { time, operation, durationUs };
            const records = items.map(({ request, call, entry: draft }, place) =>
              recordOf({ request, call, draft }, about, ended[place] ?? { error: undefined }),
            );
            const written = writer.writeEach(records);
            arrived();
            const failures = await written;
            return ended.map((one, place) => {
              const error = failures[place];
              if (error === undefined) {
                for (const other of records[place]?.stored ?? []) other.stored();
                return one;
              }
              if ('answer' in one) discard?.(one.answer);
              return { error };
            });
          } finally {
            arrived();
          }
        },
      ),
    async refused({ request, call, peer, rejection }) {
      for (const vault of vaultsNamedIn(request)) {
        const entry = outsideEntry(vault, 'Authentication', call, peer, rejection);
        // The port changes with each connection.
        if (!limits.mayRecord(peer.replace(/:\d+$/, ''))) counted.add({ vault, entry });
        else if (await parts.vaultExists(vault)) await writer.write([{ vault, entry }]);
      }
    },
  };
};

/** What a request leaves on record that concerns no vault, or is counted. */
const nothing = { entries: [], also: [], stored: [] };

type Outcome = Pick<AuditEntry, 'httpStatusCode' | 'result' | 'reason'>;
const success: Outcome = { httpStatusCode: 200, result: 'success', reason: '' };

const entryOf = (
  { resource, principal, change }: EntryDraft,
  { caller, cause, peer }: Asking,
  about: Required<Pick<AuditEntry, 'time' | 'operation' | 'key' | 'requestUri' | 'durationUs' | 'vaultMadeAt'>>,
  { httpStatusCode, result, reason }: Outcome,
): AuditEntry => ({
  time: about.time,
  operation: about.operation,
  key: about.key,
  requestUri: about.requestUri,
  caller: caller.name,
  ...(principal === undefined ? {} : { onBehalfOf: principal }),
  ...(change === undefined ? {} : { change }),
  ...(about.vaultMadeAt === 0 ? {} : { vaultMadeAt: about.vaultMadeAt }),
  tenant: 'tenant' in caller ? `tenants/${caller.tenant}` : '',
  httpStatusCode,
  result,
  reason,
  resource,
  correlationId: cause.correlationId,
  traceId: traceIdOf(cause.traceparent) ?? '',
  durationUs: about.durationUs,
  callerAddress: peer,
});

const isThrottled = (error: unknown): boolean => error instanceof Rejection && error.reason === 'THROTTLED';

/** The vault a request is about, of a batch those of its items: the first text that is the name of one, or of something in one. */
const vaultsNamedIn = (request: unknown): readonly string[] => {
  const items: unknown = typeof request === 'object' && request !== null ? Reflect.get(request, 'items') : undefined;
  if (!Array.isArray(items)) return [vaultNamedIn(request) ?? []].flat();
  const wishes = items.slice(0, batchMax).flatMap((item: object) => Object.values(item));
  return [...new Set(wishes.flatMap((wish) => vaultNamedIn(wish) ?? []))];
};

const vaultNamedIn = (request: unknown): string | undefined => {
  if (typeof request !== 'object' || request === null) return undefined;
  for (const value of Object.values(request)) {
    const [, vault] = typeof value === 'string' ? (/^vaults\/([A-Za-z0-9-]{3,24})(\/|$)/.exec(value) ?? []) : [];
    if (vault !== undefined) return vault.toLowerCase();
  }
  return undefined;
};

/** Answers in terms of HTTP, as the record of the public cloud has them (KV-80…KV-96). */
const statusOf: Readonly<Record<RejectionCode, number>> = {
  INVALID_ARGUMENT: 400,
  OUT_OF_RANGE: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  FAILED_PRECONDITION: 409,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503,
  UNIMPLEMENTED: 501,
  DATA_LOSS: 500,
};

/** Preconditions that the public cloud calls forbidden rather than a conflict (KV-87…KV-89, KV-94). */
const forbidden: ReadonlySet<string> = new Set([
  'KEY_DISABLED',
  'KEY_NOT_YET_VALID',
  'KEY_EXPIRED',
  'KEY_OPERATION_NOT_ALLOWED',
  'PURGE_PROTECTED',
]);

const outcomeOf = (error: unknown): Outcome => {
  if (error instanceof Rejection) {
    const isFault = error.code === 'UNAVAILABLE' || error.code === 'DATA_LOSS';
    const httpStatusCode = forbidden.has(error.reason) ? 403 : statusOf[error.code];
    return { httpStatusCode, result: isFault ? 'failed' : 'refused', reason: error.reason };
  }
  if (error instanceof RpcFailure) {
    return { httpStatusCode: 503, result: 'failed', reason: 'DEPENDENCY_UNAVAILABLE' };
  }
  return { httpStatusCode: 500, result: 'failed', reason: 'INTERNAL' };
};
