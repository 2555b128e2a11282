import type { Sealing } from '../sealing/sealing.ts';
import { createRsaDispatch } from './dispatch.ts';
import { createKeyMaker, rsaClosed } from './making.ts';
import {
  type CipherJob,
  checkCiphertext,
  checkDigest,
  checkPlaintext,
  checkSize,
  modulusLength,
  plaintextLimit,
  type RsaEngine,
  type RsaKey,
} from './rsa.ts';
import { createRsaThread } from './thread.ts';

/** How an RSA pool is built. */
export interface RsaPoolOptions {
  readonly sealing: Sealing;
  /** Threads: as many as there are cores, at least 1. */
  readonly workers: number;
  /** Whether RSA1_5 may be used. Rule KV-40. Default false. */
  readonly legacyPadding?: boolean;
  /** Jobs of one tenant that may wait, in each of the two queues, before new ones are refused. Default 4,096. */
  readonly queueLimit?: number;
  /** Private keys each thread keeps parsed; the least recently used goes first. Default 2,000. */
  readonly keysPerWorker?: number;
  /** Script of the threads that use keys; tests pass one that ends when they want. */
  readonly workerUrl?: URL;
  /** Script of the thread that makes keys; tests pass one that waits. */
  readonly makerUrl?: URL;
}

const rsaWorker = new URL('./worker.ts', import.meta.url);

/**
 * RSA on worker threads, in small batches. The event loop only hands over; private keys are opened inside the threads,
 * which get each sealed key together with its seal key, once. New keys are made on one more thread of lower priority:
 * making a key takes as long as a thousand unwraps.
 */
export function createRsaPool(options: RsaPoolOptions): RsaEngine {
  const { sealing, legacyPadding = false, queueLimit = 4096, keysPerWorker = 2000 } = options;
  const { workerUrl = rsaWorker, makerUrl = rsaWorker } = options;
  const threads = Array.from({ length: Math.max(1, options.workers) }, () => createRsaThread(workerUrl));
  const maker = createKeyMaker({ thread: createRsaThread(makerUrl, { isBackground: true }), sealing });
  let running = 0;
  let onIdle: (() => void) | undefined;
  let messageId = 0;
  let closed = false;

  const nextId = () => {
    messageId += 1;
    return messageId;
  };
  /** Work that is waited for when the pool is closed. @throws Rejection UNAVAILABLE RSA_CLOSED */
  const tracked = async <T>(begin: () => Promise<T>): Promise<T> => {
    if (closed) throw rsaClosed();
    running += 1;
    try {
      return await begin();
    } finally {
      running -= 1;
      if (running === 0) onIdle?.();
    }
  };

  const { submit, evict } = createRsaDispatch({ threads, sealing, queueLimit, keysPerWorker, nextId });

  const encrypt = (key: RsaKey, job: CipherJob) =>
    tracked(() => {
      checkPlaintext(job, modulusLength(key.publicJwk), legacyPadding);
      const { algorithm, value } = job;
      const publicKey = { version: key.version, jwk: key.publicJwk };
      return submit({ work: { operation: 'encrypt', publicKey, algorithm }, value }, key, undefined, job.urgent);
    });
  const decrypt = (key: RsaKey, job: CipherJob) =>
    tracked(() => {
      checkCiphertext(job, modulusLength(key.publicJwk), legacyPadding);
      const { algorithm, value } = job;
      return submit({ work: { operation: 'decrypt', version: key.version, algorithm }, value }, key, key, job.urgent);
    });

  return {
    async generate(version, bits, order) {
      checkSize(bits);
      return maker.make(version, order, (sealKey) => ({ type: 'generate', id: nextId(), version, bits, sealKey }));
    },
    import: (version, material, order) =>
      maker.make(version, order, (sealKey) => ({ type: 'import', id: nextId(), version, material, sealKey })),
    encrypt,
    decrypt,
    wrap: encrypt,
    unwrap: decrypt,
    rewrap: (source, target, job) =>
      tracked(() => {
        const wrapped = { algorithm: job.sourceAlgorithm, value: job.value };
        checkCiphertext(wrapped, modulusLength(source.publicJwk), legacyPadding);
        const work = {
          operation: 'rewrap',
          version: source.version,
          algorithm: job.sourceAlgorithm,
          publicKey: { version: target.version, jwk: target.publicJwk },
          targetAlgorithm: job.targetAlgorithm,
          targetLimit: plaintextLimit(job.targetAlgorithm, modulusLength(target.publicJwk), legacyPadding),
        } as const;
        return submit({ work, value: job.value }, source, source, job.urgent);
      }),
    sign: (key, job) =>
      tracked(() => {
        const { hash } = checkDigest(job);
        const { algorithm, digest: value } = job;
        return submit({ work: { operation: 'sign', version: key.version, algorithm, hash }, value }, key, key);
      }),
    verify: (key, job) =>
      tracked(async () => {
        const { hash } = checkDigest(job);
        const { algorithm, digest: value, signature } = job;
        const publicKey = { version: key.version, jwk: key.publicJwk };
        if (signature.length !== modulusLength(key.publicJwk)) return false;
        const work = { operation: 'verify', publicKey, algorithm, hash, signature } as const;
        const [matches] = await submit({ work, value }, key);
        return matches === 1;
      }),
    evict,
    async close() {
      closed = true;
      await maker.close();
      if (running > 0) await new Promise<void>((resolve) => (onIdle = resolve));
      await Promise.all(threads.map((thread) => thread.stop()));
    },
  };
}
