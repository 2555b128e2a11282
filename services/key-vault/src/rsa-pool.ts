import { Rejection } from '@interlock/event-store';
import {
  type CipherJob,
  checkCiphertext,
  checkDigest,
  checkPlaintext,
  checkSize,
  modulusLength,
  type NewRsaKey,
  plaintextLimit,
  type RsaEngine,
  type RsaKey,
} from './rsa.ts';
import { createRsaDispatch, failureOf, throttled } from './rsa-dispatch.ts';
import type { RsaJob } from './rsa-job.ts';
import { createRsaThread, type RsaThread } from './rsa-thread.ts';
import type { Sealing } from './sealing.ts';

/** How an RSA pool is built. */
export interface RsaPoolOptions {
  readonly sealing: Sealing;
  /** Threads: as many as there are cores, at least 1. */
  readonly workers: number;
  /** Whether RSA1_5 may be used. Rule KV-40. Default false. */
  readonly legacyPadding?: boolean;
  /** Jobs that may wait, in each of the two queues, before new ones are refused. Default 4,096. */
  readonly queueLimit?: number;
  /** Private keys each thread keeps parsed; the least recently used goes first. Default 2,000. */
  readonly keysPerWorker?: number;
  readonly workerUrl?: URL;
}

/** Keys being generated or imported at one time. */
const newKeysMax = 64;

/**
 * RSA on worker threads, in small batches. The event loop only hands over; private keys are opened inside the threads,
 * which get each sealed key together with its seal key, once.
 */
export function createRsaPool(options: RsaPoolOptions): RsaEngine {
  const { sealing, legacyPadding = false, queueLimit = 4096, keysPerWorker = 2000 } = options;
  const workerUrl = options.workerUrl ?? new URL('./rsa-worker.ts', import.meta.url);
  const threads = Array.from({ length: Math.max(1, options.workers) }, () => createRsaThread(workerUrl));
  let running = 0;
  let onIdle: (() => void) | undefined;
  let messageId = 0;
  let newKeys = 0;
  let closed = false;

  const nextId = () => {
    messageId += 1;
    return messageId;
  };
  const checkOpen = () => {
    if (closed) throw new Rejection('UNAVAILABLE', 'RSA_CLOSED', 'this vault is shutting down; ask another replica');
  };
  const ended = () => {
    running -= 1;
    if (running === 0) onIdle?.();
  };
  /** Work that is waited for when the pool is closed. */
  const track = <T>(work: Promise<T>): Promise<T> => {
    running += 1;
    work.then(ended, ended);
    return work;
  };

  const dispatch = createRsaDispatch({ threads, sealing, queueLimit, keysPerWorker, nextId });
  const submit = (job: RsaJob, key: RsaKey | undefined, isUrgent?: boolean) => {
    checkOpen();
    return track(dispatch.submit(job, key, isUrgent));
  };

  const newKey = async (
    version: string,
    message: (sealKey: Uint8Array) => Parameters<RsaThread['ask']>[1],
  ): Promise<NewRsaKey> => {
    checkOpen();
    if (newKeys >= newKeysMax) throw throttled(newKeysMax);
    const thread = threads[newKeys % threads.length];
    if (!thread) throw new Error('a pool without threads');
    newKeys += 1;
    try {
      const sealKey = await sealing.obtain(version);
      const { outcome } = await thread.ask('key', message(sealKey), [sealKey.buffer]);
      if (outcome.ok) return outcome.value;
      throw failureOf(outcome);
    } finally {
      newKeys -= 1;
    }
  };

  const encrypt = async (key: RsaKey, job: CipherJob) => {
    checkPlaintext(job, modulusLength(key.publicJwk), legacyPadding);
    const { algorithm } = job;
    const publicKey = { version: key.version, jwk: key.publicJwk };
    return submit({ work: { operation: 'encrypt', publicKey, algorithm }, value: job.value }, undefined, job.urgent);
  };
  const decrypt = async (key: RsaKey, job: CipherJob) => {
    checkCiphertext(job, modulusLength(key.publicJwk), legacyPadding);
    const { version } = key;
    const { algorithm, value } = job;
    return submit({ work: { operation: 'decrypt', version, algorithm }, value }, key, job.urgent);
  };

  return {
    async generate(version, bits) {
      checkSize(bits);
      return track(newKey(version, (sealKey) => ({ type: 'generate', id: nextId(), version, bits, sealKey })));
    },
    import: (version, material) =>
      track(newKey(version, (sealKey) => ({ type: 'import', id: nextId(), version, material, sealKey }))),
    encrypt,
    decrypt,
    wrap: encrypt,
    unwrap: decrypt,
    async rewrap(source, target, job) {
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
      return submit({ work, value: job.value }, source, job.urgent);
    },
    async sign(key, job) {
      const { hash } = checkDigest(job);
      const { algorithm, digest: value } = job;
      return submit({ work: { operation: 'sign', version: key.version, algorithm, hash }, value }, key);
    },
    async verify(key, job) {
      const { hash } = checkDigest(job);
      const { algorithm, digest: value, signature } = job;
      const publicKey = { version: key.version, jwk: key.publicJwk };
      if (signature.length !== modulusLength(key.publicJwk)) return false;
      const work = { operation: 'verify', publicKey, algorithm, hash, signature } as const;
      const [matches] = await submit({ work, value }, undefined);
      return matches === 1;
    },
    evict: (version) => dispatch.evict(version),
    async close() {
      closed = true;
      if (running > 0) await new Promise<void>((resolve) => (onIdle = resolve));
      await Promise.all(threads.map((thread) => thread.stop()));
    },
  };
}
