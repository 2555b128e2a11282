import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS } from '@interlock/rpc';
import type { Sealing } from '../sealing/sealing.ts';
import { failureOf } from './dispatch.ts';
import { tenantQueue } from './queue.ts';
import type { NewKeyOrder, NewRsaKey } from './rsa.ts';
import type { RsaThread } from './thread.ts';
import type { ToWorker } from './worker.ts';

/** New keys of one tenant that may wait: with 4096 bits a core needs about a minute for them. */
const tenantWaitingMax = 64;
/** New keys of all tenants that may wait: each holds little memory, and most of their callers give up after 30 s. */
const waitingMax = 1_024;
/** When to call again after `THROTTLED`: about the time in which one key with 4096 bits is made. */
const retryMs = 1_000;

/** The message that makes one key; the maker adds the seal key. */
type Make = (sealKey: Uint8Array) => Extract<ToWorker, { readonly type: 'generate' | 'import' }>;

/**
 * Makes keys one after the other, on a thread that does nothing else. Tenants take turns, so a tenant that orders many keys
 * delays another tenant by one key at most.
 */
export interface KeyMaker {
  /**
   * Waits for the turn of the tenant, then makes the key.
   * @throws Rejection RESOURCE_EXHAUSTED THROTTLED when too many keys wait; ABORTED CALLER_GONE when the caller gave up
   *   before the key was started; UNAVAILABLE RSA_CLOSED, RSA_WORKER_LOST; and what `Sealing` rejects with
   */
  make(version: string, order: NewKeyOrder, message: Make): Promise<NewRsaKey>;
  /** Refuses the keys that wait and resolves when the one that was started is done and the thread has ended. */
  close(): Promise<void>;
}

interface Task {
  readonly order: NewKeyOrder;
  readonly start: () => Promise<NewRsaKey>;
  readonly resolve: (made: NewRsaKey) => void;
  readonly reject: (cause: unknown) => void;
}

/** Opens the maker. @param thread is stopped with it */
export function createKeyMaker(parts: { readonly thread: RsaThread; readonly sealing: Sealing }): KeyMaker {
  const { thread, sealing } = parts;
  const waiting = tenantQueue<Task>();
  let making = Promise.resolve();
  let isMaking = false;
  let closed = false;

  const makeAll = async (): Promise<void> => {
    for (let task = waiting.takeOne(); task; task = waiting.takeOne()) {
      const { order, start, resolve, reject } = task;
      if (closed) reject(rsaClosed());
      else if (order.signal?.aborted === true) reject(callerGone(order));
      else await start().then(resolve, reject);
    }
    isMaking = false;
  };

  return {
    async make(version, order, message) {
      if (closed) throw rsaClosed();
      const { tenant } = order;
      if (waiting.lengthOf(tenant) >= tenantWaitingMax) throw tooManyWaiting(tenant, tenantWaitingMax);
      if (waiting.length >= waitingMax) throw tooManyWaiting('this replica', waitingMax);
      const start = async (): Promise<NewRsaKey> => {
        const sealKey = await sealing.obtain(version);
        const { outcome } = await thread.ask('key', message(sealKey), [sealKey.buffer]);
        if (outcome.ok) return outcome.value;
        throw failureOf(outcome);
      };
      const made = new Promise<NewRsaKey>((resolve, reject) =>
        waiting.push(tenant, version, { order, start, resolve, reject }),
      );
      if (!isMaking) {
        isMaking = true;
        making = makeAll();
      }
      return made;
    },
    async close() {
      closed = true;
      await making;
      await thread.stop();
    },
  };
}

/** The vault closes. @returns the refusal of every job that comes later or was not started */
export const rsaClosed = (): Rejection =>
  new Rejection('UNAVAILABLE', 'RSA_CLOSED', 'this vault is shutting down; call another replica');

const tooManyWaiting = (whose: string, limit: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'THROTTLED',
    `${limit} new keys of ${whose} are waiting, which is the most allowed; call again later`,
    { limited: whose, limit: String(limit), [RETRY_AFTER_MS]: String(retryMs) },
  );

const callerGone = ({ tenant }: NewKeyOrder): Rejection =>
  new Rejection('ABORTED', 'CALLER_GONE', 'the caller gave up before its key was started, so no key was made', {
    tenant,
  });
