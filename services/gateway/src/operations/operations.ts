import type { Json, JsonObject } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { textForClients } from '../cloud/resource-names.ts';
import { errorContent, RestError } from '../errors/rest-error.ts';
import { restErrorOf } from '../errors/translate.ts';
import type { RouteReply, RouteRequest } from '../http/route.ts';
import type { Records } from '../records/records.ts';
import { isRenewed, whileRenewing } from '../records/renewal.ts';
import {
  type Finding,
  type Operation,
  type OperationEnd,
  operationContent,
  operationOf,
  type Work,
} from './operation.ts';
import type { ReadOutcome } from './outcome.ts';

/** How long finished operations can be read, in milliseconds: a day (REST-26). */
const keptMs = 24 * 60 * 60 * 1_000;
/** Most old operations that are removed when a new one is stored. */
const removedMax = 20;

/** What operations need. */
export interface OperationParts {
  readonly records: Records;
  readonly names: CloudNames;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** How long a request waits for its work, in milliseconds, before the client has to poll. */
  readonly holdMs: number;
  /** Reads from the services the outcome of an operation whose process has ended. */
  readonly outcomeOf: ReadOutcome;
}

/** Work that outlasts its request: what a client polls, on any replica and after a restart. */
export interface Operations {
  /** Runs the work; replies as it ends, or after a moment with the URL to poll (REST-20). */
  run(
    work: Work,
    request: Pick<RouteRequest<string, unknown>, 'query' | 'origin'>,
    caller: Caller,
  ): Promise<RouteReply>;
  /** @param subscription of the client @throws RestError 404 */
  find(
    subscription: string,
    id: string,
    caller: Caller,
  ): Promise<{ readonly operation: Operation; readonly finding: Finding }>;
}

/** Opens the operations. */
export const openOperations = (parts: OperationParts): Operations => new RecordedOperations(parts);

type Settled = { readonly reply: RouteReply } | { readonly error: unknown };

class RecordedOperations implements Operations {
  readonly #parts: OperationParts;
  /** Ids of the work that this process does. */
  readonly #running = new Set<string>();

  constructor(parts: OperationParts) {
    this.#parts = parts;
  }

  async run(work: Work, request: Parameters<Operations['run']>[1], caller: Caller): Promise<RouteReply> {
    const { clock, random, holdMs } = this.#parts;
    const startedAt = clock.now();
    const settled = work.run().then(
      (reply): Settled => ({ reply }),
      (error: unknown): Settled => ({ error }),
    );
    const waiting = new AbortController();
    const first = await Promise.race([settled, clock.sleep(holdMs, waiting.signal).then(() => undefined)]);
    waiting.abort();
    if (first !== undefined) {
      if ('error' in first) throw first.error;
      return first.reply;
    }
    const id = random.uuid();
    const { action, target, disks = [] } = work;
    const operation = { id, action, target, principal: caller.principal, startedAt, disks, end: undefined };
    this.#running.add(id);
    await this.#store(operation, caller);
    const key = this.#keyOf(operation);
    void whileRenewing(this.#parts, { armId: key, caller }, () => settled).then((end) =>
      this.#finish(operation, end, caller),
    );
    await this.#removeOld(target, caller);
    return { ...work.accepted, headers: { ...work.accepted.headers, ...this.#headers(work, id, request) } };
  }

  async find(subscription: string, id: string, caller: Caller) {
    const { records, names, clock, outcomeOf } = this.#parts;
    const key = recordKey(names.subscriptions.inner(subscription), id);
    const record = await records.find(key);
    const operation = record && operationOf(id.toLowerCase(), record.content as JsonObject);
    if (record === undefined || operation === undefined || operation.principal !== caller.principal) throw notFound(id);
    if (operation.end !== undefined) return { operation, finding: operation.end };
    // Another replica may do the work: what the services show in the middle of it says nothing about its end.
    if (this.#running.has(operation.id) || isRenewed(record, clock))
      return { operation, finding: { status: 'InProgress' } as const };
    const finding = await outcomeOf(operation, caller);
    if (finding.status !== 'InProgress') await this.#store({ ...operation, end: finding }, caller);
    return { operation, finding };
  }

  /** Stores the end; a failure to store it is logged: the next poll then reads the outcome from the services. */
  async #finish(operation: Operation, settled: Settled, caller: Caller): Promise<void> {
    const { log } = this.#parts;
    try {
      const end = this.#endOf(settled);
      if (end !== undefined) await this.#store({ ...operation, end }, caller);
    } catch (error) {
      log.warn('the end of an operation is not stored', { error, operation: operation.id });
    } finally {
      this.#running.delete(operation.id);
    }
  }

  /** @returns undefined where the services know the outcome and this process does not */
  #endOf(settled: Settled): OperationEnd | undefined {
    const { clock, names, log } = this.#parts;
    const at = clock.now();
    if ('reply' in settled) return { status: 'Succeeded', at, output: (settled.reply.body ?? null) as Json };
    const error = restErrorOf(settled.error, 'management');
    if (error === undefined) log.error('an operation failed', { error: settled.error });
    // The caller's token ended, or a service cannot be reached: the work may still be under way there.
    if (error === undefined || error.status === 401 || error.status >= 500) return undefined;
    const content = errorContent(error, (text) => textForClients(names, text)) as JsonObject;
    return { status: 'Failed', at, httpStatus: error.status, error: content };
  }

  async #store(operation: Operation, caller: Caller): Promise<void> {
    await this.#parts.records.put(this.#keyOf(operation), operationContent(operation), caller);
  }

  #keyOf({ target, id }: Operation): string {
    const [, subscription = ''] = target.split('/');
    return recordKey(subscription, id);
  }

  async #removeOld(target: string, caller: Caller): Promise<void> {
    const { records, clock } = this.#parts;
    const [, subscription = ''] = target.split('/');
    const stored = await records.listBeside(recordKey(subscription, '-'));
    const old = stored.filter(({ updatedAt }) => updatedAt < clock.now() - keptMs).slice(0, removedMax);
    await Promise.all(old.map(({ armId }) => records.delete(armId, caller)));
  }

  #headers({ target, location, family }: Work, id: string, { query }: Parameters<Operations['run']>[1]) {
    const { names } = this.#parts;
    const [, subscription = ''] = target.split('/');
    const version = encodeURIComponent(query['api-version'] ?? '');
    const base = `${names.gateway}/subscriptions/${names.subscriptions.shown(subscription)}/providers/Microsoft.Compute`;
    const url = `${base}/locations/${encodeURIComponent(location)}/${family}/${id}?api-version=${version}`;
    return { 'azure-asyncoperation': url, location: `${url}&monitor=true`, 'retry-after': '1' };
  }
}

const recordKey = (subscription: string, id: string): string =>
  `/subscriptions/${subscription}/providers/Microsoft.Compute/operations/${id}`;

const notFound = (id: string): RestError =>
  new RestError(404, 'NotFound', `The operation '${id.slice(0, 100)}' could not be found.`);
