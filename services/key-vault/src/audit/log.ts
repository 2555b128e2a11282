import { type EventStore, Rejection } from '@interlock/event-store';
import { type Call, principalOf, type Refusal, type Settled } from '@interlock/rpc';
import { type Clock, type Logger, type Random, traceIdOf } from '@interlock/runtime';
import { StrangerRejection } from '../access/other-tenant.ts';
import type { RateLimit, RequestKind } from '../access/rate-limit.ts';
import type { KeyUrls } from '../names.ts';
import { CountedRefusals } from './counted.ts';
import { AuditDraft, type StoredAlongside } from './draft.ts';
import type { AuditEntry, AuditOperation } from './entry.ts';
import { outcomeOf, success } from './outcome.ts';
import { Renewals } from './renewals.ts';
import { batchMax, settleReady } from './settle-ready.ts';
import { type AuditRecord, AuditWriter, type VaultEntry } from './writer.ts';

/** What an entry needs of a call: caller, cause and network address. */
export type AuditedCall = Pick<Call, 'caller' | 'cause' | 'peer'>;

/** A request of a batch. */
export interface AuditedRequest<Request> {
  readonly request: Request;
  readonly call: AuditedCall;
}

/** A request of a batch that is handled, and the draft of its entry. */
export interface AuditedItem<Request> extends AuditedRequest<Request> {
  readonly entry: AuditDraft;
}

/** Handles the requests of a batch and returns the outcome of each, in their order. */
export type AuditedBatchHandler<Request, Answer> = (
  items: readonly AuditedItem<Request>[],
) => Promise<readonly Settled<Answer>[]>;

interface AuditLogParts {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly urls: KeyUrls;
  readonly limits: RateLimit;
  /** How long refusals above the limits are counted before the count is written. */
  readonly countWindowMs: number;
  readonly vaultExists: (vault: string) => Promise<boolean>;
}

/** Writes the audit entries of all requests. Entries written at the same time share a transaction (group commit). */
export class AuditLog {
  readonly #clock: Clock;
  readonly #urls: KeyUrls;
  readonly #limits: RateLimit;
  readonly #vaultExists: (vault: string) => Promise<boolean>;
  readonly #writer: AuditWriter;
  readonly #counted: CountedRefusals;
  readonly #renewals: Renewals;

  constructor(parts: AuditLogParts) {
    this.#clock = parts.clock;
    this.#urls = parts.urls;
    this.#limits = parts.limits;
    this.#vaultExists = parts.vaultExists;
    this.#writer = new AuditWriter(parts);
    this.#renewals = new Renewals({ ...parts, newRowKey: (vault, at) => this.#writer.newRowKey(vault, at) });
    const write = (refusals: readonly VaultEntry[]) => this.#writeExisting(refusals);
    this.#counted = new CountedRefusals({ ...parts, windowMs: parts.countWindowMs, write });
  }

  /**
   * Makes a handler whose every outcome, refusals included, is written before its response leaves (KV-114). If the entry cannot
   * be written, the call fails.
   * @param discard overwrites a response that must not leave
   */
  audited<Request, Answer, By extends AuditedCall = Call>(
    operation: AuditOperation,
    handle: (request: Request, call: By, entry: AuditDraft) => Promise<Answer>,
    discard?: (answer: Answer) => void,
  ): (request: Request, call: By) => Promise<Answer> {
    return async (request, call) => {
      const handleOne: AuditedBatchHandler<Request, Answer> = async ([item]) =>
        item ? [await handle(request, call, item.entry).then((answer) => ({ answer }))] : [];
      const [ended] = await this.#auditAll(operation, [{ request, call }], handleOne, discard);
      if (ended && 'answer' in ended) return ended.answer;
      throw ended?.error;
    };
  }

  /** The same for a batch. Each request has an entry of its own; all are written together when the last request has ended. */
  auditedTogether<Request, Answer>(
    operation: AuditOperation,
    handle: AuditedBatchHandler<Request, Answer>,
    discard?: (answer: Answer) => void,
  ): (requests: readonly AuditedRequest<Request>[]) => Promise<readonly Settled<Answer>[]> {
    return (requests) => this.#auditAll(operation, requests, handle, discard);
  }

