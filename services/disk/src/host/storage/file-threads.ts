import { Worker } from 'node:worker_threads';
import { storageRefusal } from './block-store.ts';
import type { FileAnswers, FileCall, FileCalls, FileOutcome, OpenedFile } from './file-worker.ts';
import { packed } from './packing.ts';

/**
 * Works on small files, and opens and closes large ones, outside of the pool of Node. That pool has four threads for the whole
 * process, first come, first served, and serves reads and writes of guests. Calls of one turn of the event loop are sent
 * together. Failures are those of the file system, with its `code`, or a Rejection if storage refuses the data
 * (`storageRefusal`).
 */
export interface FileThreads {
  /** Opens a file that exists; undefined for one that does not. */
  open(path: string): Promise<OpenedFile | undefined>;
  /** Opens a file. A missing one is created with `size` bytes, and its name is durable then. */
  create(path: string, size: number): Promise<OpenedFile>;
  close(fd: number): Promise<void>;
  /** The whole of a small file; undefined for one that does not exist. */
  load(path: string): Promise<Uint8Array | undefined>;
  write(path: string, offset: number, bytes: Uint8Array): Promise<void>;
  /** Writes, flushes and reads back. @returns whether it reads back as it was written */
  writeDurably(path: string, offset: number, bytes: Uint8Array): Promise<boolean>;
  /** Makes everything written before the call durable. */
  flush(path: string): Promise<void>;
  /** Ends the threads. Calls in progress fail. */
  stop(): Promise<void>;
}

/** Number of flushes in progress at once: storage does several of them in about the time of one. */
const threadsCount = 4;
/** Messages in progress at one thread: with two it never waits for the event loop. */
const messagesMax = 2;
/**
 * Most work of one message, in calls. A call that flushes counts as `flushWeight`: other messages wait behind it, for as long as
 * the storage needs.
 */
const messageWeight = 32;
const flushWeight = 2;

interface PendingCall {
  readonly call: FileCall;
  readonly resolve: (answer: FileAnswers[FileCall['call']]) => void;
  readonly reject: (cause: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  /** Messages without a response, in their order. */
  readonly underWay: (readonly PendingCall[])[];
}

/**
 * The threads start with the first call, and keep the process alive only during calls.
 * @param workerUrl the script of a thread; tests use one that dies on demand
 */
export const openFileThreads = (workerUrl = new URL('./file-worker.ts', import.meta.url)): FileThreads => {
  const threads = new Set<Thread>();
  const waiting: PendingCall[] = [];
  let isPlanned = false;
  let isStopped = false;

  const start = (): Thread => {
    // One thread opens a file and another closes it, so Node must not track them.
    const worker = new Worker(workerUrl, { trackUnmanagedFds: false });
    const thread: Thread = { worker, underWay: [] };
    const lost = (why: string): void => {
      threads.delete(thread);
      if (!isStopped) pump();
      const cause = new Error(`a thread that works on files ended (${why})`);
      for (const { reject } of thread.underWay.splice(0).flat()) reject(cause);
    };
    worker.unref();
    worker.on('message', (outcomes: readonly FileOutcome[]) => {
      const calls = thread.underWay.shift() ?? [];
      if (thread.underWay.length === 0) worker.unref();
      // Waiting calls are sent before the outcomes are handled.
      pump();
      for (const [n, { resolve, reject }] of calls.entries()) {
        const outcome = outcomes[n];
        if (outcome && 'answer' in outcome) resolve(outcome.answer);
        else reject(failureOf(outcome));
      }
    });
    worker.on('error', (cause) => lost(cause instanceof Error ? cause.message : String(cause)));
    worker.on('exit', (code) => lost(`exit code ${code}`));
    threads.add(thread);
    return thread;
  };

  /** The thread with the fewest messages; undefined if none takes another. */
  const takes = (): Thread | undefined => {
    let least: Thread | undefined;
    for (const thread of threads) if (!least || thread.underWay.length < least.underWay.length) least = thread;
    const isIdle = least?.underWay.length === 0;
    if (!isIdle && threads.size < threadsCount) return start();
    return least && least.underWay.length < messagesMax ? least : undefined;
  };

  /** @param share most calls of the message: the waiting calls are divided among the threads */
  const takeMessage = (share: number): readonly PendingCall[] => {
    let weight = 0;
    let count = 0;
    for (const { call } of waiting) {
      if (count === share || weight >= messageWeight) break;
      weight += flushes(call) ? flushWeight : 1;
      count += 1;
    }
    return waiting.splice(0, count);
  };

  const pump = (): void => {
    isPlanned = false;
    const share = Math.ceil(waiting.length / threadsCount);
    while (waiting.length > 0) {
      const thread = takes();
      if (!thread) return;
      const calls = takeMessage(share);
      thread.underWay.push(calls);
      thread.worker.ref();
      const message = packedCalls(calls);
      thread.worker.postMessage(message, [message.written]);
    }
  };

  const ask = <Call extends FileCall['call']>(call: FileCall & { readonly call: Call }): Promise<FileAnswers[Call]> =>
    new Promise((resolve, reject) => {
      if (isStopped) throw new Error('the threads that work on files have ended');
      // A thread answers a call with what belongs to that call.
      waiting.push({ call, resolve: (answer) => resolve(answer as FileAnswers[Call]), reject });
      if (isPlanned) return;
      isPlanned = true;
      setImmediate(pump);
    });

  return {
    open: (path) => ask({ call: 'open', path }),
    create: (path, size) => ask({ call: 'create', path, size }),
    close: (fd) => ask({ call: 'close', fd }),
    load: (path) => ask({ call: 'load', path }),
    async write(path, offset, bytes) {
      await ask({ call: 'write', path, offset, bytes, isDurable: false });
    },
    async writeDurably(path, offset, bytes) {
      return (await ask({ call: 'write', path, offset, bytes, isDurable: true })) === true;
    },
    flush: (path) => ask({ call: 'flush', path }),
    async stop() {
      isStopped = true;
      await Promise.all([...threads].map(({ worker }) => worker.terminate()));
    },
  };
};

const flushes = (call: FileCall): boolean =>
  call.call === 'flush' || call.call === 'create' || (call.call === 'write' && call.isDurable);

/** The calls with what they write in one buffer, which is moved to the thread. */
const packedCalls = (pending: readonly PendingCall[]): FileCalls => {
  const { views, buffer: written } = packed(pending.flatMap(({ call }) => (call.call === 'write' ? [call.bytes] : [])));
  let next = 0;
  const calls = pending.map(({ call }) =>
    call.call === 'write' ? { ...call, bytes: views[next++] ?? call.bytes } : call,
  );
  return { calls, written };
};

const failureOf = (outcome: FileOutcome | undefined): Error => {
  if (!outcome || !('failure' in outcome)) return new Error('a thread that works on files gave no answer');
  const { message, code } = outcome.failure;
  return storageRefusal(Object.assign(new Error(message), code === undefined ? {} : { code }));
};
