import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS } from '@interlock/rpc';

/** When to call again after `THROTTLED`: about the time in which a small machine works off a full queue. */
const retryAfterMs = 1_000;

/** How many jobs may wait in a queue. */
export interface QueueLimits {
  /** What waits, for the text of the refusal. */
  readonly what: string;
  readonly tenantMax: number;
  readonly totalMax: number;
}

/** A list of jobs, or several of them that take turns. */
interface Jobs<Job> {
  readonly length: number;
  shift(): Job | undefined;
}

/** Waiting jobs. Tenants take turns, and the keys of a tenant take turns within the turns of the tenant. */
export class TenantQueue<Job> {
  readonly #tenants = new Map<string, KeyQueues<Job>>();
  readonly #limits: QueueLimits;
  #length = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#length;
  }

  /** @param key jobs with the same key keep their order @throws Rejection RESOURCE_EXHAUSTED THROTTLED */
  push(tenant: string, key: string, job: Job): void {
    const { what, tenantMax, totalMax } = this.#limits;
    const queues = this.#tenants.get(tenant) ?? new KeyQueues<Job>();
    if (queues.length >= tenantMax) throw throttled(what, tenant, tenantMax);
    if (this.#length >= totalMax) throw throttled(what, 'this replica', totalMax);
    this.#tenants.set(tenant, queues);
    queues.push(key, job);
    this.#length += 1;
  }

  /** Takes the next job. */
  shift(): Job | undefined {
    if (this.#length === 0) return undefined;
    this.#length -= 1;
    return takeTurn(this.#tenants);
  }

  /** Removes the jobs with a key. */
  remove(key: string): readonly Job[] {
    const removed: Job[] = [];
    for (const [tenant, queues] of this.#tenants) {
      removed.push(...queues.remove(key));
      if (queues.length === 0) this.#tenants.delete(tenant);
    }
    this.#length -= removed.length;
    return removed;
  }
}

/** The jobs of one tenant. */
class KeyQueues<Job> implements Jobs<Job> {
  readonly #keys = new Map<string, Job[]>();
  length = 0;

  push(key: string, job: Job): void {
    const jobs = this.#keys.get(key);
    if (jobs) jobs.push(job);
    else this.#keys.set(key, [job]);
    this.length += 1;
  }

  shift(): Job | undefined {
    this.length -= 1;
    return takeTurn(this.#keys);
  }

  remove(key: string): readonly Job[] {
    const removed = this.#keys.get(key) ?? [];
    this.#keys.delete(key);
    this.length -= removed.length;
    return removed;
  }
}

/** Takes a job of the first list and moves that list behind the others: a map iterates in the order of insertion. */
const takeTurn = <Job, List extends Jobs<Job>>(lists: Map<string, List>): Job | undefined => {
  for (const [name, list] of lists) {
    const job = list.shift();
    lists.delete(name);
    if (list.length > 0) lists.set(name, list);
    return job;
  }
  return undefined;
};

const throttled = (what: string, owner: string, limit: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'THROTTLED',
    `${limit} ${what} of ${owner} are waiting, which is the maximum; call again after ${retryAfterMs} ms`,
    { limited: owner, limit: String(limit), [RETRY_AFTER_MS]: String(retryAfterMs) },
  );