  /**
   * Records a call that was refused before its handler ran, without a token or with one that is not accepted (KV-80, KV-81,
   * KV-114). A request that names no existing vault is not recorded.
   */
  async refused({ request, call, peer, rejection }: Refusal): Promise<void> {
    for (const vault of vaultsNamedIn(request)) {
      const entry = this.#entryOutside(vault, 'Authentication', { ...call, peer }, rejection);
      // The port changes with each connection.
      if (this.#limits.mayRecord(peer.replace(/:\d+$/, ''))) await this.#writeExisting([{ vault, entry }]);
      else this.#counted.add({ vault, entry });
    }
  }

  /** Writes the counts of refusals above the rate limit until the signal is aborted. */
  writeCounts(signal: AbortSignal): Promise<void> {
    return this.#counted.run(signal);
  }

  #auditAll<Request, Answer>(
    operation: AuditOperation,
    requests: readonly AuditedRequest<Request>[],
    handle: AuditedBatchHandler<Request, Answer>,
    discard: ((answer: Answer) => void) | undefined,
  ): Promise<readonly Settled<Answer>[]> {
    const admit = ({ request, call }: AuditedRequest<Request>) => {
      this.#admit(operation, request, call);
      return { request, call, entry: new AuditDraft(this.#urls) };
    };
    return settleReady(requests, admit, async (items) => {
      const time = this.#clock.now();
      const startedMs = this.#clock.monotonicMs();
      const arrived = this.#writer.expect();
      try {
        const ended = await handle(items).catch((error: unknown) => items.map(() => ({ error })));
        if (ended.length !== items.length) throw new Error(`${ended.length} outcomes of ${items.length} requests`);
        const durationUs = Math.round((this.#clock.monotonicMs() - startedMs) * 1_000);
        const records = ended.map((outcome, index) =>
          this.#recordOf(items[index], { time, operation, durationUs }, outcome),
        );
        const written = this.#writer.writeEach(records);
        arrived();
        const failures = await written;
        return ended.map((outcome, index) => answerOf(outcome, records[index], failures[index], discard));
      } finally {
        arrived();
      }
    });
  }

  /** @throws Rejection THROTTLED, which is counted */
  #admit(operation: AuditOperation, request: unknown, call: AuditedCall): void {
    try {
      this.#limits.admit(principalOf(call), kindOf(operation));
    } catch (error) {
      this.#count(operation, request, call, error);
      throw error;
    }
  }

  /** The entries of a request. A refusal above a limit has none: it is counted. */
  #recordOf(
    item: AuditedItem<unknown> | undefined,
    about: Pick<AuditEntry, 'time' | 'operation' | 'durationUs'>,
    ended: Settled<unknown>,
  ): StoredRecord {
    if (!item) return nothing;
    const { request, call, entry: draft } = item;
    const error = 'error' in ended ? ended.error : undefined;
    if (error instanceof Rejection && error.reason === 'THROTTLED') {
      this.#count(about.operation, request, call, error);
      return nothing;
    }
    const subjects =
      error instanceof StrangerRejection
        ? draft.subjects.filter(({ vault }) => this.#mayRecordStranger(vault, about.operation, call, error))
        : draft.subjects;
    if (subjects.length === 0) return nothing;
    const outcome = 'error' in ended ? outcomeOf(error) : success;
    const stored = outcome.result === 'success' ? draft.others : [];
    const entries = subjects.map(({ vault, madeAt, key, uri }) => ({
      vault,
      madeAt,
      entry: { ...about, key, requestUri: uri, ...draft.fields(madeAt), ...callerFields(call), ...outcome },
    }));
    const also = stored.map(({ change }) => change);
    if (outcome.result !== 'success') for (const one of entries) this.#renewals.end(one);
    const { renewedAt } = draft;
    if (renewedAt === undefined || outcome.result !== 'success') return { entries, also, stored };
    const renewed = entries.map((one) => this.#renewals.granted(one, renewedAt));
    return {
      entries: [],
      also: [...also, ...renewed],
      stored,
      onFailed: () => {
        for (const one of entries) this.#renewals.end(one);
      },
    };
  }

  /** Whether a refusal of a caller of another tenant gets an entry; above the limit of its vault it is counted. */
  #mayRecordStranger(vault: string, operation: AuditOperation, call: AuditedCall, rejection: unknown): boolean {
    if (this.#limits.mayRecordStranger(vault)) return true;
    this.#counted.add({ vault, entry: this.#entryOutside(vault, operation, call, rejection) });
    return false;
  }

  #count(operation: AuditOperation, request: unknown, call: AuditedCall, rejection: unknown): void {
    const [vault] = vaultsNamedIn(request);
    if (vault === undefined) return;
    this.#counted.add({ vault, entry: this.#entryOutside(vault, operation, call, rejection) });
  }

  /** The entry of a refusal before any key was read. */
  #entryOutside(vault: string, operation: AuditOperation, call: AuditedCall, rejection: unknown): AuditEntry {
    const about = { time: this.#clock.now(), operation, key: '', requestUri: this.#urls.vault(vault), durationUs: 0 };
    return { ...about, resource: '', ...callerFields(call), ...outcomeOf(rejection) };
  }

  /** Writes the entries whose vault exists. */
  async #writeExisting(entries: readonly VaultEntry[]): Promise<void> {
    const exists = new Map<string, boolean>();
    for (const vault of new Set(entries.map(({ vault }) => vault))) exists.set(vault, await this.#vaultExists(vault));
    const written = entries.filter(({ vault }) => exists.get(vault));
    if (written.length > 0) await this.#writer.write(written);
  }
}

interface StoredRecord extends AuditRecord {
  readonly stored: readonly StoredAlongside[];
  /** Called if the record is not stored. */
  readonly onFailed?: () => void;
}

const nothing: StoredRecord = { entries: [], also: [], stored: [] };

/** The outcome of a request after its record was written, or could not be. */
const answerOf = <Answer>(
  ended: Settled<Answer>,
  record: StoredRecord | undefined,
  failure: unknown,
  discard: ((answer: Answer) => void) | undefined,
): Settled<Answer> => {
  if (failure === undefined) {
    for (const other of record?.stored ?? []) other.stored();
    return ended;
  }
  record?.onFailed?.();
  if ('answer' in ended) discard?.(ended.answer);
  return { error: failure };
};

const callerFields = ({ caller, cause, peer }: AuditedCall) => ({
  caller: caller.name,
  tenant: 'tenant' in caller ? `tenants/${caller.tenant}` : '',
  correlationId: cause.correlationId,
  traceId: traceIdOf(cause.traceparent) ?? '',
  callerAddress: peer,
});

/** Operations that need RSA. */
const uses: ReadonlySet<AuditOperation> = new Set([
  'KeyCreate',
  'KeyImport',
  'KeyRotate',
  'KeyRotateIfDue',
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

/** The vaults that a request names, or the items of a batch. */
const vaultsNamedIn = (request: unknown): readonly string[] => {
  const items: unknown = typeof request === 'object' && request !== null ? Reflect.get(request, 'items') : undefined;
  if (!Array.isArray(items)) return [vaultNamedIn(request) ?? []].flat();
  const requests = items.slice(0, batchMax).flatMap((item: object) => Object.values(item));
  return [...new Set(requests.flatMap((one) => vaultNamedIn(one) ?? []))];
};

/** The vault in the first field that is the name of a vault, or of something in one. */
const vaultNamedIn = (request: unknown): string | undefined => {
  if (typeof request !== 'object' || request === null) return undefined;
  for (const value of Object.values(request)) {
    const [, vault] = typeof value === 'string' ? (/^vaults\/([A-Za-z0-9-]{3,24})(\/|$)/.exec(value) ?? []) : [];
    if (vault !== undefined) return vault.toLowerCase();
  }
  return undefined;
};
