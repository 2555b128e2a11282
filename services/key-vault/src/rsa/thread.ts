import { Worker } from 'node:worker_threads';
import { Rejection } from '@interlock/event-store';
import type { FromWorker, ToWorker } from './worker.ts';

/** One worker thread as the pool sees it. A thread that died, or a background one that was not started, is started by the next message. */
export interface RsaThread {
  /** Private keys the living thread holds, least recently used first. */
  readonly loaded: Set<string>;
  /**
   * Sends a message and waits for the answer of the same id. `transfer` moves buffers instead of copying them.
   * @throws Rejection UNAVAILABLE RSA_WORKER_LOST when the thread dies before it answers: ask again.
   */
  ask<T extends FromWorker['type']>(
    type: T,
    message: ToWorker,
    transfer?: readonly ArrayBuffer[],
  ): Promise<FromWorker & { type: T }>;
  stop(): Promise<void>;
}

interface Waiting {
  readonly accept: (answer: FromWorker) => void;
  readonly fail: (cause: Rejection) => void;
}

/** What a thread is told when it starts, as its `workerData`. */
export interface RsaThreadData {
  /** The system prefers other threads to this one. */
  readonly isBackground: boolean;
}

/** @param workerUrl the script of the thread; tests give one that dies on demand. */
export function createRsaThread(workerUrl: URL, workerData: RsaThreadData = { isBackground: false }): RsaThread {
  const loaded = new Set<string>();
  let living: { readonly worker: Worker; readonly waiting: Map<number, Waiting> } | undefined;

  const start = () => {
    const worker = new Worker(workerUrl, { workerData });
    const waiting = new Map<number, Waiting>();
    const started = { worker, waiting };
    const lost = (why: string) => {
      if (living === started) {
        living = undefined;
        loaded.clear();
      }
      const cause = new Rejection('UNAVAILABLE', 'RSA_WORKER_LOST', `the RSA worker ended (${why}); ask again`);
      for (const { fail } of waiting.values()) fail(cause);
      waiting.clear();
    };
    worker.on('message', (answer: FromWorker) => {
      const waiter = waiting.get(answer.id);
      waiting.delete(answer.id);
      waiter?.accept(answer);
    });
    worker.on('error', (cause) => lost(cause instanceof Error ? cause.message : String(cause)));
    worker.on('exit', (code) => lost(`exit code ${code}`));
    living = started;
    return started;
  };
  // Most replicas make few keys, so the thread for that starts with the first one.
  if (!workerData.isBackground) start();

  return {
    loaded,
    ask(type, message, transfer = []) {
      const { worker, waiting } = living ?? start();
      return new Promise((resolve, reject) => {
        const isExpected = (answer: FromWorker): answer is FromWorker & { type: typeof type } => answer.type === type;
        const accept = (answer: FromWorker) =>
          isExpected(answer) ? resolve(answer) : reject(new Error(`the RSA worker answered ${answer.type} to ${type}`));
        waiting.set(message.id, { accept, fail: reject });
        worker.postMessage(message, [...transfer]);
      });
    },
    async stop() {
      await living?.worker.terminate();
    },
  };
}
