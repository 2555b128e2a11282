import { Rejection } from '@interlock/event-store';
import type { Sealing } from '../sealing/sealing.ts';
import { isSameWork, type RsaJob, type RsaWork } from './job.ts';
import { errorOf, type JobResults, type LoadKey, packValues, unpackValues } from './messages.ts';
import { TenantQueue } from './queue.ts';
import { keyEvicted, modulusLength, type RsaKey, rsaClosed } from './rsa.ts';
import type { RsaThread } from './thread.ts';

/**
 * Work of one message, in microseconds of a core: eighteen unwraps with 2048 bits, four with 4096. Then the hand-over costs
 * little compared to the work, and the replies of one message do not block the event loop for long.
 */
const messageUs = 4_000;
/** Microseconds of a core for a job with a private key of so many bytes: at least what OpenSSL 3.5 needs. */
const privateUs = (modulusBytes: number): number => (modulusBytes <= 256 ? 230 : modulusBytes <= 384 ? 600 : 1_300);
/** Microseconds of a core for a job with a public key of any size. */
const publicUs = 60;
/** Each queue takes the jobs of so many tenants at their limit. A waiting job needs about 1 KiB. */
const fullTenantsMax = 4;
/** Messages in progress at one thread: with two, the thread never waits for the event loop. */
const messagesPerThread = 2;

interface Task {
  readonly job: RsaJob;
  /** Absent when the job needs no private key. */
  readonly privateKey: RsaKey | undefined;
  readonly resolve: (value: Uint8Array) => void;
  readonly reject: (cause: unknown) => void;
}

/** Who pays for a job, and what it needs. */
export interface JobOptions {
  readonly tenant: string;
  readonly privateKey?: RsaKey;
  /** Urgent jobs have a queue of their own, which is served first. */
  readonly isUrgent?: boolean | undefined;
}

/**
 * Sends jobs to threads in small messages. Tenants take turns, and the keys of a tenant within its turns. A thread gets the
 * private key with the first jobs that need it.
 */
export class RsaDispatch {
  readonly #threads: readonly RsaThread[];
  readonly #sealing: Pick<Sealing, 'open'>;
  readonly #keysPerThread: number;
  readonly #urgent: TenantQueue<Task>;
  readonly #normal: TenantQueue<Task>;
  readonly #messages = new Map<RsaThread, number>();
  readonly #loads = new Set<{ readonly version: string; isEvicted: boolean }>();
  #isPumpScheduled = false;
  #unfinished = 0;
  #isClosed = false;
  #onIdle: (() => void) | undefined;

  /** @param parts.queueLimit jobs of one tenant in each queue */
  constructor(parts: {
    readonly threads: readonly RsaThread[];
    readonly sealing: Pick<Sealing, 'open'>;
    readonly queueLimit: number;
    readonly keysPerThread: number;
  }) {
    const { threads, sealing, queueLimit, keysPerThread } = parts;
    this.#threads = threads;
    this.#sealing = sealing;
    this.#keysPerThread = keysPerThread;
    const limits = { what: 'RSA jobs', tenantMax: queueLimit, totalMax: queueLimit * fullTenantsMax };
    this.#urgent = new TenantQueue(limits);
    this.#normal = new TenantQueue(limits);
  }

