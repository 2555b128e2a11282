import { Worker } from 'node:worker_threads';
import { Rejection } from '@interlock/event-store/rejection';
import type { RsaReplies, RsaRequest } from './messages.ts';

/** The `workerData` of a thread. */
export interface RsaThreadData {
  /** Whether the system prefers other threads to this one. */
  readonly isBackground: boolean;
}

interface Waiter {
  resolve(reply: unknown): void;
  reject(cause: Rejection): void;
}

interface Running {
  readonly worker: Worker;
  readonly waiters: Map<number, Waiter>;
}

/** What the pool needs of a `WorkerThread`. */
export type RsaThread = Pick<WorkerThread, 'loaded' | 'send' | 'stop'>;

/** One worker thread. If it died, the next message starts it again. A background thread starts with its first message. */
export class WorkerThread {
  /** Versions whose private key the running thread holds, least recently used first. */
  readonly loaded = new Set<string>();
  readonly #script: URL;
  readonly #data: RsaThreadData;
  #running: Running | undefined;
  #lastId = 0;

  /** @param script tests pass one that ends on demand */
  constructor(script: URL, data: RsaThreadData = { isBackground: false }) {
    this.#script = script;
    this.#data = data;
    if (!data.isBackground) this.#start();
  }

  /**
   * Sends a request and waits for the reply.
   * @param transfer buffers to move instead of copying them
   * @throws Rejection UNAVAILABLE RSA_WORKER_LOST when the thread ends before it replies
   */
  send<Request extends RsaRequest>(
    request: Request,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<RsaReplies[Request['type']]> {
    const { worker, waiters } = this.#running ?? this.#start();
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<RsaReplies[Request['type']]>((resolve, reject) => {
      const waiter: Waiter = { resolve, reject };
      waiters.set(id, waiter);
      worker.postMessage({ ...request, id }, [...transfer]);
    });
  }

  async stop(): Promise<void> {
    await this.#running?.worker.terminate();
  }

  #start(): Running {
    const worker = new Worker(this.#script, { workerData: this.#data });
    const waiters = new Map<number, Waiter>();
    const running = { worker, waiters };
    worker.on('message', ({ id, reply }) => {
      waiters.get(id)?.resolve(reply);
      waiters.delete(id);
    });
    worker.on('error', (cause) => this.#end(running, cause instanceof Error ? cause.message : String(cause)));
    worker.on('exit', (code) => this.#end(running, `exit code ${code}`));
    this.#running = running;
    return running;
  }

  #end(ended: Running, why: string): void {
    if (this.#running === ended) {
      this.#running = undefined;
      this.loaded.clear();
    }
    const cause = new Rejection('UNAVAILABLE', 'RSA_WORKER_LOST', `the RSA thread ended (${why}); repeat the call`);
    for (const { reject } of ended.waiters.values()) reject(cause);
    ended.waiters.clear();
  }
}
