import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS } from '@interlock/rpc';
import type { Sealing } from '../sealing/sealing.ts';
import { isSameWork, type RsaJob, type RsaWork } from './job.ts';
import { packValues, unpackValues } from './packed-values.ts';
import { tenantQueue } from './queue.ts';
import { keyEvicted, modulusLength, type RsaKey } from './rsa.ts';
import type { RsaThread } from './thread.ts';
import type { Failure, LoadKey } from './worker.ts';

/**
 * Work of one message, in microseconds of a core: beside it the hand-over costs little, and what comes back at once keeps the
 * event loop for less than it lasts. So a message holds eighteen unwraps with 2048 bits and four with 4096.
 */
const messageUs = 4_000;
/** What a job with a private key of so many bytes costs, in microseconds of a core: at least what OpenSSL 3.5 needs. */
const privateUs = (modulusBytes: number): number => (modulusBytes <= 256 ? 230 : modulusBytes <= 384 ? 600 : 1_300);
/** The same of a public key, whatever its size. */
const publicUs = 60;
/** Each queue holds the jobs of so many tenants that have as many as one may have. A waiting job is about 1 KiB. */
const fullTenantsMax = 4;
/** Messages under way to one thread: with two it never waits for the event loop. */
const batchesPerWorker = 2;
interface Task {
  readonly job: RsaJob;
  /** The key whose private half the job needs. */
  readonly key: RsaKey | undefined;
  readonly resolve: (value: Uint8Array) => void;
  readonly reject: (cause: unknown) => void;
}

/**
 * Brings jobs to threads: two queues (urgent first) in which tenants take turns, and the keys of a tenant within its turns;
 * batches; private keys sent along where a thread does not have them.
 */
export interface RsaDispatch {
  /**
   * @param owner the tenant whose turn the job takes
   * @param key the key whose private half the job needs.
   * @throws Rejection RESOURCE_EXHAUSTED THROTTLED when the queue is full; rejects with what became of the job.
   */
  submit(job: RsaJob, owner: Pick<RsaKey, 'tenant'>, key?: RsaKey, isUrgent?: boolean): Promise<Uint8Array>;
  /** See `RsaEngine.evict`. */
  evict(version: string): Promise<void>;
}