  /** @throws Rejection RESOURCE_EXHAUSTED THROTTLED when the queue is full; UNAVAILABLE RSA_CLOSED; and the error of the job */
  async submit(job: RsaJob, { tenant, privateKey, isUrgent = false }: JobOptions): Promise<Uint8Array> {
    if (this.#isClosed) throw rsaClosed();
    const queue = isUrgent ? this.#urgent : this.#normal;
    this.#unfinished += 1;
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        queue.push(tenant, queueKey(job, privateKey), { job, privateKey, resolve, reject });
        this.#schedulePump();
      });
    } finally {
      this.#unfinished -= 1;
      if (this.#unfinished === 0) this.#onIdle?.();
    }
  }

  /** See `RsaEngine.evict`. */
  async evict(version: string): Promise<void> {
    for (const load of this.#loads) if (load.version === version) load.isEvicted = true;
    for (const queue of [this.#urgent, this.#normal]) {
      for (const { reject } of queue.remove(version)) reject(keyEvicted(version));
    }
    await Promise.all(this.#threads.map((thread) => forget(thread, version)));
  }

  /** Refuses new jobs, waits for the others, and stops the threads. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#unfinished > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await Promise.all(this.#threads.map((thread) => thread.stop()));
  }

  /** Jobs of one turn of the event loop share a message: waking a thread costs as much as a tenth of a job. */
  #schedulePump(): void {
    if (this.#isPumpScheduled) return;
    this.#isPumpScheduled = true;
    setImmediate(() => {
      this.#isPumpScheduled = false;
      this.#pump();
    });
  }

  /** Gives each thread one message, then each thread a second one, while jobs wait. */
  #pump(): void {
    for (let count = 0; count < messagesPerThread; count += 1) {
      for (const thread of this.#threads) {
        const waiting = this.#urgent.length + this.#normal.length;
        if (waiting === 0) return;
        const inProgress = this.#messages.get(thread) ?? 0;
        if (inProgress > count) continue;
        this.#messages.set(thread, inProgress + 1);
        void this.#run(thread, this.#takeMessage(Math.ceil(waiting / this.#threads.length))).finally(() => {
          this.#messages.set(thread, (this.#messages.get(thread) ?? 0) - 1);
          this.#pump();
        });
      }
    }
  }

  #takeMessage(countMax: number): readonly Task[] {
    const tasks: Task[] = [];
    for (let us = 0; tasks.length < countMax && us < messageUs; ) {
      const task = this.#urgent.shift() ?? this.#normal.shift();
      if (!task) break;
      tasks.push(task);
      us += task.privateKey ? privateUs(modulusLength(task.privateKey.publicJwk)) : publicUs;
    }
    return tasks;
  }

  /** Sends the jobs whose key the thread has; the others follow with their key. Never rejects. */
  async #run(thread: RsaThread, tasks: readonly Task[]): Promise<void> {
    const missing = Map.groupBy(tasks, ({ privateKey }) =>
      privateKey && !thread.loaded.has(privateKey.version) ? privateKey.version : undefined,
    );
    const ready = missing.get(undefined) ?? [];
    missing.delete(undefined);
    const withKeys = [...missing.values()].map(async (waiting) => {
      try {
        await this.#sendWithKey(thread, waiting);
      } catch (cause) {
        for (const { reject } of waiting) reject(cause);
      }
    });
    await Promise.all([ready.length > 0 ? this.#send(thread, ready) : undefined, ...withKeys]);
  }

  /** Sends the sealed key and its seal key with the jobs that need it, unless the key is evicted meanwhile. */
  async #sendWithKey(thread: RsaThread, tasks: readonly Task[]): Promise<void> {
    const key = tasks[0]?.privateKey;
    if (!key) return;
    const load = { version: key.version, isEvicted: false };
    this.#loads.add(load);
    try {
      const sealed = await key.sealedPrivateKey();
      const sealKey = await this.#sealing.open(key.version);
      if (!load.isEvicted) return await this.#send(thread, tasks, { version: key.version, sealed, sealKey });
      sealKey.fill(0);
      throw keyEvicted(key.version);
    } finally {
      this.#loads.delete(load);
    }
  }

  async #send(thread: RsaThread, tasks: readonly Task[], key?: LoadKey): Promise<void> {
    if (key) this.#makeRoom(thread);
    for (const { privateKey } of tasks) {
      if (!privateKey) continue;
      thread.loaded.delete(privateKey.version);
      thread.loaded.add(privateKey.version);
    }
    const values = packValues(tasks.map(({ job }) => job.value));
    const buffers = key ? [values.bytes.buffer, key.sealKey.buffer] : [values.bytes.buffer];
    try {
      settle(thread, tasks, await thread.send({ type: 'jobs', key, jobs: worksOf(tasks), values }, buffers));
    } catch (cause) {
      for (const { reject } of tasks) reject(cause);
    }
  }

  #makeRoom(thread: RsaThread): void {
    for (const oldest of thread.loaded) {
      if (thread.loaded.size < this.#keysPerThread) return;
      void forget(thread, oldest);
    }
  }
}

const settle = (thread: RsaThread, tasks: readonly Task[], { values, failures }: JobResults): void => {
  const results = unpackValues(values);
  for (const [index, { resolve, reject, privateKey }] of tasks.entries()) {
    const [result, failure] = [results[index], failures.get(index)];
    if (result && !failure) {
      resolve(result);
      continue;
    }
    const error = failure ? errorOf(failure) : new Error('the RSA thread returned fewer values than jobs');
    // Perhaps the thread could not open the key: then the next job sends it again.
    const isOfCiphertext = error instanceof Rejection && error.reason === 'BAD_CIPHERTEXT';
    if (privateKey && !isOfCiphertext) thread.loaded.delete(privateKey.version);
    reject(error);
  }
};

/** Makes a thread forget a private key. A thread that ended holds no key, so that is success too. */
const forget = async (thread: RsaThread, version: string): Promise<void> => {
  thread.loaded.delete(version);
  try {
    await thread.send({ type: 'evict', version });
  } catch (cause) {
    if (!(cause instanceof Rejection && cause.reason === 'RSA_WORKER_LOST')) throw cause;
  }
};

/** Jobs with a private key and jobs with the public key of the same version wait apart: an eviction concerns only the first. */
const queueKey = ({ work }: RsaJob, privateKey: RsaKey | undefined): string =>
  privateKey?.version ?? `public ${'publicKey' in work ? work.publicKey.version : ''}`;

/** The work of each task. Equal work is the same object, so that structured cloning copies its names and keys once. */
const worksOf = (tasks: readonly Task[]): readonly RsaWork[] => {
  let last: RsaWork | undefined;
  return tasks.map(({ job: { work } }) => {
    last = last && isSameWork(last, work) ? last : work;
    return last;
  });
};
