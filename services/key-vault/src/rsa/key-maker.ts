import { Rejection } from '@interlock/event-store';
import type { Sealing } from '../sealing/sealing.ts';
import { errorOf, type MakeKey } from './messages.ts';
import { TenantQueue } from './queue.ts';
import { type NewKeyOrder, type NewRsaKey, rsaClosed } from './rsa.ts';
import type { RsaThread } from './thread.ts';

/** A core makes 64 keys of 4096 bits in about a minute; 1,024 keys need little memory, and most callers wait 30 s at most. */
const limits = { what: 'new keys', tenantMax: 64, totalMax: 1_024 };

interface Task {
  readonly request: MakeKey;
  readonly order: NewKeyOrder;
  readonly resolve: (made: NewRsaKey) => void;
  readonly reject: (cause: unknown) => void;
}

/** Makes keys one after the other on a thread of its own. Tenants take turns, so one with many orders does not block another. */
export class KeyMaker {
  readonly #thread: RsaThread;
  readonly #sealing: Pick<Sealing, 'obtain'>;
  readonly #waiting = new TenantQueue<Task>(limits);
  #making: Promise<void> | undefined;
  #isClosed = false;

  /** @param thread is stopped with the maker */
  constructor(thread: RsaThread, sealing: Pick<Sealing, 'obtain'>) {
    this.#thread = thread;
    this.#sealing = sealing;
  }

  /**
   * Waits for the turn of the tenant, then makes the key.
   * @throws Rejection RESOURCE_EXHAUSTED THROTTLED; ABORTED CALLER_GONE if the caller gave up before its turn; UNAVAILABLE
   *   RSA_CLOSED, RSA_WORKER_LOST; and what `Sealing` rejects with
   */
  async make(request: MakeKey, order: NewKeyOrder): Promise<NewRsaKey> {
    if (this.#isClosed) throw rsaClosed();
    return new Promise<NewRsaKey>((resolve, reject) => {
      this.#waiting.push(order.tenant, request.version, { request, order, resolve, reject });
      this.#making ??= this.#makeAll();
    });
  }

  /** Finishes the key in progress, refuses those that wait, and stops the thread. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#making;
    await this.#thread.stop();
  }

  async #makeAll(): Promise<void> {
    for (let task = this.#waiting.shift(); task; task = this.#waiting.shift()) {
      const { request, order, resolve, reject } = task;
      if (this.#isClosed) reject(rsaClosed());
      else if (order.signal?.aborted === true) reject(callerGone(order));
      else await this.#makeOne(request).then(resolve, reject);
    }
    this.#making = undefined;
  }

  async #makeOne(request: MakeKey): Promise<NewRsaKey> {
    const sealKey = await this.#sealing.obtain(request.version);
    const outcome = await this.#thread.send({ ...request, sealKey }, [sealKey.buffer]);
    if (outcome.ok) return outcome.value;
    throw errorOf(outcome);
  }
}

const callerGone = ({ tenant }: NewKeyOrder): Rejection =>
  new Rejection('ABORTED', 'CALLER_GONE', 'the caller gave up before its key was started, so no key was made', {
    tenant,
  });