/** @param nextId gives each message to a thread its number. */
export function createRsaDispatch(parts: {
  readonly threads: readonly RsaThread[];
  readonly sealing: Sealing;
  readonly queueLimit: number;
  readonly keysPerWorker: number;
  readonly nextId: () => number;
}): RsaDispatch {
  const { threads, sealing, queueLimit, keysPerWorker, nextId } = parts;
  const underWay = new Map<RsaThread, number>(threads.map((thread) => [thread, 0]));
  const urgent = tenantQueue<Task>();
  const normal = tenantQueue<Task>();
  const loads = new Set<{ readonly version: string; isEvicted: boolean }>();
  let pumpPlanned = false;

  const submit: RsaDispatch['submit'] = (job, { tenant }, key, isUrgent = false) => {
    const queue = isUrgent ? urgent : normal;
    if (queue.lengthOf(tenant) >= queueLimit) throw throttled(tenant, queueLimit);
    if (queue.length >= queueLimit * fullTenantsMax) throw throttled('this replica', queueLimit * fullTenantsMax);
    const done = new Promise<Uint8Array>((resolve, reject) =>
      queue.push(tenant, lineOf(job, key), { job, key, resolve, reject }),
    );
    if (!pumpPlanned) {
      pumpPlanned = true;
      // Jobs asked for in the same turn of the event loop share a message: waking a thread costs as much as a tenth of a job.
      setImmediate(pump);
    }
    return done;
  };

  /** The jobs of the next message, urgent ones first: so many at most, and no more than are done in time. */
  const takeMessage = (countMax: number): readonly Task[] => {
    const tasks: Task[] = [];
    for (let us = 0; tasks.length < countMax && us < messageUs; ) {
      const task = urgent.takeOne() ?? normal.takeOne();
      if (!task) break;
      tasks.push(task);
      us += task.key ? privateUs(modulusLength(task.key.publicJwk)) : publicUs;
    }
    return tasks;
  };

  const pump = () => {
    pumpPlanned = false;
    for (let turn = 0; turn < batchesPerWorker; turn += 1) {
      for (const thread of threads) {
        const waiting = urgent.length + normal.length;
        if (waiting === 0) return;
        if ((underWay.get(thread) ?? 0) > turn) continue;
        const tasks = takeMessage(Math.ceil(waiting / threads.length));
        underWay.set(thread, (underWay.get(thread) ?? 0) + 1);
        void run(thread, tasks).finally(() => {
          underWay.set(thread, (underWay.get(thread) ?? 0) - 1);
          pump();
        });
      }
    }
  };

  /** Sends what the thread can do at once; the others follow as soon as their key is there. Never rejects. */
  const run = async (thread: RsaThread, tasks: readonly Task[]): Promise<void> => {
    const isReady = ({ key }: Task) => !key || thread.loaded.has(key.version);
    const missing = Map.groupBy(
      tasks.filter((task) => !isReady(task)),
      ({ key }) => key?.version,
    );
    const ready = tasks.filter(isReady);
    await Promise.all([
      ready.length > 0 ? send(thread, ready, []) : undefined,
      ...[...missing.values()].map(async (waiting) => {
        const key = waiting[0]?.key;
        if (!key) return;
        try {
          await sendWithKey(thread, key, waiting);
        } catch (cause) {
          for (const { reject } of waiting) reject(cause);
        }
      }),
    ]);
  };

  /** Opens the seal key and sends the sealed key with the jobs that wait for it, unless it was evicted meanwhile. */
  const sendWithKey = async (thread: RsaThread, key: RsaKey, tasks: readonly Task[]): Promise<void> => {
    const loading = { version: key.version, isEvicted: false };
    loads.add(loading);
    try {
      const sealed = await key.sealedPrivateKey();
      const sealKey = await sealing.open(key.version);
      if (!loading.isEvicted) return await send(thread, tasks, [{ version: key.version, sealed, sealKey }]);
      sealKey.fill(0);
      throw keyEvicted(key.version);
    } finally {
      loads.delete(loading);
    }
  };

  const send = async (thread: RsaThread, tasks: readonly Task[], keys: readonly LoadKey[]): Promise<void> => {
    for (const { version } of keys) makeRoom(thread, version);
    for (const { key } of tasks) if (key) touch(thread, key.version);
    const jobs = worksOf(tasks);
    const values = packValues(tasks.map(({ job }) => job.value));
    const buffers = [values.bytes.buffer, ...keys.map(({ sealKey }) => bufferOf(sealKey))];
    try {
      const answer = await thread.ask('jobs', { type: 'jobs', id: nextId(), keys, jobs, values }, buffers);
      const results = unpackValues(answer.values);
      for (const [number, { resolve, reject, key }] of tasks.entries()) {
        const [result, failed] = [results[number], answer.failures.get(number)];
        if (result && !failed) {
          resolve(result);
          continue;
        }
        const failure = failureOf(failed);
        // Perhaps the thread could not take the key; then the next job brings it again.
        if (key && !(failure instanceof Rejection && failure.reason === 'BAD_CIPHERTEXT')) {
          thread.loaded.delete(key.version);
        }
        reject(failure);
      }
    } catch (cause) {
      for (const { reject } of tasks) reject(cause);
    }
  };

  const makeRoom = (thread: RsaThread, version: string) => {
    for (const oldest of thread.loaded) {
      if (thread.loaded.size < keysPerWorker) break;
      thread.loaded.delete(oldest);
      void forget(thread, oldest);
    }
    thread.loaded.add(version);
  };
  const touch = (thread: RsaThread, version: string) => {
    thread.loaded.delete(version);
    thread.loaded.add(version);
  };

  /** A thread that dies holds nothing any more, so its loss is the wished-for end as well. */
  const forget = async (thread: RsaThread, version: string): Promise<void> => {
    thread.loaded.delete(version);
    try {
      await thread.ask('evicted', { type: 'evict', id: nextId(), version });
    } catch (cause) {
      if (!(cause instanceof Rejection && cause.reason === 'RSA_WORKER_LOST')) throw cause;
    }
  };

  return {
    submit,
    async evict(version) {
      for (const loading of loads) if (loading.version === version) loading.isEvicted = true;
      for (const queue of [urgent, normal]) for (const { reject } of queue.remove(version)) reject(keyEvicted(version));
      await Promise.all(threads.map((thread) => forget(thread, version)));
    },
  };
}

/** Jobs with one private key wait in its line, those with one public key in another, which no eviction concerns. */
const lineOf = ({ work }: RsaJob, key: RsaKey | undefined): string =>
  key?.version ?? `public ${'publicKey' in work ? work.publicKey.version : ''}`;

/** The work of each task. What is the same as before is the same object, which travels once: most of it is names and keys. */
const worksOf = (tasks: readonly Task[]): readonly RsaWork[] => {
  let last: RsaWork | undefined;
  return tasks.map(({ job: { work } }) => {
    last = last && isSameWork(last, work) ? last : work;
    return last;
  });
};

/** When to come back to a full queue: it holds about as much as the threads of a small machine do in that time. */
const queueRetryMs = 1_000;

/** More work is waiting than the vault is willing to hold. */
const throttled = (whose: string, limit: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'THROTTLED',
    `${limit} RSA jobs of ${whose} are waiting, which is the most allowed; call again later`,
    {
      limited: whose,
      limit: String(limit),
      [RETRY_AFTER_MS]: String(queueRetryMs),
    },
  );

/** The error a failure stands for. */
export function failureOf(failure: Failure | undefined): Error {
  if (failure && 'rejection' in failure) {
    const { code, reason, message, metadata } = failure.rejection;
    return new Rejection(code, reason, message, metadata);
  }
  return new Error(`an RSA job failed: ${failure?.defect ?? 'no answer'}`);
}

/** Seal keys come in arrays with a buffer of their own, so the buffer can be moved. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  if (bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength) return bytes.buffer;
  throw new Error('a seal key that shares its buffer');
}
